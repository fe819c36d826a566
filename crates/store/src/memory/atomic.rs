//! Atomic batches: lock all shards involved, decide every operation against what the earlier ones
//! will have done, allocate everything, and only then apply.

use super::MemoryEngine;
use super::shard::{Call, Shard, make};
use crate::table::{EntryBox, Plan, Reply, is_due, legal_key, plan, shard_of};
use crate::{Atomic, Now, Op, Outcome, Position, Sink, StoreError};
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
        let mut locked = self.lock_shards(&calls);
        // A version for each, whether it needs one or not: they need not be dense.
        let version = self.common.take_versions(ops.len() as u64);
        let mut draft = Draft::new(ops.len());
        for (index, (op, call)) in ops.iter().zip(&calls).enumerate() {
            let decided = locked
                .shard(call.shard)
                .ok_or(Outcome::Failed(StoreError::Unavailable))
                .and_then(|shard| draft.decide(shard, *call, op, version + index as u64));
            if let Err(refusal) = decided {
                self.common.budget.release(draft.reserved);
                return refused(index, refusal);
            }
        }
        for (index, (step, (op, call))) in draft
            .steps
            .into_iter()
            .zip(ops.iter().zip(&calls))
            .enumerate()
        {
            if let Some(shard) = locked.shard(call.shard) {
                apply(shard, *call, op, step, index, sink);
            }
        }
        Atomic::Applied
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
        let committed = shard.lend(at);
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
                let entry = make(key, &write, version, current).map_err(Outcome::Failed)?;
                let mut bytes = entry.bytes();
                if current.is_none() {
                    bytes += shard.order_bytes(key);
                    let inserts = self.inserts.entry(call.shard).or_default();
                    *inserts += 1;
                    shard.make_room(call, *inserts).map_err(Outcome::Failed)?;
                }
                call.common.budget.reserve(bytes).map_err(Outcome::Failed)?;
                (
                    Step::Put {
                        entry,
                        reply: write.reply,
                    },
                    bytes,
                )
            }
        };
        self.reserved += bytes;
        if let Step::Put { .. } | Step::Remove { .. } = step {
            self.latest.insert(key, self.steps.len());
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
