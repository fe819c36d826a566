//! Atomic batches: lock all shards involved, decide every operation against what the earlier ones
//! will have done, allocate everything, and only then stage and apply. The records of a batch are
//! staged under one hold of the stage: the log has all of them or none.

use super::shard::{Call, Known, Shard, absent, is_live};
use super::slow::is_blind;
use super::stage::Stage;
use super::store::{Store, illegal, is_legal};
use crate::table::{EntryBox, Mark, Plan, Reply, is_due, plan};
use crate::{Atomic, Now, Op, Outcome, Position, Sink, StoreError};
use parking_lot::MutexGuard;
use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

/// What was decided about one operation.
enum Step {
    Look,
    Answer(Outcome<'static>),
    Remove { marker: EntryBox, previous: bool },
    Put { entry: EntryBox, reply: Reply },
}

/// Why a batch is not applied.
enum Refusal {
    NotNow,
    Outcome(Outcome<'static>),
}

/// Shards under lock, ascending.
struct Locked<'s> {
    shards: Vec<(usize, MutexGuard<'s, Shard>)>,
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

/// A sink that panics only when the batch is applied: never half of it.
struct Careful<'s> {
    sink: &'s mut dyn Sink,
    panic: Option<Box<dyn Any + Send>>,
}

impl Sink for Careful<'_> {
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, after: Position) {
        if self.panic.is_none() {
            let show = AssertUnwindSafe(|| self.sink.outcome(index, outcome, after));
            self.panic = catch_unwind(show).err();
        }
    }
}

/// A batch while it is decided.
struct Draft<'a> {
    steps: Vec<Step>,
    /// The step that last put or removed the key.
    latest: HashMap<&'a [u8], usize>,
    /// Entries each shard may get in addition, by shard.
    inserts: HashMap<usize, usize>,
    bytes: usize,
    /// What was seen: the newest of it.
    after: u64,
}

