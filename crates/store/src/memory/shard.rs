//! One shard: a table, its ordered index and its counters, changed under one lock.
//!
//! Invariant: `order`, once built, holds exactly the keys of `table`; the budget has been charged
//! for every entry, for the table's slots and for the index.

use crate::table::{
    Body, Budget, Contents, Directory, EntryBox, Lent, Mark, Order, Plan, Seed, Table, Write,
    is_due, key_bytes, plan,
};
use crate::{Eviction, Now, Op, Outcome, Position, Sink, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What all shards share.
pub(super) struct Common {
    pub(super) seed: Seed,
    pub(super) budget: Budget,
    pub(super) versions: AtomicU64,
    pub(super) directory: Directory,
    pub(super) eviction: Eviction,
    /// Whose hand is the next to advance.
    pub(super) turn: AtomicUsize,
    /// What the budget was charged for slots, which no eviction gives back.
    pub(super) slots_bytes: AtomicU64,
    /// Bytes of entries with an expiry; counted only when these are what goes.
    pub(super) expiring_bytes: AtomicU64,
}

/// Room that a write did not find.
#[derive(Clone, Copy)]
pub(super) struct Want {
    /// What it needs beside what there is.
    pub(super) need: usize,
    /// What it takes once it is done, the entries in whose place it comes included as long as
    /// they have to stay.
    pub(super) whole: usize,
    /// What the entries it is about take that have an expiry.
    pub(super) held_expiring: usize,
}

impl Want {
    /// Room beside everything there is.
    pub(super) const fn more(bytes: usize) -> Self {
        Self {
            need: bytes,
            whole: bytes,
            held_expiring: 0,
        }
    }
}

/// Why a write was not made.
pub(super) enum Hindrance {
    NoRoom(Want),
    Error(StoreError),
}

impl Hindrance {
    /// The same when `bytes` more will be needed, so that room is made for all or nothing.
    fn with(self, bytes: usize) -> Self {
        match self {
            Self::NoRoom(want) => Self::NoRoom(Want::more(want.need + bytes)),
            Self::Error(error) => Self::Error(error),
        }
    }
}

impl From<StoreError> for Hindrance {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

impl Common {
    /// `count` versions that nobody else gets; returns the first. Called under the lock of the
    /// shards that use them, which makes them increase along each key.
    pub(super) fn take_versions(&self, count: u64) -> u64 {
        // Relaxed: the lock of the shard orders the versions of one key.
        self.versions.fetch_add(count, Ordering::Relaxed) + 1
    }

    pub(super) fn reserve(&self, want: Want) -> Result<(), Hindrance> {
        let reserved = self.budget.reserve(want.need);
        reserved.map_err(|_| Hindrance::NoRoom(want))
    }

    /// Notes that an entry came or went.
    fn count_expiring(&self, came: Option<&EntryBox>, went: Option<&EntryBox>) {
        if self.eviction != Eviction::Ttl {
            return;
        }
        // Relaxed: a sum by itself.
        let bytes = |entry: Option<&EntryBox>| {
            let expiring = entry.filter(|entry| entry.expires_at().is_some());
            expiring.map_or(0, |entry| entry.bytes() as u64)
        };
        self.expiring_bytes
            .fetch_add(bytes(came), Ordering::Relaxed);
        self.expiring_bytes
            .fetch_sub(bytes(went), Ordering::Relaxed);
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
    pub(super) evicted: u64,
    /// Where eviction looks next.
    pub(super) hand: usize,
    /// Whether to mark what is looked up or written.
    marks: bool,
}

impl Shard {
    pub(super) fn new(eviction: Eviction) -> Self {
        Self {
            table: Table::new(),
            order: None,
            hits: 0,
            misses: 0,
            expired: 0,
            evicted: 0,
            hand: 0,
            marks: eviction == Eviction::Lru,
        }
    }

    /// Executes one operation whose key has a legal length.
    ///
    /// # Errors
    ///
    /// What a write did not find room for, if entries may be evicted. It has changed nothing and
    /// was not answered.
    #[inline]
    pub(super) fn execute(
        &mut self,
        call: Call<'_>,
        op: &Op<'_>,
        index: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Want> {
        let at = self.find_live(call, op.key());
        self.mark(at);
        if let Op::Get { .. } = op {
            self.show(at, index, sink);
            return Ok(());
        }
        self.execute_write(call, op, at, &mut |outcome| {
            sink.outcome(index, outcome, Position::START);
        })
    }

    /// Marks the entry at `at` as asked for, if that is of use and it is not marked already: most
    /// often it is, and reading is cheaper than writing.
    #[inline]
    pub(super) fn mark(&mut self, at: Option<usize>) {
        if !self.marks {
            return;
        }
        let unmarked = |entry: &Lent<'_>| !entry.has(Mark::Referenced);
        if let Some(at) = at.filter(|_| self.lend(at).as_ref().is_some_and(unmarked)) {
            self.table
                .change(at, |entry| entry.set(Mark::Referenced, true));
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
    ) -> Result<(), Want> {
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
                    answer(write.reply.outcome(version, expires_at, None));
                    return Ok(());
                }
                match self.write_anew(call, op.key(), at, &write, version) {
                    Ok(old) => {
                        let before = old.as_ref().map(EntryBox::entry);
                        answer(write.reply.outcome(version, expires_at, before));
                    }
                    Err(Hindrance::NoRoom(want)) if call.common.eviction != Eviction::None => {
                        return Err(want);
                    }
                    Err(Hindrance::NoRoom(_)) => answer(Outcome::Failed(StoreError::OutOfMemory)),
                    Err(Hindrance::Error(error)) => answer(Outcome::Failed(error)),
                }
            }
        }
        Ok(())
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
    ) -> Result<Option<EntryBox>, Hindrance> {
        let old = self.lend(at);
        let old_bytes = old.as_ref().map_or(0, |entry| entry.bytes());
        let expires = old.as_ref().and_then(|entry| entry.expires_at());
        let held_expiring = expires.map_or(0, |_| old_bytes);
        let new = write.entry(key, version, old.as_ref().map(|entry| entry.entry()))?;
        let new_bytes = new.bytes();
        let mut more = new_bytes.saturating_sub(old_bytes);
        if at.is_none() {
            more += self.order_bytes(key);
            self.make_room(call, 1)
                .map_err(|hindrance| hindrance.with(more))?;
        }
        // Only growth is reserved: what takes the place of something larger always may.
        call.common.reserve(Want {
            need: more,
            whole: new_bytes + self.order_bytes(key),
            held_expiring,
        })?;
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
        call.common.count_expiring(Some(&entry), None);
        if let Some(at) = at {
            let replaced = self.table.replace(at, call.hash, entry);
            call.common.count_expiring(None, replaced.as_ref());
            self.mark(Some(at));
            return replaced;
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
        call.common.count_expiring(None, Some(&entry));
        Some(entry)
    }

    /// Sees to it that `more` entries can be inserted.
    pub(super) fn make_room(&mut self, call: Call<'_>, more: usize) -> Result<(), Hindrance> {
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

    fn rebuild(&mut self, call: Call<'_>, more: usize) -> Result<(), Hindrance> {
        let common = call.common;
        let slots = self.table.roomier(more)?;
        let (bytes, former) = (slots.bytes(), self.table.slots().bytes());
        // The former slots are freed at once, or as soon as nobody reads them: only growth is
        // reserved.
        let growth = bytes.saturating_sub(former);
        common.reserve(Want::more(growth))?;
        let seed = common.seed;
        self.table.rebuild(slots, |key| seed.hash(key));
        common
            .directory
            .publish(call.shard, Arc::clone(self.table.slots()));
        common.budget.release(former.saturating_sub(bytes));
        // Relaxed: a sum by itself. Wraps when it shrinks, to the right sum.
        let change = (bytes as u64).wrapping_sub(former as u64);
        common.slots_bytes.fetch_add(change, Ordering::Relaxed);
        self.hand = 0;
        Ok(())
    }
}
