//! One shard of the table in front: what operations do to it, under its lock.
//!
//! Invariant: an entry marked dirty is the newest state of its key and recorded in the log (or on
//! the stage); one that is not is what the base has. `dirt` is the sum over the dirty ones, and
//! `order`, once built, holds exactly their keys. A key that is not in the table is as the base
//! has it.

use super::dirt::Dirt;
use super::slow::is_blind;
use super::stage::Stage;
use crate::table::{
    Body, Budget, Contents, Directory, EntryBox, Mark, Order, Plan, Seed, Table, Write, is_due,
    key_bytes, plan,
};
use crate::{Now, Op, Outcome, Position, Sink, StoreError, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What all shards share.
pub(super) struct Common {
    pub(super) seed: Seed,
    pub(super) budget: Budget,
    pub(super) directory: Directory,
    /// What the table may take.
    pub(super) limit_bytes: u64,
    /// Whether nothing was ever carried to the base. Read under a shard's lock it is true only if
    /// no entry of that shard ever left the table for the base.
    pub(super) base_is_empty: AtomicBool,
    /// Writes that found no room.
    pub(super) stalls: AtomicU64,
    /// Whether writes that need room are refused: the disk is full.
    pub(super) full: AtomicBool,
}

/// Where an operation takes place, when, and how hard it tries.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) common: &'c Common,
    pub(super) shard: usize,
    pub(super) hash: u64,
    pub(super) now: Now,
    /// Has waited for room already: takes some beyond the limit.
    pub(super) patient: bool,
}

/// The part of a shard behind its lock.
pub(super) struct Shard {
    pub(super) table: Table,
    /// The keys of dirty entries; built by the first scan.
    pub(super) order: Option<Order>,
    pub(super) dirt: Dirt,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    /// Look-ups that were told that an entry had expired.
    pub(super) shown_expired: u64,
    /// How many entries became clean: whoever read the base before may have read too early.
    pub(super) cleaned: u64,
    pub(super) hand: usize,
}

