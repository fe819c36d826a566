//! Executes a run of operations, each under its shard's lock.

use super::MemoryEngine;
use super::shard::Call;
use crate::table::{Ahead, legal_key, shard_of};
use crate::{Now, Op, Outcome, Position, Sink, StoreError};

impl MemoryEngine {
    /// Executes `ops` at the time `now`, which has passed the high-water mark.
    pub(super) fn run_ops(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) {
        let ahead = Ahead {
            seed: self.common.seed,
            directory: &self.common.directory,
        };
        ahead.each(ops, |index, op, hash| {
            self.execute(now, op, hash, index, sink);
            true
        });
    }

    #[inline]
    fn execute(&self, now: Now, op: &Op<'_>, hash: u64, index: usize, sink: &mut dyn Sink) {
        let shard = shard_of(hash);
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
            _ => {
                let outcome = Outcome::Failed(StoreError::KeyLength);
                sink.outcome(index, outcome, Position::START);
            }
        }
    }
}
