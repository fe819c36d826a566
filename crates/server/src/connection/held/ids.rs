//! The ids of held requests: a set that is asked at each request, and told at each reply.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Which ids are taken.
#[derive(Default)]
pub(super) struct Ids {
    taken: HashSet<u32, BuildHasherDefault<Spread>>,
    /// No id above this is.
    highest: u32,
}

impl Ids {
    #[inline]
    pub(super) fn insert(&mut self, id: u32) {
        self.highest = self.highest.max(id);
        self.taken.insert(id);
    }

    #[inline]
    pub(super) fn remove(&mut self, id: u32) {
        self.taken.remove(&id);
        if self.taken.is_empty() {
            self.highest = 0;
        }
    }

    #[inline]
    pub(super) fn contains(&self, id: u32) -> bool {
        id <= self.highest && self.taken.contains(&id)
    }

    /// No id above this is taken; 0 when none is.
    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        // An id, its mark and the room that a table leaves.
        self.taken.capacity() * 6
    }
}

/// Spreads ids over a table. Clients choose them; who chooses ill slows down their own connection, by
/// as much as a walk over its in-flight limit.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        let mixed = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
