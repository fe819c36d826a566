//! Removes expired entries from the table, a bounded step at a time; the base's are the carrier's.

use super::shard::{Call, Shard, absent};
use super::store::Store;
use crate::Now;
use crate::table::{Mark, is_due};

/// Slots passed under one hold of a shard's lock.
const SLOTS_PER_HOLD: usize = 8 * 1024;

/// Slots passed for each entry of the budget.
const SLOTS_PER_ENTRY: usize = 64;

/// Where the next step begins.
#[derive(Default)]
pub(super) struct Cursor {
    shard: usize,
    slot: usize,
}

impl Store {
    /// Looks at about `budget` entries; how many it removed.
    pub(super) fn sweep(&self, now: Now, budget: usize) -> usize {
        let Some(mut cursor) = self.cursor.try_lock() else {
            return 0;
        };
        if self.base.keys_expiring() > 0 {
            self.rounds.ask_sweep();
        }
        let mut slots = budget.saturating_mul(SLOTS_PER_ENTRY);
        let mut removed = 0;
        for _ in 0..self.shards.len() {
            let Some(locked) = self.shards.get(cursor.shard) else {
                break;
            };
            let mut shard = locked.lock();
            while cursor.slot < shard.table.slots().len() && slots > 0 && removed < budget {
                if shard.table.expiring() == 0 {
                    cursor.slot = shard.table.slots().len();
                    break;
                }
                let count = SLOTS_PER_HOLD.min(slots);
                let Some(at) = shard.table.next_expiring(cursor.slot, count) else {
                    cursor.slot += count;
                    slots -= count;
                    continue;
                };
                slots = slots.saturating_sub(at + 1 - cursor.slot);
                cursor.slot = at + 1;
                removed += usize::from(self.sweep_at(&mut shard, at, now));
            }
            if cursor.slot < shard.table.slots().len() {
                break;
            }
            cursor.slot = 0;
            cursor.shard = (cursor.shard + 1) % self.shards.len();
        }
        removed
    }

    /// Removes the entry at `at` if its time has come. One that is not in the base as it is here
    /// leaves a mark, which the carrier takes there.
    fn sweep_at(&self, shard: &mut Shard, at: usize, now: Now) -> bool {
        let Some(lent) = shard.table.get(at) else {
            return false;
        };
        if !is_due(lent.expires_at(), now) {
            return false;
        }
        let call = self.call_for(lent.key(), now, false);
        if lent.has(Mark::Dirty) {
            let Ok(marker) = absent(lent.key(), lent.entry().version) else {
                return false;
            };
            shard.install(call, super::shard::Known::At(at), marker);
            shard.expired += 1;
            return true;
        }
        // The base has it as well, and counts it when it goes from there.
        shard.forget(call, at);
        false
    }
}

impl Shard {
    /// Whether the base may remove the expired entry of `key`: not while the table has something
    /// newer. What the table has of it goes, too. [`Shard::gone`] follows when it was removed.
    pub(super) fn let_go(&mut self, call: Call<'_>, key: &[u8]) -> bool {
        let Some(at) = self.table.find(call.hash, key) else {
            return true;
        };
        let Some(lent) = self.table.get(at) else {
            return true;
        };
        if lent.has(Mark::Dirty) || !is_due(lent.expires_at(), call.now) {
            return false;
        }
        self.forget(call, at);
        true
    }
}