impl Store {
    pub(super) fn run_atomic(
        &self,
        now: Now,
        ops: &[Op<'_>],
        sink: &mut dyn Sink,
        patient: bool,
    ) -> (Atomic, Position) {
        let mut stage = if patient {
            self.staging.lock_with_room()
        } else {
            self.staging.lock()
        };
        let applied = self.apply_atomic(&mut stage, now, ops, sink, patient);
        self.staging.unlock(stage);
        applied
    }

    /// As [`Store::run_atomic`], for those who hold the stage.
    pub(super) fn apply_atomic(
        &self,
        stage: &mut Stage,
        now: Now,
        ops: &[Op<'_>],
        sink: &mut dyn Sink,
        patient: bool,
    ) -> (Atomic, Position) {
        let failed = |index, error| (Atomic::Failed { index, error }, Position::START);
        if let Some(index) = ops.iter().position(|op| !is_legal(op)) {
            return failed(index, ops.get(index).map_or(StoreError::KeyLength, illegal));
        }
        if let Some(index) = ops.iter().position(Op::is_write) {
            if self.takes_no_writes(stage) {
                return failed(index, StoreError::Unavailable);
            }
            if stage.is_crowded() && !patient {
                return (Atomic::NotNow, Position::START);
            }
        }
        let now = self.now_for(now, patient);
        let calls: Vec<_> = ops
            .iter()
            .map(|op| self.call_for(op.key(), now, patient))
            .collect();
        let mut locked = self.lock_shards(&calls);
        let mut draft = Draft::new(ops.len());
        // A position for each, whether it needs one or not: they need not be dense.
        let first = stage.last() + 1;
        for (index, (op, call)) in ops.iter().zip(&calls).enumerate() {
            let decided = match locked.shard(call.shard) {
                Some(shard) => draft.decide(shard, *call, op, first + index as u64),
                None => Err(Refusal::NotNow),
            };
            match decided {
                Ok(()) => {}
                Err(Refusal::NotNow) => return (Atomic::NotNow, Position::START),
                Err(Refusal::Outcome(outcome)) => {
                    let after = Position::of_version(draft.after);
                    return (refused(index, outcome), after);
                }
            }
        }
        if self.common.budget.used() + draft.bytes as u64
            > self.common.limit_bytes + self.common.limit_bytes / 4
            && !patient
            && draft.bytes > 0
        {
            return (Atomic::NotNow, Position::START);
        }
        let mut after = draft.after;
        let writes = !draft.latest.is_empty();
        if writes {
            stage.at(now.unix_ms());
            stage.skip_to(first + ops.len() as u64 - 1);
        }
        let mut sink = Careful { sink, panic: None };
        for (index, (step, (op, call))) in draft
            .steps
            .into_iter()
            .zip(ops.iter().zip(&calls))
            .enumerate()
        {
            let position = first + index as u64;
            if let Some(shard) = locked.shard(call.shard) {
                let depends = apply(shard, *call, op, step, position, stage, (index, &mut sink));
                after = after.max(depends);
            }
        }
        // Not before: what the batch needs must stay in the table.
        for call in calls.iter().filter(|_| writes) {
            if let Some(shard) = locked.shard(call.shard) {
                shard.evict(*call, 0, None);
            }
        }
        if let Some(panic) = sink.panic {
            resume_unwind(panic);
        }
        (Atomic::Applied, Position::of_version(after))
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
            bytes: 0,
            after: 0,
        }
    }

    /// Decides one operation and allocates what it needs.
    fn decide(
        &mut self,
        shard: &mut Shard,
        call: Call<'_>,
        op: &Op<'a>,
        version: u64,
    ) -> Result<(), Refusal> {
        let key = op.key();
        let known = shard.known(call, key);
        let earlier = self.latest.get(key).and_then(|step| self.steps.get(*step));
        if matches!(known, Known::Unknown) && earlier.is_none() && !is_blind(op) {
            return Err(Refusal::NotNow);
        }
        let lent = match known {
            Known::At(at) => shard.table.get(at),
            Known::Nothing | Known::Unknown => None,
        };
        let seen = lent.as_ref().map_or(0, |entry| entry.entry().version);
        self.after = self.after.max(seen);
        let current = match earlier {
            Some(Step::Put { entry, .. }) => {
                Some(entry.entry()).filter(|entry| !is_due(entry.expires_at, call.now))
            }
            Some(_) => None,
            None => lent
                .as_ref()
                .filter(|entry| is_live(entry, call.now))
                .map(|entry| entry.entry()),
        };
        let failed = |error| Refusal::Outcome(Outcome::Failed(error));
        let step = match plan(op, current) {
            Plan::Show => Step::Look,
            Plan::Answer(Outcome::Missing) if !op.is_write() => Step::Look,
            Plan::Answer(Outcome::Missing) => Step::Answer(Outcome::Missing),
            Plan::Answer(refusal) => return Err(Refusal::Outcome(refusal)),
            Plan::Remove { previous } => Step::Remove {
                marker: absent(key, version).map_err(failed)?,
                previous,
            },
            Plan::Write(write) => {
                if call.common.full.load(Ordering::Relaxed) {
                    return Err(failed(StoreError::DiskFull));
                }
                let entry = write.entry(key, version, current).map_err(failed)?;
                self.bytes += entry.bytes();
                Step::Put {
                    entry,
                    reply: write.reply,
                }
            }
        };
        if let Step::Put { .. } | Step::Remove { .. } = step {
            if !matches!(known, Known::At(_)) && earlier.is_none() {
                let inserts = self.inserts.entry(call.shard).or_default();
                *inserts += 1;
                shard.make_room(call, *inserts).map_err(failed)?;
            }
            self.latest.insert(key, self.steps.len());
        }
        self.steps.push(step);
        Ok(())
    }
}

/// Stages and applies one step; the table has room for it. What its outcome depends on.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one step, lent by the batch"
)]
fn apply(
    shard: &mut Shard,
    call: Call<'_>,
    op: &Op<'_>,
    step: Step,
    position: u64,
    stage: &mut Stage,
    (index, sink): (usize, &mut dyn Sink),
) -> u64 {
    let known = shard.known(call, op.key());
    let after = Position::of_version(position);
    match step {
        Step::Look => {
            shard.look_up(call, known, index, sink);
            0
        }
        // What it depends on is in the batch's position.
        Step::Answer(outcome) => {
            sink.outcome(index, outcome, Position::START);
            0
        }
        Step::Remove { marker, previous } => {
            stage.delete(op.key(), position);
            let old = shard.install(call, known, marker);
            let shown = old
                .as_ref()
                .filter(|old| previous && is_live(old, call.now));
            let outcome = Outcome::Deleted {
                previous: shown.map(EntryBox::entry),
            };
            sink.outcome(index, outcome, after);
            position
        }
        Step::Put { entry, reply } => {
            debug_assert!(entry.entry().version == position && !entry.has(Mark::Absent));
            stage.put(&entry);
            let expires_at = entry.expires_at();
            let old = shard.install(call, known, entry);
            let before = old
                .as_ref()
                .filter(|old| is_live(old, call.now))
                .map(EntryBox::entry);
            sink.outcome(index, reply.outcome(position, expires_at, before), after);
            position
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
