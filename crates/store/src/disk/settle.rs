//! What passes between the table and the base: entries that come in clean, and dirty ones that the
//! base has taken.

use super::dirt::Dirt;
use super::shard::{Call, Shard, absent};
use crate::table::{Contents, EntryBox, Mark, key_bytes};
use crate::{Entry, StoreError, Value};

/// What the base has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    /// An entry that never expires.
    Plain,
    /// One that does.
    Expiring,
}

impl Shard {
    /// Puts what the base has into the table, unless the table knows better by now. `cleaned` is
    /// what the shard's counter was before the base was asked: says no when entries have become
    /// clean since, so that the base may have been read too early.
    pub(super) fn load(
        &mut self,
        call: Call<'_>,
        key: &[u8],
        stored: Option<&Entry<'_>>,
        cleaned: u64,
    ) -> Result<bool, StoreError> {
        if self.table.find(call.hash, key).is_some() {
            return Ok(true);
        }
        if self.cleaned != cleaned {
            return Ok(false);
        }
        let mut entry = match stored {
            Some(stored) => EntryBox::new(
                key,
                &Contents {
                    // Copied: what the base lends may be a part of something larger.
                    value: Value::Inline(stored.value.as_slice()),
                    version: stored.version,
                    expires_at: stored.expires_at,
                    content_type: stored.content_type,
                },
            )?,
            None => absent(key, 0)?,
        };
        entry.set(Mark::Referenced, true);
        entry.set(Mark::Stored, stored.is_some());
        entry.set(
            Mark::Plain,
            stored.is_some_and(|stored| stored.expires_at.is_none()),
        );
        self.make_room(call, 1)?;
        // What is asked for is shown, also when memory is short: the next one evicts it. Who has
        // been here before needs several together and must not evict one for the other.
        if !call.patient {
            self.has_space(call, entry.bytes(), None);
        }
        let _unbounded = call.common.budget.reserve(entry.bytes());
        let refused = self.table.insert(call.hash, entry);
        debug_assert!(refused.is_ok(), "room was made");
        Ok(true)
    }

    /// The keys of dirty entries.
    pub(super) fn dirty_keys(&self) -> Vec<Box<[u8]>> {
        let dirty = self.table.iter().filter(|entry| entry.has(Mark::Dirty));
        dirty.map(|entry| entry.key().into()).collect()
    }

    /// Removes a clean entry.
    pub(super) fn forget(&mut self, call: Call<'_>, at: usize) {
        if let Some(entry) = self.table.remove(at) {
            debug_assert!(
                !entry.has(Mark::Dirty),
                "a dirty entry is the only one there is"
            );
            call.common.budget.release(entry.bytes());
        }
    }

    /// Notes what the base has of `key` now: the state with `version`. One that stands for
    /// nothing, or has expired, leaves the table.
    pub(super) fn clean(&mut self, call: Call<'_>, key: &[u8], version: u64, now_there: There) {
        let removed = now_there == There::Nothing;
        let mut expired = 0;
        self.cleaned += 1;
        let Some(at) = self.table.find(call.hash, key) else {
            return;
        };
        let changed = self.table.change(at, |entry| {
            let before = Dirt::of(entry);
            entry.set(Mark::Stored, !removed);
            entry.set(Mark::Plain, now_there == There::Plain);
            entry.set(Mark::Unsure, false);
            // An entry that has expired meanwhile may have become a mark of the same version.
            let carried = entry.has(Mark::Dirty)
                && entry.entry().version == version
                && (removed || !entry.has(Mark::Absent));
            if carried && removed && !entry.has(Mark::Absent) {
                expired += 1;
            }
            if carried {
                entry.set(Mark::Dirty, false);
            }
            (before, Dirt::of(entry), carried)
        });
        let Some((before, after, carried)) = changed else {
            return;
        };
        self.dirt -= before;
        self.dirt += after;
        self.expired += expired;
        if !carried {
            return;
        }
        if let Some(order) = &mut self.order {
            order.remove(key);
            call.common.budget.release(key_bytes(key));
        }
        if removed {
            self.forget(call, at);
        }
    }

    /// Notes that the base has removed the expired entry of `key`, which [`Shard::let_go`] let go.
    /// Somebody may have read it there in between: what is clean is not true any more.
    pub(super) fn gone(&mut self, call: Call<'_>, key: &[u8]) {
        self.cleaned += 1;
        let Some(at) = self.table.find(call.hash, key) else {
            return;
        };
        let changed = self.table.change(at, |entry| {
            let before = Dirt::of(entry);
            for mark in [Mark::Stored, Mark::Plain, Mark::Unsure] {
                entry.set(mark, false);
            }
            (before, Dirt::of(entry), entry.has(Mark::Dirty))
        });
        let Some((before, after, dirty)) = changed else {
            return;
        };
        self.dirt -= before;
        self.dirt += after;
        if !dirty {
            self.forget(call, at);
        }
    }
}
