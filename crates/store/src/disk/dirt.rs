//! What the entries of a shard that are not in the base yet amount to.

use crate::table::{EntryBox, Mark};
use std::ops::{AddAssign, SubAssign};

/// A sum over dirty entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dirt {
    /// How many there are, deletions included.
    pub(super) entries: i64,
    /// What they take.
    pub(super) bytes: i64,
    /// By how many keys the store differs from the base because of them. An entry of which is
    /// not known whether the base has its key counts as new.
    pub(super) keys: i64,
}

impl Dirt {
    /// What one entry contributes.
    #[inline]
    pub(super) fn of(entry: &EntryBox) -> Self {
        if !entry.has(Mark::Dirty) {
            return Self::default();
        }
        let keys = match (entry.has(Mark::Absent), entry.has(Mark::Stored)) {
            (false, false) => 1,
            (true, true) => -1,
            (false, true) | (true, false) => 0,
        };
        Self {
            entries: 1,
            bytes: i64::try_from(entry.bytes()).unwrap_or(i64::MAX),
            keys,
        }
    }
}

impl AddAssign for Dirt {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.keys += other.keys;
    }
}

impl SubAssign for Dirt {
    fn sub_assign(&mut self, other: Self) {
        self.entries -= other.entries;
        self.bytes -= other.bytes;
        self.keys -= other.keys;
    }
}
