//! Executes a run of operations, so that their waits for memory overlap.
//!
//! Three hands go over the run, one behind the other: the first hashes a key and fetches the
//! line of slots where its search begins; the second, some operations behind, looks into the
//! slots and fetches the entry; the third executes, strictly in order, each operation under its
//! shard's lock. The first two read without locks ([`super::directory`]) and only fetch: what
//! they see may be old, and what is answered comes from the third alone.

use super::directory::Peek;
use super::shard::Call;
use super::{MemoryEngine, legal_key};
use crate::{Now, Op, Outcome, Sink, StoreError};

/// How far the first hand is ahead of the third: long enough to hide two waits for memory behind
/// the work on others, short enough for the lines to be still in the first-level cache.
const FIRST_AHEAD: usize = 16;

/// How far the second hand is ahead of the third.
const SECOND_AHEAD: usize = 8;

/// Hashes remembered between the hands; a power of two.
const HASHES: usize = 32;

const _: () = assert!(SECOND_AHEAD < FIRST_AHEAD && FIRST_AHEAD < HASHES);

impl MemoryEngine {
    /// Executes `ops` at the time `now`, which has passed the high-water mark.
    pub(super) fn run_ops(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) {
        if let [op] = ops {
            return self.execute(now, op, self.common.seed.hash(op.key()), 0, sink);
        }
        let Some(peek) = self.common.directory.peek() else {
            for (index, op) in ops.iter().enumerate() {
                self.execute(now, op, self.common.seed.hash(op.key()), index, sink);
            }
            return;
        };
        let mut hashes = Hashes([0; HASHES]);
        let (mut first, mut second) = (0, 0);
        for (index, op) in ops.iter().enumerate() {
            while first <= index + FIRST_AHEAD
                && let Some(op) = ops.get(first)
            {
                let hash = self.common.seed.hash(op.key());
                hashes.set(first, hash);
                self.fetch_slots(&peek, hash);
                first += 1;
            }
            while second <= index + SECOND_AHEAD && second < first {
                self.fetch_entry(&peek, hashes.get(second));
                second += 1;
            }
            self.execute(now, op, hashes.get(index), index, sink);
        }
        drop(peek);
        self.common.directory.reclaim();
    }

    #[inline]
    fn fetch_slots(&self, peek: &Peek<'_>, hash: u64) {
        if let Some(slots) = peek.slots(self.shard_of(hash)) {
            slots.prefetch_home(hash);
        }
    }

    #[inline]
    fn fetch_entry(&self, peek: &Peek<'_>, hash: u64) {
        if let Some(slots) = peek.slots(self.shard_of(hash)) {
            slots.prefetch_entry(hash);
        }
    }

    #[inline]
    fn execute(&self, now: Now, op: &Op<'_>, hash: u64, index: usize, sink: &mut dyn Sink) {
        let shard = self.shard_of(hash);
        match self.shards.get(shard) {
            Some(locked) if legal_key(op.key()) => {
                let call = Call {
                    common: &self.common,
                    shard,
                    hash,
                    now,
                };
                locked.lock().execute(call, op, index, sink);
            }
            _ => sink.outcome(index, Outcome::Failed(StoreError::KeyLength)),
        }
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
