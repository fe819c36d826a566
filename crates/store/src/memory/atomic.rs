//! Atomic batches: lock all shards involved, decide every operation against what the earlier ones
//! will have done, allocate everything, and only then apply.
//!
//! A batch that does not fit is decided to its end all the same, so that room can be made for all
//! of it at once, with no shard locked; then it is decided anew.

use super::MemoryEngine;
use super::evict::{TRIES, keys_of};
use super::shard::{Call, Hindrance, Shard, Want};
use crate::table::{EntryBox, Plan, Reply, is_due, legal_key, plan, shard_of};
use crate::{Atomic, Eviction, Now, Op, Outcome, Position, Sink, StoreError};
use parking_lot::MutexGuard;
use std::collections::HashMap;

/// What was decided about one operation.
enum Step {
    Look,
    Answer(Outcome<'static>),
    Remove { previous: bool },
    Put { entry: EntryBox, reply: Reply },
}

/// Shards under lock, ascending; everybody who locks several locks in this order.
struct Locked<'e> {
    shards: Vec<(usize, MutexGuard<'e, Shard>)>,
}

impl Locked<'_> {
    fn shard(&mut self, shard: usize) -> Option<&mut Shard> {
        let place = self
            .shards
            .binary_search_by_key(&shard, |(number, _)| *number)
            .ok()?;
        self.shards.get_mut(place).map(|(_, guard)| &mut **guard)
    }
}

/// A batch while it is decided.
struct Draft<'a> {
    steps: Vec<Step>,
    /// The step that last put or removed the key.
    latest: HashMap<&'a [u8], usize>,
    /// Entries each shard may get in addition, by shard.
    inserts: HashMap<usize, usize>,
    reserved: usize,
    /// Bytes that were wanted for entries and not reserved.
    missing: usize,
    /// The same for slots, by shard.
    missing_slots: HashMap<usize, usize>,
    /// The first operation something is missing for.
    short_at: Option<usize>,
    /// Bytes of the entries it is about, which stay until it is applied.
    held: usize,
    held_expiring: usize,
}

/// Why a try came to nothing.
enum Refusal {
    Final(Atomic),
    /// No room for the operation; the batch as a whole wants this much.
    NoRoom(usize, Want),
}

impl MemoryEngine {
    pub(super) fn run_ops_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> Atomic {
        if let Some(index) = ops.iter().position(|op| !legal_key(op.key())) {
            return Atomic::Failed {
                index,
                error: StoreError::KeyLength,
            };
        }
        let calls: Vec<_> = ops
            .iter()
            .map(|op| {
                let hash = self.common.seed.hash(op.key());
                Call {
                    common: &self.common,
                    shard: shard_of(hash),
                    hash,
                    now,
                }
            })
            .collect();
        let mut short_at = 0;
        for _ in 0..TRIES {
            let (index, want) = match self.try_atomic(&calls, ops, sink) {
                Ok(()) => return Atomic::Applied,
                Err(Refusal::Final(refused)) => return refused,
                Err(Refusal::NoRoom(index, want)) => (index, want),
            };
            short_at = index;
            if self.make_space(now, want, &keys_of(ops)).is_err() {
                break;
            }
        }
        Atomic::Failed {
            index: short_at,
            error: StoreError::OutOfMemory,
        }
    }

