//! One shard: a table, its ordered index and its counters, changed under one lock.
//!
//! Invariant: `order`, once built, holds exactly the keys of `table`; the budget has been charged
//! for every entry, for the table's slots and for the index.

use crate::table::{
    Body, Budget, Contents, Directory, EntryBox, Lent, Order, Plan, Seed, Table, Write, is_due,
    key_bytes, plan,
};
use crate::{Entry, Now, Op, Outcome, Position, Sink, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all shards share.
pub(super) struct Common {
    pub(super) seed: Seed,
    pub(super) budget: Budget,
    pub(super) versions: AtomicU64,
    pub(super) directory: Directory,
}

impl Common {
    /// `count` versions that nobody else gets; returns the first. Called under the lock of the
    /// shards that use them, which makes them increase along each key.
    pub(super) fn take_versions(&self, count: u64) -> u64 {
        // Relaxed: the lock of the shard orders the versions of one key.
        self.versions.fetch_add(count, Ordering::Relaxed) + 1
    }
}

/// Where an operation takes place, and when.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) common: &'c Common,
    pub(super) shard: usize,
    pub(super) hash: u64,
    pub(super) now: Now,
}

/// The part of a shard behind its lock.
pub(super) struct Shard {
    pub(super) table: Table,
    pub(super) order: Option<Order>,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) expired: u64,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            order: None,
            hits: 0,
            misses: 0,
            expired: 0,
        }
    }

    /// Executes one operation whose key has a legal length.
    #[inline]
    pub(super) fn execute(
        &mut self,
        call: Call<'_>,
        op: &Op<'_>,
        index: usize,
        sink: &mut dyn Sink,
    ) {
        let at = self.find_live(call, op.key());
        if let Op::Get { .. } = op {
            self.show(at, index, sink);
        } else {
            self.execute_write(call, op, at, &mut |outcome| {
                sink.outcome(index, outcome, Position::START);
            });
        }
    }

    /// Answers a look-up, and counts it.
    #[inline]
    pub(super) fn show(&mut self, at: Option<usize>, index: usize, sink: &mut dyn Sink) {
        if let Some(entry) = self.table.get(at.unwrap_or(usize::MAX)) {
            self.hits += 1;
            sink.outcome(index, Outcome::Found(entry.entry()), Position::START);
        } else {
            self.misses += 1;
            sink.outcome(index, Outcome::Missing, Position::START);
        }
    }

    fn execute_write(
        &mut self,
        call: Call<'_>,
        op: &Op<'_>,
        at: Option<usize>,
        answer: &mut dyn FnMut(Outcome<'_>),
    ) {
        match plan(op, self.lend(at).as_ref().map(|entry| entry.entry())) {
            Plan::Show => answer(Outcome::Missing),
            Plan::Answer(outcome) => answer(outcome),
            Plan::Remove { previous } => {
                let removed = at.and_then(|at| self.remove(call, at));
                let shown = removed.as_ref().filter(|_| previous);
                answer(Outcome::Deleted {
                    previous: shown.map(EntryBox::entry),
                });
                drop(removed);
                self.shrink(call);
            }
            Plan::Write(write) => {
                let version = call.common.take_versions(1);
                let expires_at = write.expires_at;
                if self.write_in_place(at, &write, version) {
                    return answer(write.reply.outcome(version, expires_at, None));
                }
                match self.write_anew(call, op.key(), at, &write, version) {
                    Ok(old) => {
                        let before = old.as_ref().map(EntryBox::entry);
                        answer(write.reply.outcome(version, expires_at, before));
                    }
                    Err(error) => answer(Outcome::Failed(error)),
                }
            }
        }
    }

    /// The entry at `at`.
    #[inline]
    pub(super) fn lend(&self, at: Option<usize>) -> Option<Lent<'_>> {
        self.table.get(at?)
    }

    /// Where the entry of `key` is. One that has expired is removed.
    #[inline]
    pub(super) fn find_live(&mut self, call: Call<'_>, key: &[u8]) -> Option<usize> {
        let at = self.table.find(call.hash, key)?;
        let expires_at = self.table.get(at)?.expires_at();
        if !is_due(expires_at, call.now) {
            return Some(at);
        }
        self.expire(call, at);
        None
    }

    /// Removes the entry at `at` because its time has come.
    pub(super) fn expire(&mut self, call: Call<'_>, at: usize) {
        if self.remove(call, at).is_some() {
            self.expired += 1;
        }
    }

    /// Changes the entry where it lies, if the new content fits there and the old is not asked
    /// for.
    fn write_in_place(&mut self, at: Option<usize>, write: &Write<'_>, version: u64) -> bool {
        let Some(at) = at else { return false };
        if write.reply.shows_previous() {
            return false;
        }
        let expires_at = write.expires_at;
        let changed = self.table.change(at, |entry| match &write.body {
            Body::Same => entry.touch(version, expires_at),
            body => entry.overwrite(&Contents {
                value: body.value(None),
                version,
                expires_at,
                content_type: write.content_type,
            }),
        });
        changed.unwrap_or(false)
    }

    /// Makes a new entry and puts it in the place of the one at `at`, if any, which it returns.
    fn write_anew(
        &mut self,
        call: Call<'_>,
        key: &[u8],
        at: Option<usize>,
        write: &Write<'_>,
        version: u64,
    ) -> Result<Option<EntryBox>, StoreError> {
        let old = self.lend(at);
        let old_bytes = old.as_ref().map_or(0, |entry| entry.bytes());
        let new = make(key, write, version, old.as_ref().map(|entry| entry.entry()))?;
        let new_bytes = new.bytes();
        let mut more = new_bytes.saturating_sub(old_bytes);
        if at.is_none() {
            self.make_room(call, 1)?;
            more += self.order_bytes(key);
        }
        // Only growth is reserved: what takes the place of something larger always may.
        call.common.budget.reserve(more)?;
        let replaced = self.install(call, at, new);
        call.common
            .budget
            .release(old_bytes.saturating_sub(new_bytes));
        Ok(replaced)
    }

    /// What the index will take for a key that is not in it.
    pub(super) fn order_bytes(&self, key: &[u8]) -> usize {
        if self.order.is_some() {
            key_bytes(key)
        } else {
            0
        }
    }

    /// Puts an entry into the table and the index, which have been charged for it and have room.
    /// Returns the one it replaces, whose bytes are the caller's to release.
    pub(super) fn install(
        &mut self,
        call: Call<'_>,
        at: Option<usize>,
        entry: EntryBox,
    ) -> Option<EntryBox> {
        if let Some(at) = at {
            return self.table.replace(at, call.hash, entry);
        }
        if let Some(order) = &mut self.order {
            order.insert(entry.key());
        }
        let refused = self.table.insert(call.hash, entry);
        debug_assert!(refused.is_ok(), "room was made");
        None
    }

    /// Removes the entry at `at` from table and index, and gives its memory back to the budget.
    pub(super) fn remove(&mut self, call: Call<'_>, at: usize) -> Option<EntryBox> {
        let entry = self.table.remove(at)?;
        if let Some(order) = &mut self.order {
            order.remove(entry.key());
            call.common.budget.release(key_bytes(entry.key()));
        }
        call.common.budget.release(entry.bytes());
        Some(entry)
    }

    /// Sees to it that `more` entries can be inserted.
    pub(super) fn make_room(&mut self, call: Call<'_>, more: usize) -> Result<(), StoreError> {
        if self.table.has_room(more) {
            return Ok(());
        }
        self.rebuild(call, more)
    }

    /// Gives slots back after many removals. Without memory for the move it stays as it is.
    pub(super) fn shrink(&mut self, call: Call<'_>) {
        if self.table.is_sparse() {
            let _unchanged_without_memory = self.rebuild(call, 0);
        }
    }

    fn rebuild(&mut self, call: Call<'_>, more: usize) -> Result<(), StoreError> {
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

/// Allocates the entry that `write` makes of `current`.
pub(super) fn make(
    key: &[u8],
    write: &Write<'_>,
    version: u64,
    current: Option<Entry<'_>>,
) -> Result<EntryBox, StoreError> {
    let contents = Contents {
        value: write.body.value(current),
        version,
        expires_at: write.expires_at,
        content_type: write.content_type,
    };
    EntryBox::new(key, &contents)
}
