//! The slow way: operations that need the base or have to wait for room, on threads of their own.

use super::counters::add;
use super::queue::{Job, Queue};
use super::shard::Known;
use super::stage::Stage;
use super::store::{Store, illegal, is_legal};
use crate::{
    Atomic, Batch, BatchOutcome, Completion, Condition, Entry, Expiry, Now, Op, Outcome, OwnedOp,
    OwnedOutcome, Page, Position, StoreError, Value,
};
use kv_base::BaseError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How often an operation is tried again whose entry was evicted before its turn came.
pub(super) const ATTEMPTS: usize = 64;

/// How long a write waits for a round to make room, each time it looks.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// How often a write looks for room.
const ROOM_ATTEMPTS: usize = 6;

/// Executes jobs until the queue is closed.
pub(super) fn run(store: &Store, queue: &Queue) {
    while let Some(job) = queue.pop() {
        // A fault ends one job, not the thread that all others wait for. Its completion is dropped,
        // which says that the outcome is not known.
        if catch_unwind(AssertUnwindSafe(|| store.work(job))).is_err() {
            store
                .counters
                .trouble("a piece of work failed and was given up");
        }
    }
}

impl Store {
    fn work(&self, job: Job) {
        match job {
            Job::Ops { now, batch, done } => self.execute(now, batch, done),
            Job::Scan {
                now,
                range,
                limits,
                done,
            } => {
                let (mut page, after) = self.page(now, &range, limits);
                let show = Box::new(move |durable: bool| {
                    if !durable {
                        page.items.clear();
                        page.end = Page::Failed(StoreError::Unavailable);
                    }
                    done(page);
                });
                self.staging.flush();
                self.progress.when_durable(after, show);
            }
        }
    }

    /// Executes a batch, whatever it takes; `done` is called when the outcome is durable.
    pub(super) fn execute(&self, now: Now, batch: Batch, done: Completion) {
        let ops: Vec<_> = batch.ops.iter().map(OwnedOp::as_op).collect();
        let (outcome, after) = if let Some(id) = batch.operation {
            self.execute_named(now, id, &ops, batch.atomic)
        } else if batch.atomic {
            self.execute_atomic(now, &ops)
        } else {
            let (outcomes, after) = self.execute_each(now, &ops);
            (BatchOutcome::Done(outcomes), after)
        };
        self.staging.flush();
        let show = Box::new(move |durable: bool| {
            done(if durable {
                outcome
            } else {
                BatchOutcome::Failed(StoreError::OutcomeUnknown)
            });
        });
        self.progress.when_durable(after, show);
    }

    fn execute_each(&self, now: Now, ops: &[Op<'_>]) -> (Vec<OwnedOutcome>, u64) {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut depends = Position::START;
        let mut attempts = 0;
        while let Some(op) = ops.get(outcomes.len()) {
            let prepared = self.prepare(now, op, attempts > 0);
            if let Err(error) = prepared {
                outcomes.push(OwnedOutcome::Failed(error));
                continue;
            }
            let rest = ops.get(outcomes.len()..).unwrap_or_default();
            let mut collect = |_: usize, outcome: Outcome<'_>, after: Position| {
                depends = depends.max(after);
                outcomes.push(outcome.to_owned_outcome());
            };
            let executed = self.run(now, rest, &mut collect, true);
            attempts = if executed == 0 { attempts + 1 } else { 0 };
            if attempts > ATTEMPTS {
                outcomes.push(OwnedOutcome::Failed(StoreError::Unavailable));
            }
        }
        (outcomes, depends.get())
    }

