//! Connections by client library, with a bound on how many names are told apart.
//!
//! Touched when a session begins and ends, never per request. Invariant: names hold only characters
//! that need no escaping anywhere, whatever the peer sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Peers choose these texts; longer ones are cut.
const NAME_BYTES_MAX: usize = 32;

/// What stands for every name beyond the bound.
const OTHER: &str = "other";

type Label = (String, String);

/// How many connections each library and version holds.
#[derive(Debug)]
pub(super) struct Libraries {
    held: Mutex<BTreeMap<Label, u64>>,
    names_max: usize,
}

impl Libraries {
    pub(super) fn new(names_max: usize) -> Self {
        Self {
            held: Mutex::new(BTreeMap::new()),
            names_max,
        }
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, library: &str, version: &str) -> LibraryGuard {
        let mut label = (clean(library), clean(version));
        let mut held = self.held.lock();
        if !held.contains_key(&label) && held.len() >= self.names_max {
            label = (OTHER.to_owned(), OTHER.to_owned());
        }
        *held.entry(label.clone()).or_default() += 1;
        drop(held);
        LibraryGuard {
            libraries: Arc::clone(self),
            label,
        }
    }

    /// What is held now, in the order of the names.
    pub(super) fn snapshot(&self) -> Vec<(Label, u64)> {
        self.held
            .lock()
            .iter()
            .map(|(label, count)| (label.clone(), *count))
            .collect()
    }
}

/// One connection of a client library.
#[derive(Debug)]
pub struct LibraryGuard {
    libraries: Arc<Libraries>,
    label: Label,
}

impl Drop for LibraryGuard {
    fn drop(&mut self) {
        let mut held = self.libraries.held.lock();
        if let Some(count) = held.get_mut(&self.label) {
            *count = count.saturating_sub(1);
            // Gone names make room for others.
            if *count == 0 {
                held.remove(&self.label);
            }
        }
    }
}

fn clean(text: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._+-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let cleaned: String = text.chars().take(NAME_BYTES_MAX).map(safe).collect();
    if cleaned.is_empty() {
        "unknown".to_owned()
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted_together_and_room_comes_back() {
        let libraries = Arc::new(Libraries::new(2));
        let a = libraries.enter("a", "1");
        let _again = libraries.enter("a", "1");
        let _b = libraries.enter("b", "1");
        let c = libraries.enter("c", "1");
        let names = |libraries: &Libraries| {
            libraries
                .snapshot()
                .into_iter()
                .map(|((lib, _), n)| (lib, n))
                .collect::<Vec<_>>()
        };
        let held = [
            ("a".to_owned(), 2),
            ("b".to_owned(), 1),
            ("other".to_owned(), 1),
        ];
        assert_eq!(names(&libraries), held);
        drop((a, c));
        assert_eq!(
            names(&libraries),
            [("a".to_owned(), 1), ("b".to_owned(), 1)]
        );
    }

    #[test]
    fn what_peers_send_is_made_harmless() {
        assert_eq!(clean("kv client\n\"x\"{}\u{e9}"), "kv_client__x____");
        assert_eq!(clean(&"x".repeat(500)).len(), NAME_BYTES_MAX);
        assert_eq!(clean(""), "unknown");
    }
}