    fn try_atomic(
        &self,
        calls: &[Call<'_>],
        ops: &[Op<'_>],
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        let mut locked = self.lock_shards(calls);
        // A version for each, whether it needs one or not: they need not be dense.
        let version = self.common.take_versions(ops.len() as u64);
        let mut draft = Draft::new(ops.len());
        for (index, (op, call)) in ops.iter().zip(calls).enumerate() {
            let decided = locked
                .shard(call.shard)
                .ok_or(Outcome::Failed(StoreError::Unavailable))
                .and_then(|shard| draft.decide(shard, *call, op, version + index as u64));
            if let Err(refusal) = decided {
                self.common.budget.release(draft.reserved);
                return Err(Refusal::Final(refused(index, refusal)));
            }
        }
        if let Some(index) = draft.short_at {
            self.common.budget.release(draft.reserved);
            let slots: usize = draft.missing_slots.values().sum();
            let need = draft.reserved + draft.missing + slots;
            let want = Want {
                need,
                whole: need + draft.held,
                held_expiring: draft.held_expiring,
            };
            return Err(Refusal::NoRoom(index, want));
        }
        for (index, (step, (op, call))) in draft
            .steps
            .into_iter()
            .zip(ops.iter().zip(calls))
            .enumerate()
        {
            if let Some(shard) = locked.shard(call.shard) {
                apply(shard, *call, op, step, index, sink);
            }
        }
        Ok(())
    }

    fn lock_shards(&self, calls: &[Call<'_>]) -> Locked<'_> {
        let mut numbers: Vec<_> = calls.iter().map(|call| call.shard).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let lock = |number: usize| Some((number, self.shards.get(number)?.lock()));
        Locked {
            shards: numbers.into_iter().filter_map(lock).collect(),
        }
    }
}

impl<'a> Draft<'a> {
    fn new(ops: usize) -> Self {
        Self {
            steps: Vec::with_capacity(ops),
            latest: HashMap::new(),
            inserts: HashMap::new(),
            reserved: 0,
            missing: 0,
            missing_slots: HashMap::new(),
            short_at: None,
            held: 0,
            held_expiring: 0,
        }
    }

    /// Goes on without what could not be reserved, if room can be made for it later. How much it
    /// is.
    fn allow(&mut self, call: Call<'_>, hindrance: Hindrance) -> Result<usize, Outcome<'static>> {
        match hindrance {
            Hindrance::NoRoom(want) if call.common.eviction != Eviction::None => {
                self.short_at.get_or_insert(self.steps.len());
                Ok(want.need)
            }
            Hindrance::NoRoom(_) => Err(Outcome::Failed(StoreError::OutOfMemory)),
            Hindrance::Error(error) => Err(Outcome::Failed(error)),
        }
    }

    /// Decides one operation and reserves what it needs.
    fn decide(
        &mut self,
        shard: &mut Shard,
        call: Call<'_>,
        op: &Op<'a>,
        version: u64,
    ) -> Result<(), Outcome<'static>> {
        let key = op.key();
        let at = shard.find_live(call, key);
        shard.mark(at);
        let committed = shard.lend(at);
        let held = committed.as_ref().map_or(0, |entry| entry.bytes());
        let expires = committed.as_ref().and_then(|entry| entry.expires_at());
        let current = match self.latest.get(key).and_then(|step| self.steps.get(*step)) {
            Some(Step::Put { entry, .. }) => {
                Some(entry.entry()).filter(|entry| !is_due(entry.expires_at, call.now))
            }
            Some(_) => None,
            None => committed.as_ref().map(|entry| entry.entry()),
        };
        let (step, bytes) = match plan(op, current) {
            Plan::Show => (Step::Look, 0),
            Plan::Answer(Outcome::Missing) if !op.is_write() => (Step::Look, 0),
            Plan::Answer(Outcome::Missing) => (Step::Answer(Outcome::Missing), 0),
            Plan::Answer(refusal) => return Err(refusal),
            Plan::Remove { previous } => (Step::Remove { previous }, 0),
            Plan::Write(write) => {
                let entry = write
                    .entry(key, version, current)
                    .map_err(Outcome::Failed)?;
                let mut bytes = entry.bytes();
                if current.is_none() {
                    bytes += shard.order_bytes(key);
                    let inserts = self.inserts.entry(call.shard).or_default();
                    *inserts += 1;
                    if let Err(hindrance) = shard.make_room(call, *inserts) {
                        // The last is for all inserts of the batch so far.
                        let missing = self.allow(call, hindrance)?;
                        self.missing_slots.insert(call.shard, missing);
                    }
                }
                let reserved = match call.common.reserve(Want::more(bytes)) {
                    Ok(()) => bytes,
                    Err(hindrance) => {
                        self.missing += self.allow(call, hindrance)?;
                        0
                    }
                };
                (
                    Step::Put {
                        entry,
                        reply: write.reply,
                    },
                    reserved,
                )
            }
        };
        self.reserved += bytes;
        if let Step::Put { .. } | Step::Remove { .. } = step {
            let former = self.latest.insert(key, self.steps.len());
            if former.is_none() {
                self.held += held;
                self.held_expiring += expires.map_or(0, |_| held);
            }
        }
        self.steps.push(step);
        Ok(())
    }
}

/// Applies one step; everything it needs was reserved.
fn apply(
    shard: &mut Shard,
    call: Call<'_>,
    op: &Op<'_>,
    step: Step,
    index: usize,
    sink: &mut dyn Sink,
) {
    let at = shard.find_live(call, op.key());
    match step {
        Step::Look => shard.show(at, index, sink),
        Step::Answer(outcome) => sink.outcome(index, outcome, Position::START),
        Step::Remove { previous } => {
            let removed = at.and_then(|at| shard.remove(call, at));
            let shown = removed.as_ref().filter(|_| previous);
            sink.outcome(
                index,
                Outcome::Deleted {
                    previous: shown.map(EntryBox::entry),
                },
                Position::START,
            );
        }
        Step::Put { entry, reply } => {
            let (version, expires_at) = (entry.entry().version, entry.expires_at());
            let replaced = shard.install(call, at, entry);
            let before = replaced.as_ref().map(EntryBox::entry);
            let outcome = reply.outcome(version, expires_at, before);
            sink.outcome(index, outcome, Position::START);
            call.common
                .budget
                .release(replaced.map_or(0, |entry| entry.bytes()));
        }
    }
}

fn refused(index: usize, refusal: Outcome<'static>) -> Atomic {
    match refusal {
        Outcome::Conflict { version } => Atomic::Conflict { index, version },
        Outcome::WrongType => Atomic::WrongType { index },
        Outcome::Failed(error) => Atomic::Failed { index, error },
        Outcome::Found(_)
        | Outcome::Missing
        | Outcome::Written { .. }
        | Outcome::Deleted { .. }
        | Outcome::Counted { .. } => Atomic::Failed {
            index,
            error: StoreError::Unavailable,
        },
    }
}
