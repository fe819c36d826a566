//! What the operations mean: an entry and how each answer changes what may be known of it.

use crate::history::{Answer, Ask};

/// All that one explanation says of an entry.
///
/// Versions are chosen by the server; what must hold is that they grow, over removals too. A write
/// whose version was never told has one above the last, which a later answer may pin down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    number: Option<i64>,
    /// Of an entry whose version is known: that. Otherwise the least it can be.
    version: u64,
    is_known: bool,
}

impl Entry {
    /// No entry, and never one before.
    pub const NONE: Self = Self {
        number: None,
        version: 0,
        is_known: true,
    };

    /// The entry after an operation with this answer; `None` when that cannot be.
    #[must_use]
    pub fn after(self, ask: Ask, answer: Option<Answer>) -> Option<Self> {
        // An operation that nobody has the answer to takes effect if it can.
        let answer = answer.filter(|answer| *answer != Answer::Unknown);
        if answer == Some(Answer::Refused) {
            return Some(self);
        }
        match (ask, answer) {
            (Ask::Get, None) => Some(self),
            (Ask::Get, Some(Answer::Entry(None))) => self.number.is_none().then_some(self),
            (Ask::Get, Some(Answer::Entry(Some((number, version))))) => {
                self.with_version(version).filter(|_| self.is(number))
            }
            (Ask::Set(number), None) => Some(self.written(number)),
            (Ask::Set(number), Some(Answer::Written(version))) => {
                self.written(number).with_version(version)
            }
            (Ask::Del, None) => Some(self.removed()),
            (Ask::Del, Some(Answer::Deleted(was))) => {
                (was == self.number.is_some()).then(|| self.removed())
            }
            (Ask::Incr(delta), None) => Some(self.written(self.plus(delta)?)),
            (Ask::Incr(delta), Some(Answer::Sum(sum))) => {
                (self.plus(delta)? == sum).then(|| self.written(sum))
            }
            (Ask::Cas { version, number }, answer) => self.cas(version, number, answer),
            _ => None,
        }
    }

    fn cas(self, expected: u64, number: i64, answer: Option<Answer>) -> Option<Self> {
        let holds = if expected == 0 {
            self.number.is_none().then_some(self)
        } else {
            self.with_version(expected)
                .filter(|_| self.number.is_some())
        };
        match answer {
            None => Some(holds?.written(number)),
            Some(Answer::Written(version)) => holds?.written(number).with_version(version),
            Some(Answer::Conflict(0)) => (self.number.is_none() && expected != 0).then_some(self),
            Some(Answer::Conflict(actual)) => self
                .with_version(actual)
                .filter(|_| self.number.is_some() && actual != expected),
            Some(_) => None,
        }
    }

    fn is(self, number: i64) -> bool {
        self.number == Some(number)
    }

    fn plus(self, delta: i64) -> Option<i64> {
        self.number.unwrap_or_default().checked_add(delta)
    }

    /// The same, now that its version is told.
    fn with_version(self, version: u64) -> Option<Self> {
        let can_be = if self.is_known {
            version == self.version
        } else {
            version >= self.version
        };
        can_be.then_some(Self {
            version,
            is_known: true,
            ..self
        })
    }

    /// A new number under a version above the last.
    const fn written(self, number: i64) -> Self {
        Self {
            number: Some(number),
            version: self.version.saturating_add(1),
            is_known: false,
        }
    }

    /// No entry; the next version is above the last all the same.
    const fn removed(self) -> Self {
        Self {
            number: None,
            is_known: false,
            ..self
        }
    }
}