    fn execute_atomic(&self, now: Now, ops: &[Op<'_>]) -> (BatchOutcome, u64) {
        for attempt in 0..ATTEMPTS {
            for (index, op) in ops.iter().enumerate() {
                if let Err(error) = self.prepare(now, op, attempt > 0) {
                    let outcome = OwnedOutcome::Failed(error);
                    return (BatchOutcome::Refused { index, outcome }, 0);
                }
            }
            let mut stage = self.staging.lock_with_room();
            let applied = self.try_atomic(&mut stage, now, ops);
            self.staging.unlock(stage);
            if let Some(applied) = applied {
                return applied;
            }
        }
        (BatchOutcome::Failed(StoreError::Unavailable), 0)
    }

    /// One attempt at an atomic batch; `None` when an entry it needs was evicted meanwhile.
    pub(super) fn try_atomic(
        &self,
        stage: &mut Stage,
        now: Now,
        ops: &[Op<'_>],
    ) -> Option<(BatchOutcome, u64)> {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut collect = |_: usize, outcome: Outcome<'_>, _: Position| {
            outcomes.push(outcome.to_owned_outcome());
        };
        let (atomic, after) = self.apply_atomic(stage, now, ops, &mut collect, true);
        let (index, outcome) = match atomic {
            Atomic::NotNow => return None,
            Atomic::Applied => return Some((BatchOutcome::Done(outcomes), after.get())),
            Atomic::Conflict { index, version } => (index, OwnedOutcome::Conflict { version }),
            Atomic::WrongType { index } => (index, OwnedOutcome::WrongType),
            Atomic::Failed { index, error } => (index, OwnedOutcome::Failed(error)),
        };
        Some((BatchOutcome::Refused { index, outcome }, after.get()))
    }

    /// Brings into the table what an operation needs of the base, and waits for room if it writes.
    /// `again` says that this was done before, and that something was evicted since.
    pub(super) fn prepare(&self, now: Now, op: &Op<'_>, again: bool) -> Result<(), StoreError> {
        if !is_legal(op) {
            return Err(illegal(op));
        }
        if op.is_write() {
            self.wait_for_room();
        }
        if is_blind(op) {
            return Ok(());
        }
        self.load(now, op.key(), again)
    }

    /// Waits until entries have been carried when the table is over its limit. Without a round in
    /// all that time, the write goes on: better beyond the limit than never.
    fn wait_for_room(&self) {
        for _ in 0..ROOM_ATTEMPTS {
            if !self.is_crowded() || self.progress.has_failed() {
                return;
            }
            let dirty = u64::try_from(self.dirt().bytes).unwrap_or(0);
            if dirty < self.limits.dirty_bytes {
                // Most of the table is clean: eviction makes room.
                return;
            }
            self.rounds.wait_for_one(ROOM_PATIENCE);
        }
    }

    /// Brings what the base knows of `key` into the table, unless the table knows it.
    pub(super) fn load(&self, now: Now, key: &[u8], again: bool) -> Result<(), StoreError> {
        let call = self.call_for(key, now, again);
        loop {
            let known = self.with_shard(call, |shard| match shard.known(call, key) {
                Known::Unknown => Some(shard.cleaned),
                Known::At(_) | Known::Nothing => None,
            });
            let Some(Some(cleaned)) = known else {
                return Ok(());
            };
            add(&self.counters.cold_reads, 1);
            let stored = self
                .base
                .get(key)
                .map_err(|error| self.base_error(&error))?;
            let entry = stored.as_ref().map(|stored| Entry {
                value: Value::Shared(&stored.value),
                version: stored.version,
                expires_at: stored.expires_at,
                content_type: stored.content_type,
            });
            let loaded =
                self.with_shard(call, |shard| shard.load(call, key, entry.as_ref(), cleaned));
            match loaded {
                Some(Ok(false)) => {}
                Some(Err(error)) => return Err(error),
                Some(Ok(true)) | None => return Ok(()),
            }
        }
    }

    /// What a reader is told when the base cannot answer.
    pub(super) fn base_error(&self, error: &BaseError) -> StoreError {
        self.counters.trouble(error);
        match error {
            BaseError::Corrupt { .. } => StoreError::Corrupt,
            _ => StoreError::Unavailable,
        }
    }
}

/// Whether the outcome of a write does not depend on what is there.
#[inline]
pub(super) fn is_blind(op: &Op<'_>) -> bool {
    matches!(
        op,
        Op::Set {
            condition: Condition::Always,
            previous: false,
            expiry: Expiry::Never | Expiry::At(_),
            ..
        }
    )
}
