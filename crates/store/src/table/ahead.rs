//! Goes over a run of operations so that their waits for memory overlap.
//!
//! Three hands go over the run, one behind the other: the first hashes a key and fetches the
//! line of slots where its search begins; the second, some operations behind, looks into the
//! slots and fetches the entry; the third executes, strictly in order, each operation under its
//! shard's lock. The first two read without locks ([`Directory`]) and only fetch: what they see
//! may be old, and what is answered comes from the third alone, which is the engine's.

use super::directory::Peek;
use super::{Directory, Seed, shard_of};
use crate::Op;

/// How far the first hand is ahead of the third: long enough to hide two waits for memory behind
/// the work on others, short enough for the lines to be still in the first-level cache.
const FIRST_AHEAD: usize = 16;

/// How far the second hand is ahead of the third.
const SECOND_AHEAD: usize = 8;

/// Hashes remembered between the hands; a power of two.
const HASHES: usize = 32;

const _: () = assert!(SECOND_AHEAD < FIRST_AHEAD && FIRST_AHEAD < HASHES);

/// Goes ahead in the tables of one engine.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'e> {
    pub(crate) seed: Seed,
    pub(crate) directory: &'e Directory,
}

impl Ahead<'_> {
    /// Has each of `ops` executed in order, with its index and its key's hash, until one says no;
    /// how many said yes.
    #[inline]
    pub(crate) fn each(
        self,
        ops: &[Op<'_>],
        mut execute: impl FnMut(usize, &Op<'_>, u64) -> bool,
    ) -> usize {
        if let [op] = ops {
            return usize::from(execute(0, op, self.seed.hash(op.key())));
        }
        let Some(peek) = self.directory.peek() else {
            let mut each = ops.iter().enumerate();
            let stopped = each.find(|(index, op)| !execute(*index, op, self.seed.hash(op.key())));
            return stopped.map_or(ops.len(), |(index, _)| index);
        };
        let mut hashes = Hashes([0; HASHES]);
        let (mut first, mut second) = (0, 0);
        let mut executed = ops.len();
        for (index, op) in ops.iter().enumerate() {
            while first <= index + FIRST_AHEAD
                && let Some(op) = ops.get(first)
            {
                let hash = self.seed.hash(op.key());
                hashes.set(first, hash);
                fetch_slots(&peek, hash);
                first += 1;
            }
            while second <= index + SECOND_AHEAD && second < first {
                fetch_entry(&peek, hashes.get(second));
                second += 1;
            }
            if !execute(index, op, hashes.get(index)) {
                executed = index;
                break;
            }
        }
        drop(peek);
        self.directory.reclaim();
        executed
    }
}

#[inline]
fn fetch_slots(peek: &Peek<'_>, hash: u64) {
    if let Some(slots) = peek.slots(shard_of(hash)) {
        slots.prefetch_home(hash);
    }
}

#[inline]
fn fetch_entry(peek: &Peek<'_>, hash: u64) {
    if let Some(slots) = peek.slots(shard_of(hash)) {
        slots.prefetch_entry(hash);
    }
}

/// The hashes of the operations between the first hand and the third.
struct Hashes([u64; HASHES]);

impl Hashes {
    #[inline]
    fn set(&mut self, index: usize, hash: u64) {
        if let Some(place) = self.0.get_mut(index % HASHES) {
            *place = hash;
        }
    }

    #[inline]
    fn get(&self, index: usize) -> u64 {
        self.0.get(index % HASHES).copied().unwrap_or_default()
    }
}
