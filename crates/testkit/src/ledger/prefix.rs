//! Writes of one writer, one after the other: what is left after damage to the end of a log has to
//! be all of them up to some point.

use std::collections::BTreeMap;

use super::{Change, Found, value_of};

/// The writes in their order, each acknowledged before the next was begun.
#[derive(Clone, Debug, Default)]
pub struct Script {
    writes: Vec<(Vec<u8>, Change)>,
}

impl Script {
    /// Adds a write, and gives the value to write.
    pub fn put(&mut self, key: &[u8]) -> Vec<u8> {
        self.writes.push((key.to_vec(), Change::Put));
        value_of(key, self.writes.len() as u64)
    }

    /// Adds a removal.
    pub fn delete(&mut self, key: &[u8]) {
        self.writes.push((key.to_vec(), Change::Delete));
    }

    /// How many writes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The entries that are there after all writes, by the numbers of the writes they are from.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Vec<u8>, u64> {
        let mut entries = BTreeMap::new();
        for (number, (key, change)) in (1_u64..).zip(&self.writes) {
            match change {
                Change::Put => entries.insert(key.clone(), number),
                Change::Delete => entries.remove(key),
            };
        }
        entries
    }

    /// The most writes, counted from the first, after which exactly `found` is there.
    #[must_use]
    pub fn prefix(&self, found: &BTreeMap<Vec<u8>, Found>) -> Option<usize> {
        let found: BTreeMap<&[u8], Option<u64>> = found
            .iter()
            .map(|(key, found)| (key.as_slice(), found.number))
            .collect();
        let mut state = BTreeMap::new();
        let mut longest = found.is_empty().then_some(0);
        for (number, (key, change)) in (1_u64..).zip(&self.writes) {
            match change {
                Change::Put => state.insert(key.as_slice(), Some(number)),
                Change::Delete => state.remove(key.as_slice()),
            };
            if state == found {
                longest = usize::try_from(number).ok();
            }
        }
        longest
    }
}
