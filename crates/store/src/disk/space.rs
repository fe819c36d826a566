//! Room for entries: the table's slots, and the memory that clean entries give back.

use super::shard::{Call, Shard};
use crate::StoreError;
use crate::table::{Budget, Mark};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Entries the hand of the eviction clock passes for one write at most.
const EVICTION_STEPS: usize = 64;

impl Shard {
    /// Whether `bytes` more may be taken, after making space if need be, but not with the entry at
    /// `keep`.
    pub(super) fn has_space(&mut self, call: Call<'_>, bytes: usize, keep: Option<usize>) -> bool {
        let limit = call.common.limit_bytes;
        if self.evict(call, bytes, keep) {
            return true;
        }
        let slack = if call.patient { limit / 4 } else { limit / 16 };
        if call.common.budget.used() + bytes as u64 <= limit + slack || call.patient {
            return true;
        }
        call.common.stalls.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Evicts until `bytes` more are within the limit, but not the entry at `keep`, and only a
    /// bounded number of steps. Whether they are.
    pub(super) fn evict(&mut self, call: Call<'_>, bytes: usize, keep: Option<usize>) -> bool {
        let limit = call.common.limit_bytes;
        let over = |budget: &Budget| budget.used() + bytes as u64 > limit;
        for _ in 0..EVICTION_STEPS {
            if !over(&call.common.budget) {
                return true;
            }
            if !self.step_hand(call, keep) {
                return false;
            }
        }
        !over(&call.common.budget)
    }

    /// Moves the hand of the eviction clock over one entry. Says no when there is none to pass.
    fn step_hand(&mut self, call: Call<'_>, keep: Option<usize>) -> bool {
        let slots = self.table.slots().len();
        for _ in 0..slots {
            if self.hand >= slots {
                self.hand = 0;
            }
            let at = self.hand;
            self.hand += 1;
            let Some(entry) = self.table.get(at) else {
                continue;
            };
            if entry.has(Mark::Dirty) || keep == Some(at) {
                return true;
            }
            if entry.has(Mark::Referenced) {
                self.table
                    .change(at, |entry| entry.set(Mark::Referenced, false));
            } else {
                self.forget(call, at);
                self.evicted += 1;
            }
            return true;
        }
        false
    }

    /// Sees to it that `more` entries can be inserted.
    pub(super) fn make_room(&mut self, call: Call<'_>, more: usize) -> Result<(), StoreError> {
        if self.table.has_room(more) {
            return Ok(());
        }
        let budget = &call.common.budget;
        let slots = self.table.roomier(more)?;
        budget.reserve(slots.bytes())?;
        let seed = call.common.seed;
        let former = self.table.rebuild(slots, |key| seed.hash(key));
        call.common
            .directory
            .publish(call.shard, Arc::clone(self.table.slots()));
        budget.release(former.bytes());
        Ok(())
    }
}
