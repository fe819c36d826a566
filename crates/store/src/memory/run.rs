//! Executes a run of operations: three passes over a chunk, so that the waits for memory overlap.
//!
//! 1. Hash every key and fetch the slots where each search begins.
//! 2. Look into the slots and fetch the entries.
//! 3. Execute strictly in order, each operation under its shard's lock.
//!
//! The first two read without locks ([`super::directory`]) and only fetch; what they see may be
//! old, and what is answered comes from the third alone.

use super::shard::Call;
use super::{MemoryEngine, legal_key};
use crate::{Now, Op, Outcome, Sink, StoreError};

/// Operations whose memory is fetched together: enough to hide the wait, few enough for the
/// fetched lines to be still there when they are read (64 entries of 128 bytes and as many slots
/// are 12 KiB of a first-level cache of 32).
const CHUNK: usize = 64;

impl MemoryEngine {
    /// Executes `ops` at the time `now`, which has passed the high-water mark.
    pub(super) fn run_ops(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) {
        if let [op] = ops {
            return self.execute(now, op, self.common.seed.hash(op.key()), 0, sink);
        }
        for (chunk, base) in ops.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let mut hashes = [0; CHUNK];
            self.fetch_ahead(chunk, &mut hashes);
            for ((op, hash), place) in chunk.iter().zip(hashes).zip(0..) {
                self.execute(now, op, hash, base + place, sink);
            }
        }
    }

    /// Passes 1 and 2. Fills in the hashes; fetching is left out while a table is being replaced.
    fn fetch_ahead(&self, chunk: &[Op<'_>], hashes: &mut [u64; CHUNK]) {
        let peek = self.common.directory.peek();
        for (op, hash) in chunk.iter().zip(hashes.iter_mut()) {
            *hash = self.common.seed.hash(op.key());
            if let Some(slots) = peek
                .as_ref()
                .and_then(|peek| peek.slots(self.shard_of(*hash)))
            {
                slots.prefetch_home(*hash);
            }
        }
        let Some(peek) = peek else { return };
        for (_, hash) in chunk.iter().zip(hashes.iter()) {
            if let Some(slots) = peek.slots(self.shard_of(*hash)) {
                slots.prefetch_entry(*hash);
            }
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
