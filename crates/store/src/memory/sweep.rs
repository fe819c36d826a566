//! Removes what has expired and nobody asks for, a bounded step at a time from where the last
//! step ended.

use super::MemoryEngine;
use super::shard::Call;
use crate::Now;
use crate::table::is_due;

/// Entries looked at under one hold of a shard's lock: each is a wait for memory of some 100 ns.
const ENTRIES_PER_HOLD: usize = 128;

/// Slots passed over under one hold; they lie side by side.
const SLOTS_PER_HOLD: usize = 8 * 1024;

/// Slots passed over for each entry of the budget, so that a step over a large table with few
/// expiring entries ends, too.
const SLOTS_PER_ENTRY: usize = 64;

/// Where the next step begins.
#[derive(Default)]
pub(super) struct Cursor {
    shard: usize,
    slot: usize,
}

/// What is left of a step.
struct Allowance {
    entries: usize,
    slots: usize,
}

impl MemoryEngine {
    pub(super) fn sweep_step(&self, now: Now, budget: usize) -> usize {
        // Somebody else sweeps already: nothing to add.
        let Some(mut cursor) = self.cursor.try_lock() else {
            return 0;
        };
        let mut left = Allowance {
            entries: budget,
            slots: budget.saturating_mul(SLOTS_PER_ENTRY),
        };
        let mut removed = 0;
        let mut shards = self.shards.len();
        while shards > 0 && left.entries > 0 && left.slots > 0 {
            let (count, shard_done) = self.sweep_shard(now, &mut cursor, &mut left);
            removed += count;
            if shard_done {
                shards -= 1;
                cursor.slot = 0;
                cursor.shard = (cursor.shard + 1) % self.shards.len();
            }
        }
        removed
    }

    /// One hold of one shard's lock: how many entries it removed, and whether the shard's end is
    /// reached.
    fn sweep_shard(&self, now: Now, cursor: &mut Cursor, left: &mut Allowance) -> (usize, bool) {
        let Some(locked) = self.shards.get(cursor.shard) else {
            return (0, true);
        };
        let mut shard = locked.lock();
        if shard.table.expiring() == 0 {
            return (0, true);
        }
        // The key is not needed to remove by place; the hash is that of no key.
        let call = Call {
            common: &self.common,
            shard: cursor.shard,
            hash: 0,
            now,
        };
        let end = cursor.slot + SLOTS_PER_HOLD.min(left.slots);
        let mut removed = 0;
        for _ in 0..ENTRIES_PER_HOLD.min(left.entries) {
            let slots_left = end.saturating_sub(cursor.slot);
            let Some(at) = shard.table.next_expiring(cursor.slot, slots_left) else {
                left.slots = left.slots.saturating_sub(slots_left);
                cursor.slot = end;
                break;
            };
            left.entries -= 1;
            left.slots = left.slots.saturating_sub(at + 1 - cursor.slot);
            cursor.slot = at + 1;
            let expires_at = shard.table.get(at).and_then(|entry| entry.expires_at());
            if is_due(expires_at, now) {
                shard.expire(call, at);
                removed += 1;
            }
        }
        let done = cursor.slot >= shard.table.slots().len();
        if done {
            shard.shrink(call);
        }
        (removed, done)
    }
}
