//! Whether a history of one key can be explained by operations that each took effect at one moment
//! between its beginning and its answer.
//!
//! Owns the search and the meaning of the operations ([`Entry`]). The search walks through the events
//! and keeps every configuration that explains them so far: which of the open operations have taken
//! effect, and what the entry is then. Equal configurations are one, so that eight clients cost at
//! most 2^8 of them for each state, whatever the length of the history. An operation takes effect as
//! late as can be: only when an answer asks for it. That loses nothing, because one that is not yet
//! done when another is answered can still be done after it.

mod model;

use std::collections::HashSet;
use std::fmt;

use crate::history::{Ask, Event, KeyHistory, OpId};

pub use model::Entry;

/// More configurations than any history of up to eight clients comes to; beyond it memory would be
/// what ends the search.
const CONFIGURATIONS_MAX: usize = 1_000_000;

/// Operations that are open at the same time, at most: one bit each.
const OPEN_MAX: usize = 64;

/// A history that no order of its operations explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexplained {
    /// The operation whose answer cannot be.
    pub operation: String,
    /// What the entry may have been then.
    pub states: Vec<String>,
    /// Other operations that were open, and the answers before, oldest first.
    pub around: Vec<String>,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains {}", self.operation)?;
        writeln!(f, "the entry may have been:")?;
        for state in &self.states {
            writeln!(f, "    {state}")?;
        }
        writeln!(f, "open, and before:")?;
        for line in &self.around {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// Why a history was not found to be linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not.
    Unexplained(Box<Unexplained>),
    /// More is open at once than the search is made for; nothing was found out.
    TooMuchOpen,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexplained(what) => what.fmt(f),
            Self::TooMuchOpen => f.write_str("too much is open at once to be searched"),
        }
    }
}

/// One explanation of the events so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    /// Places in the table of open operations whose effect has taken place.
    done: u64,
    entry: Entry,
}

/// The operations that are open, each in a place of its own.
#[derive(Default)]
struct Open {
    places: Vec<Option<OpId>>,
}

impl Open {
    fn add(&mut self, id: OpId) -> Result<(), Verdict> {
        if let Some(free) = self.places.iter_mut().find(|place| place.is_none()) {
            *free = Some(id);
        } else if self.places.len() < OPEN_MAX {
            self.places.push(Some(id));
        } else {
            return Err(Verdict::TooMuchOpen);
        }
        Ok(())
    }

    fn bit(&self, id: OpId) -> u64 {
        let at = self.places.iter().position(|place| *place == Some(id));
        at.map_or(0, |at| 1 << at)
    }

    fn remove(&mut self, id: OpId) {
        for place in &mut self.places {
            if *place == Some(id) {
                *place = None;
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (u64, OpId)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(at, id)| Some((1 << at, (*id)?)))
    }
}

/// Checks the history of one key, which began without an entry.
///
/// # Errors
/// The answer that cannot be, with what was possible before it.
pub fn check(history: &KeyHistory) -> Result<(), Verdict> {
    let mut open = Open::default();
    let mut explained = HashSet::from([Configuration {
        done: 0,
        entry: Entry::NONE,
    }]);
    for (at, event) in history.events.iter().enumerate() {
        match *event {
            Event::Begun(id) => open.add(id)?,
            Event::Answered(id) => {
                let before = explained.clone();
                explained = answered(history, &open, explained, id)?;
                if explained.is_empty() {
                    let what = unexplained(history, &open, &before, id, at);
                    return Err(Verdict::Unexplained(Box::new(what)));
                }
                open.remove(id);
            }
            Event::Over(id) => {
                explained = over(history, &open, explained, id)?;
                open.remove(id);
            }
        }
    }
    Ok(())
}

/// Every configuration that can follow from `explained`, with more of the open operations done. With
/// `until`, those only in which that one is, and no further than to it.
fn reach(
    history: &KeyHistory,
    open: &Open,
    explained: HashSet<Configuration>,
    until: u64,
) -> Result<HashSet<Configuration>, Verdict> {
    let mut reached = HashSet::new();
    let mut seen = explained.clone();
    let mut waiting: Vec<Configuration> = explained.into_iter().collect();
    while let Some(from) = waiting.pop() {
        if from.done & until != 0 {
            reached.insert(from);
            continue;
        }
        for (bit, id) in open.all().filter(|(bit, _)| from.done & bit == 0) {
            let Some(operation) = history.operation(id) else {
                continue;
            };
            if let Some(entry) = from.entry.after(operation.ask, operation.answer) {
                let to = Configuration {
                    done: from.done | bit,
                    entry,
                };
                if seen.insert(to) {
                    waiting.push(to);
                }
            }
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return Err(Verdict::TooMuchOpen);
        }
    }
    Ok(reached)
}

/// What remains when the operation has to have taken effect by now.
fn answered(
    history: &KeyHistory,
    open: &Open,
    explained: HashSet<Configuration>,
    id: OpId,
) -> Result<HashSet<Configuration>, Verdict> {
    let bit = open.bit(id);
    let reached = reach(history, open, explained, bit)?;
    Ok(reached.into_iter().map(|c| c.without(bit)).collect())
}

/// What remains when the operation has taken effect by now, or never does. Reads change nothing.
fn over(
    history: &KeyHistory,
    open: &Open,
    explained: HashSet<Configuration>,
    id: OpId,
) -> Result<HashSet<Configuration>, Verdict> {
    let bit = open.bit(id);
    let is_read = history
        .operation(id)
        .is_some_and(|operation| operation.ask == Ask::Get);
    let mut remains: HashSet<_> = explained.iter().map(|c| c.without(bit)).collect();
    if !is_read {
        let reached = reach(history, open, explained, bit)?;
        remains.extend(reached.into_iter().map(|c| c.without(bit)));
    }
    Ok(remains)
}

impl Configuration {
    const fn without(self, bit: u64) -> Self {
        Self {
            done: self.done & !bit,
            entry: self.entry,
        }
    }
}

/// Answers that are shown in front of the one that cannot be.
const SHOWN: usize = 12;

fn unexplained(
    history: &KeyHistory,
    open: &Open,
    before: &HashSet<Configuration>,
    id: OpId,
    at: usize,
) -> Unexplained {
    let text = |id: OpId| {
        history
            .operation(id)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let mut states: Vec<String> = before.iter().map(|c| format!("{:?}", c.entry)).collect();
    states.sort_unstable();
    states.dedup();
    let mut around: Vec<String> = history
        .events
        .iter()
        .take(at)
        .rev()
        .filter_map(|event| match event {
            Event::Answered(id) => Some(text(*id)),
            Event::Begun(_) => None,
            Event::Over(id) => Some(format!("(over) {}", text(*id))),
        })
        .take(SHOWN)
        .collect();
    around.reverse();
    let others = open.all().filter(|(_, other)| *other != id);
    around.extend(others.map(|(_, other)| format!("(open) {}", text(other))));
    Unexplained {
        operation: text(id),
        states,
        around,
    }
}

#[cfg(test)]
mod tests;
