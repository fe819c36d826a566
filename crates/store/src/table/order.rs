//! The ordered index of one shard: the keys it holds, sorted. Built at the first scan and kept in
//! step from then on; a store that is never scanned pays nothing.

use std::collections::BTreeSet;
use std::ops::Bound;

/// About what a key costs beside its own bytes: the fat pointer in a tree node that is two thirds
/// full, and the allocator's rounding.
const KEY_OVERHEAD_BYTES: usize = 40;

/// Bytes the index takes for `key`.
pub(crate) const fn key_bytes(key: &[u8]) -> usize {
    key.len() + KEY_OVERHEAD_BYTES
}

/// Sorted keys.
pub(crate) struct Order {
    keys: BTreeSet<Box<[u8]>>,
}

impl Order {
    pub(crate) fn of(keys: Vec<Box<[u8]>>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    pub(crate) fn insert(&mut self, key: &[u8]) {
        self.keys.insert(key.into());
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// Keys from `bound` on, ascending.
    pub(crate) fn upwards(&self, bound: Bound<&[u8]>) -> impl Iterator<Item = &[u8]> {
        self.keys
            .range::<[u8], _>((bound, Bound::Unbounded))
            .map(|key| &**key)
    }

    /// Keys from `bound` on, descending.
    pub(crate) fn downwards(&self, bound: Bound<&[u8]>) -> impl Iterator<Item = &[u8]> {
        self.keys
            .range::<[u8], _>((Bound::Unbounded, bound))
            .rev()
            .map(|key| &**key)
    }
}

/// The first key behind all that begin with `prefix`, if there is one.
pub(crate) fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix.get(..=last)?.to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::behind_prefix;

    #[test]
    fn the_key_behind_a_prefix_is_the_next_of_its_length_or_shorter() {
        assert_eq!(behind_prefix(b"ab").unwrap(), b"ac");
        assert_eq!(behind_prefix(b"a\xff\xff").unwrap(), b"b");
        assert_eq!(behind_prefix(b"\xff\xff"), None);
        assert_eq!(behind_prefix(b""), None);
    }
}
