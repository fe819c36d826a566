//! Makes room for a write by removing entries nobody has asked for lately, or that expire soonest.
//!
//! Works between two tries of the write, with one shard locked at a time: the hands of all shards
//! advance in turn, so that a long value does not empty the one shard it belongs to.

use super::MemoryEngine;
use super::shard::{Call, Shard, Want};
use crate::table::{Mark, SHARDS, is_due};
use crate::{Eviction, Now, Op, StoreError};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

/// How often a write is tried: others may take the room that was made for it.
pub(super) const TRIES: usize = 32;

/// Entries removed under one hold of a shard's lock.
const REMOVED_PER_HOLD: usize = 8;

/// Entries passed over because they were looked up, before one of them is taken all the same:
/// each is a wait for memory, and a write must not wait for a whole round.
const PASSED_PER_ENTRY: usize = 32;

/// Entries with an expiry of which the one that expires soonest is taken.
const SAMPLE: usize = 16;

impl MemoryEngine {
    /// Removes entries until what is wanted fits, but none that `spared` names.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfMemory`] when it cannot be made to fit. Nothing is removed when that can
    /// be told before.
    #[cold]
    pub(super) fn make_space(
        &self,
        now: Now,
        want: Want,
        spared: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let budget = &self.common.budget;
        if !self.can_fit(want) {
            return Err(StoreError::OutOfMemory);
        }
        let mut in_vain = 0;
        while let missing @ 1.. = budget.missing(want.need) {
            // Relaxed: whose turn it is matters to nobody else.
            let number = self.common.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let Some(locked) = self.shards.get(number) else {
                return Err(StoreError::OutOfMemory);
            };
            // The key is not needed to remove by place; the hash is that of no key.
            let call = Call {
                common: &self.common,
                shard: number,
                hash: 0,
                now,
            };
            let freed = locked.lock().evict(call, missing, spared);
            in_vain = if freed == 0 { in_vain + 1 } else { 0 };
            if in_vain > SHARDS {
                return Err(StoreError::OutOfMemory);
            }
        }
        Ok(())
    }

    /// Whether a write would fit if everything was removed that may be.
    fn can_fit(&self, want: Want) -> bool {
        let common = &self.common;
        let limit = common.budget.limit().map_or(u64::MAX, NonZeroU64::get);
        let stays = match common.eviction {
            Eviction::None => return false,
            Eviction::Lru => common.slots_bytes.load(Ordering::Relaxed),
            Eviction::Ttl => {
                let expiring = common.expiring_bytes.load(Ordering::Relaxed);
                let goes = expiring.saturating_sub(want.held_expiring as u64);
                let stays = common.budget.used().saturating_sub(goes);
                return stays.saturating_add(want.need as u64) <= limit;
            }
        };
        stays.saturating_add(want.whole as u64) <= limit
    }
}

/// Names the keys of a batch.
pub(super) fn keys_of<'o>(ops: &'o [Op<'_>]) -> impl Fn(&[u8]) -> bool + 'o {
    |key| ops.iter().any(|op| op.key() == key)
}

impl Shard {
    /// Removes some entries, and no more when they gave `missing` bytes back; how many they gave.
    fn evict(&mut self, call: Call<'_>, missing: usize, spared: &dyn Fn(&[u8]) -> bool) -> usize {
        let mut freed = 0;
        for _ in 0..REMOVED_PER_HOLD {
            if freed >= missing {
                break;
            }
            let victim = match call.common.eviction {
                Eviction::None => None,
                Eviction::Lru => self.next_unused(call, spared),
                Eviction::Ttl => self.next_to_expire(call, spared),
            };
            let Some(at) = victim else { break };
            let due = is_due(
                self.lend(Some(at)).and_then(|entry| entry.expires_at()),
                call.now,
            );
            let Some(removed) = self.remove(call, at) else {
                break;
            };
            freed += removed.bytes() + self.order_bytes(removed.key());
            if due {
                self.expired += 1;
            } else {
                self.evicted += 1;
            }
        }
        if freed > 0 {
            self.shrink(call);
        }
        freed
    }

    /// The next entry from the hand on that was not looked up since the hand came by last. Those
    /// that were are passed over, a bounded number of them, and have to be looked up again.
    fn next_unused(&mut self, call: Call<'_>, spared: &dyn Fn(&[u8]) -> bool) -> Option<usize> {
        let slots = self.table.slots().len();
        let mut passed = 0;
        // Twice: in the second round nothing counts as looked up.
        for _ in 0..2 * slots {
            let at = self.hand;
            self.hand = if at + 1 >= slots { 0 } else { at + 1 };
            let Some(entry) = self.table.get(at) else {
                continue;
            };
            if spared(entry.key()) {
                continue;
            }
            let used = entry.has(Mark::Referenced) && !is_due(entry.expires_at(), call.now);
            if !used || passed >= PASSED_PER_ENTRY {
                return Some(at);
            }
            passed += 1;
            self.table
                .change(at, |entry| entry.set(Mark::Referenced, false));
        }
        None
    }

    /// Of the next entries with an expiry from the hand on, the one that expires soonest.
    fn next_to_expire(&mut self, call: Call<'_>, spared: &dyn Fn(&[u8]) -> bool) -> Option<usize> {
        if self.table.expiring() == 0 {
            return None;
        }
        let slots = self.table.slots().len();
        let mut soonest: Option<(NonZeroU64, usize)> = None;
        let mut sampled = 0;
        let mut left = slots;
        while sampled < SAMPLE && left > 0 {
            if self.hand >= slots {
                self.hand = 0;
            }
            let ahead = left.min(slots - self.hand);
            let found = self.table.next_expiring(self.hand, ahead);
            let past = found.map_or(self.hand + ahead, |at| at + 1);
            left -= past - self.hand;
            self.hand = past;
            let Some(at) = found else { continue };
            let entry = self.table.get(at)?;
            let Some(expires_at) = entry.expires_at().filter(|_| !spared(entry.key())) else {
                continue;
            };
            if is_due(Some(expires_at), call.now) {
                return Some(at);
            }
            sampled += 1;
            if soonest.is_none_or(|(earliest, _)| expires_at < earliest) {
                soonest = Some((expires_at, at));
            }
        }
        soonest.map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests;
