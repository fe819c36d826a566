//! Executes a run of operations, each under its shard's lock.

use super::MemoryEngine;
use super::evict::{TRIES, keys_of};
use super::shard::{Call, Want};
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
                let tried = locked.lock().execute(call, op, index, sink);
                if let Err(want) = tried {
                    self.execute_with_room(call, op, index, want, sink);
                }
            }
            _ => {
                let outcome = Outcome::Failed(StoreError::KeyLength);
                sink.outcome(index, outcome, Position::START);
            }
        }
    }

    /// Makes the room a write wants, and tries it again.
    #[cold]
    fn execute_with_room(
        &self,
        call: Call<'_>,
        op: &Op<'_>,
        index: usize,
        mut want: Want,
        sink: &mut dyn Sink,
    ) {
        let ops = [*op];
        for _ in 0..TRIES {
            let made = self.make_space(call.now, want, &keys_of(&ops));
            let Some(locked) = self.shards.get(call.shard).filter(|_| made.is_ok()) else {
                break;
            };
            match locked.lock().execute(call, op, index, sink) {
                Ok(()) => return,
                Err(still) => want = still,
            }
        }
        let outcome = Outcome::Failed(StoreError::OutOfMemory);
        sink.outcome(index, outcome, Position::START);
    }
}