/// What the table knows of a key.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// The entry at this place, which may stand for none.
    At(usize),
    /// There is no entry, and the base has none.
    Nothing,
    /// What the base knows.
    Unknown,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            order: None,
            dirt: Dirt::default(),
            hits: 0,
            misses: 0,
            expired: 0,
            evicted: 0,
            shown_expired: 0,
            cleaned: 0,
            hand: 0,
        }
    }

    /// What is known of `key`.
    #[inline]
    pub(super) fn known(&self, call: Call<'_>, key: &[u8]) -> Known {
        match self.table.find(call.hash, key) {
            Some(at) => Known::At(at),
            // Acquire is the lock's: see the field.
            None if call.common.base_is_empty.load(Ordering::Relaxed) => Known::Nothing,
            None => Known::Unknown,
        }
    }

    /// Executes an operation whose key has a legal length. Says no, having done nothing, when that
    /// needs the base or room that is not there now. A write needs the stage.
    #[inline]
    pub(super) fn execute(
        &mut self,
        call: Call<'_>,
        op: &Op<'_>,
        stage: Option<&mut Stage>,
        index: usize,
        sink: &mut dyn Sink,
    ) -> bool {
        let known = self.known(call, op.key());
        if let Op::Get { .. } = op {
            return self.look_up(call, known, index, sink);
        }
        match (known, stage) {
            (_, None) => false,
            (Known::Unknown, Some(_)) if !is_blind(op) => false,
            (known, Some(stage)) => self.execute_write(call, op, known, stage, index, sink),
        }
    }

    pub(super) fn look_up(
        &mut self,
        call: Call<'_>,
        known: Known,
        index: usize,
        sink: &mut dyn Sink,
    ) -> bool {
        let at = match known {
            Known::At(at) => at,
            Known::Nothing => {
                self.misses += 1;
                sink.outcome(index, Outcome::Missing, Position::START);
                return true;
            }
            Known::Unknown => return false,
        };
        let Some(lent) = self.table.get(at) else {
            return false;
        };
        let entry = lent.entry();
        let after = Position::of_version(entry.version);
        let due = is_due(entry.expires_at, call.now);
        if due || lent.has(Mark::Absent) {
            self.misses += 1;
            self.shown_expired += u64::from(due);
            sink.outcome(index, Outcome::Missing, after);
        } else {
            self.hits += 1;
            sink.outcome(index, Outcome::Found(entry), after);
        }
        if !lent.has(Mark::Referenced) {
            self.table
                .change(at, |entry| entry.set(Mark::Referenced, true));
        }
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one operation, as `execute` has them"
    )]
    fn execute_write(
        &mut self,
        call: Call<'_>,
        op: &Op<'_>,
        known: Known,
        stage: &mut Stage,
        index: usize,
        sink: &mut dyn Sink,
    ) -> bool {
        let lent = self.at(known).and_then(|at| self.table.get(at));
        let seen = lent.as_ref().map_or(0, |entry| entry.entry().version);
        let after = Position::of_version(seen);
        let current = lent
            .as_ref()
            .filter(|entry| is_live(entry, call.now))
            .map(|entry| entry.entry());
        match plan(op, current) {
            Plan::Show => return false,
            Plan::Answer(outcome) => sink.outcome(index, outcome, after),
            Plan::Remove { previous } => {
                let key = op.key();
                let Ok(marker) = absent(key, stage.last() + 1) else {
                    sink.outcome(index, Outcome::Failed(StoreError::OutOfMemory), after);
                    return true;
                };
                let position = stage.take_position();
                stage.at(call.now.unix_ms());
                stage.delete(key, position);
                let was_live = current.is_some();
                let old = self.install(call, known, marker);
                let shown = old.as_ref().filter(|_| previous && was_live);
                let outcome = Outcome::Deleted {
                    previous: shown.map(EntryBox::entry),
                };
                sink.outcome(index, outcome, Position::of_version(position));
            }
            Plan::Write(write) => {
                if call.common.full.load(Ordering::Relaxed) {
                    sink.outcome(index, Outcome::Failed(StoreError::DiskFull), after);
                    return true;
                }
                return self.write(call, op.key(), known, &write, stage, index, sink);
            }
        }
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one write, taken apart for the borrow checker"
    )]
    fn write(
        &mut self,
        call: Call<'_>,
        key: &[u8],
        known: Known,
        write: &Write<'_>,
        stage: &mut Stage,
        index: usize,
        sink: &mut dyn Sink,
    ) -> bool {
        let expires_at = write.expires_at;
        if let Known::At(at) = known
            && self.write_in_place(call, at, write, stage.last() + 1)
        {
            let position = stage.take_position();
            stage.at(call.now.unix_ms());
            if let Some(entry) = self.table.get(at) {
                stage.put(&entry);
            }
            let outcome = write.reply.outcome(position, expires_at, None);
            sink.outcome(index, outcome, Position::of_version(position));
            return true;
        }
        let lent = self.at(known).and_then(|at| self.table.get(at));
        let live = lent.filter(|entry| is_live(entry, call.now));
        let was_live = live.is_some();
        let current = live.as_ref().map(|entry| entry.entry());
        let made = write.entry(key, stage.last() + 1, current);
        let made = made.and_then(|entry| {
            let room = matches!(known, Known::At(_)) || self.make_room(call, 1).is_ok();
            if room {
                Ok(entry)
            } else {
                Err(StoreError::OutOfMemory)
            }
        });
        let entry = match made {
            Ok(entry) => entry,
            Err(error) => {
                sink.outcome(index, Outcome::Failed(error), Position::START);
                return true;
            }
        };
        if !self.has_space(call, entry.bytes(), self.at(known)) {
            return false;
        }
        let position = stage.take_position();
        stage.at(call.now.unix_ms());
        stage.put(&entry);
        let old = self.install(call, known, entry);
        let before = old.as_ref().filter(|_| was_live).map(EntryBox::entry);
        let outcome = write.reply.outcome(position, expires_at, before);
        sink.outcome(index, outcome, Position::of_version(position));
        true
    }

    #[inline]
    pub(super) fn at(&self, known: Known) -> Option<usize> {
        match known {
            Known::At(at) => Some(at),
            Known::Nothing | Known::Unknown => None,
        }
    }

    /// Changes the entry where it lies, if the new content fits there and the old is not asked
    /// for. Does nothing otherwise.
    fn write_in_place(
        &mut self,
        call: Call<'_>,
        at: usize,
        write: &Write<'_>,
        version: u64,
    ) -> bool {
        if write.reply.shows_previous() {
            return false;
        }
        let expires_at = write.expires_at;
        let now = call.now;
        let changed = self.table.change(at, |entry| {
            if !is_live(entry, now) && matches!(write.body, Body::Same) {
                return None;
            }
            let before = Dirt::of(entry);
            let fits = match &write.body {
                Body::Same => entry.touch(version, expires_at),
                body => entry.overwrite(&Contents {
                    value: body.value(None),
                    version,
                    expires_at,
                    content_type: write.content_type,
                }),
            };
            if !fits {
                return None;
            }
            entry.set(Mark::Absent, false);
            entry.set(Mark::Dirty, true);
            entry.set(Mark::Referenced, true);
            Some((before, Dirt::of(entry)))
        });
        let Some((before, after)) = changed.flatten() else {
            return false;
        };
        self.dirt -= before;
        self.dirt += after;
        if before.entries == 0 {
            self.note_order(call, at);
        }
        true
    }

    /// Adds the key of the entry at `at`, which has become dirty, to the index.
    fn note_order(&mut self, call: Call<'_>, at: usize) {
        if let Some(order) = &mut self.order
            && let Some(entry) = self.table.get(at)
        {
            order.insert(entry.key());
            let _unbounded = call.common.budget.reserve(key_bytes(entry.key()));
        }
    }

    /// Puts a new state into the table as dirty; the table has room for it. Returns the old.
    pub(super) fn install(
        &mut self,
        call: Call<'_>,
        known: Known,
        mut entry: EntryBox,
    ) -> Option<EntryBox> {
        entry.set(Mark::Dirty, true);
        entry.set(Mark::Referenced, true);
        let at = self.at(known);
        let (before, stored, plain, unsure) = match at.and_then(|at| self.table.get(at)) {
            Some(old) => (
                Dirt::of(&old),
                old.has(Mark::Stored),
                old.has(Mark::Plain),
                old.has(Mark::Unsure),
            ),
            None => (
                Dirt::default(),
                false,
                false,
                matches!(known, Known::Unknown),
            ),
        };
        entry.set(Mark::Stored, stored);
        entry.set(Mark::Plain, plain);
        entry.set(Mark::Unsure, unsure);
        self.dirt -= before;
        self.dirt += Dirt::of(&entry);
        let _unbounded = call.common.budget.reserve(entry.bytes());
        if before.entries == 0
            && let Some(order) = &mut self.order
        {
            order.insert(entry.key());
            let _unbounded = call.common.budget.reserve(key_bytes(entry.key()));
        }
        let old = match at {
            Some(at) => self.table.replace(at, call.hash, entry),
            None => {
                let refused = self.table.insert(call.hash, entry);
                debug_assert!(refused.is_ok(), "room was made");
                None
            }
        };
        if let Some(old) = &old {
            call.common.budget.release(old.bytes());
        }
        old
    }
}

/// Whether an entry of the table can be seen.
#[inline]
pub(super) fn is_live(entry: &EntryBox, now: Now) -> bool {
    !entry.has(Mark::Absent) && !is_due(entry.expires_at(), now)
}

/// An entry that stands for none.
pub(super) fn absent(key: &[u8], version: u64) -> Result<EntryBox, StoreError> {
    let contents = Contents {
        value: Value::Inline(&[]),
        version,
        expires_at: None,
        content_type: 0,
    };
    let mut entry = EntryBox::new(key, &contents)?;
    entry.set(Mark::Absent, true);
    Ok(entry)
}
