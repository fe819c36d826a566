//! Operations that a client named (IDEMPOTENCY): the effect once, the first answer again.
//!
//! Effects and answer are staged under one hold of the stage: they are in one group of the log,
//! which recovery finds whole or not at all.

use super::slow::ATTEMPTS;
use super::stage::Stage;
use super::store::{Store, illegal, is_legal};
use crate::idempotency::{Verdict, is_final};
use crate::{BatchOutcome, Now, Op, OperationId, Outcome, OwnedOutcome, Position, StoreError};

impl Store {
    pub(super) fn execute_named(
        &self,
        now: Now,
        id: OperationId,
        ops: &[Op<'_>],
        atomic: bool,
    ) -> (BatchOutcome, u64) {
        for attempt in 0..ATTEMPTS {
            for op in ops {
                // What hinders it is met again, and answered, where it is executed.
                let _prepared = self.prepare(now, op, attempt > 0);
            }
            let mut stage = self.staging.lock_with_room();
            let executed = self.execute_once(&mut stage, now, id, ops, atomic);
            self.staging.unlock(stage);
            if let Some(executed) = executed {
                return executed;
            }
        }
        (BatchOutcome::Failed(StoreError::Unavailable), 0)
    }

    fn execute_once(
        &self,
        stage: &mut Stage,
        now: Now,
        id: OperationId,
        ops: &[Op<'_>],
        atomic: bool,
    ) -> Option<(BatchOutcome, u64)> {
        if self.takes_no_writes(stage) {
            return Some((BatchOutcome::Failed(StoreError::Unavailable), 0));
        }
        let now = self.now_for(now, true);
        match stage.windows.check(now, id) {
            Verdict::New => {}
            Verdict::Repeat(stored, position) => {
                let outcome = stored.outcome().unwrap_or_else(BatchOutcome::Failed);
                return Some((outcome, position.get()));
            }
            Verdict::Expired => {
                let outcome = BatchOutcome::Failed(StoreError::OperationExpired);
                return Some((outcome, 0));
            }
        }
        let (outcome, mut after) = if atomic {
            self.try_atomic(stage, now, ops)?
        } else {
            self.execute_held(stage, now, ops)
        };
        if is_final(&outcome) {
            after = stage.answered(now, id, &outcome).max(after);
        }
        Some((outcome, after))
    }

    /// Executes operations one by one for somebody who holds the stage and keeps it.
    fn execute_held(&self, stage: &mut Stage, now: Now, ops: &[Op<'_>]) -> (BatchOutcome, u64) {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut depends = Position::START;
        for op in ops {
            if !is_legal(op) {
                outcomes.push(OwnedOutcome::Failed(illegal(op)));
                continue;
            }
            let call = self.call_for(op.key(), now, true);
            let wanted = outcomes.len() + 1;
            for _ in 0..ATTEMPTS {
                let mut collect = |_: usize, outcome: Outcome<'_>, after: Position| {
                    depends = depends.max(after);
                    outcomes.push(outcome.to_owned_outcome());
                };
                let done = self.with_shard(call, |shard| {
                    shard.execute(call, op, Some(&mut *stage), 0, &mut collect)
                });
                if done == Some(true) {
                    break;
                }
                // Evicted since it was prepared: rare, so that everybody may wait.
                if let Err(error) = self.load(now, op.key(), true) {
                    outcomes.push(OwnedOutcome::Failed(error));
                    break;
                }
            }
            if outcomes.len() < wanted {
                outcomes.push(OwnedOutcome::Failed(StoreError::Unavailable));
            }
        }
        (BatchOutcome::Done(outcomes), depends.get())
    }
}
