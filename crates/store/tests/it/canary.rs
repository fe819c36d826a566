//! Engines with a planted bug: the suite must find it.

use kv_store::conformance::{cases, check_against_model};
use kv_store::{
    Atomic, Batch, Completion, Durable, Engine, Entry, MemoryConfig, MemoryEngine, Now, Op,
    Outcome, OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats,
};
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    /// Time stands still.
    NeverExpires,
    /// Conditions are ignored.
    NoConditions,
    /// A batch is applied one by one.
    NotAtomic,
    /// Pages are one entry short of what they say.
    ScanSkips,
    /// A repeat of an operation is applied again.
    RepeatsApply,
    /// What was answered never becomes durable.
    NotDurable,
}

struct Broken {
    engine: MemoryEngine,
    bug: Bug,
}

impl Broken {
    fn now(&self, now: Now) -> Now {
        if self.bug == Bug::NeverExpires {
            Now::from_unix_ms(0)
        } else {
            now
        }
    }
}

impl Engine for Broken {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let mut ops = ops.to_vec();
        if self.bug == Bug::NoConditions {
            for op in &mut ops {
                if let Op::Set { condition, .. } | Op::Del { condition, .. } = op {
                    *condition = kv_store::Condition::Always;
                }
            }
        }
        let after = Position::of_version(u64::from(self.bug == Bug::NotDurable));
        let mut relay = |index: usize, outcome: Outcome<'_>, _: Position| {
            sink.outcome(index, outcome, after);
        };
        self.engine.run(self.now(now), &ops, &mut relay)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        if self.bug != Bug::NotAtomic {
            return self.engine.run_atomic(self.now(now), ops, sink);
        }
        let mut refused = None;
        self.engine.run(
            now,
            ops,
            &mut |index: usize, outcome: Outcome<'_>, after: Position| match outcome {
                Outcome::Conflict { version } => {
                    refused = Some(Atomic::Conflict { index, version })
                }
                Outcome::WrongType => refused = Some(Atomic::WrongType { index }),
                outcome if refused.is_none() => sink.outcome(index, outcome, after),
                _ => {}
            },
        );
        (refused.unwrap_or(Atomic::Applied), Position::START)
    }

    fn submit(&self, now: Now, mut batch: Batch, done: Completion) {
        if self.bug == Bug::RepeatsApply {
            batch.operation = None;
        }
        self.engine.submit(self.now(now), batch, done);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        let mut shown = 0;
        self.engine
            .scan(self.now(now), range, limits, &mut |key, entry| {
                shown += 1;
                if self.bug != Bug::ScanSkips || shown % 3 != 2 {
                    visit(key, entry);
                }
            })
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.engine.submit_scan(self.now(now), range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.engine.sweep(self.now(now), budget)
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }

    fn durable(&self) -> Durable {
        let failed = self.bug == Bug::NotDurable;
        let through = if failed {
            Position::START
        } else {
            Position::END
        };
        Durable { through, failed }
    }
}

fn broken(bug: Bug) -> Arc<dyn Engine> {
    Arc::new(Broken {
        engine: MemoryEngine::new(MemoryConfig::default()),
        bug,
    })
}

const BUGS: [Bug; 6] = [
    Bug::NeverExpires,
    Bug::NoConditions,
    Bug::NotAtomic,
    Bug::ScanSkips,
    Bug::RepeatsApply,
    Bug::NotDurable,
];

#[test]
fn the_suite_finds_each_planted_bug() {
    for bug in BUGS {
        let found = cases().into_iter().filter(|case| {
            // The threads of these would print a panic each; the others find the bugs, too.
            !matches!(
                case.name,
                "atomic_batches_are_seen_whole"
                    | "a_reader_never_sees_a_torn_value"
                    | "no_increment_is_lost"
                    | "tables_grow_and_shrink_under_readers"
            ) && catch_unwind(AssertUnwindSafe(|| (case.check)(broken(bug)))).is_err()
        });
        assert!(found.count() > 0, "no case finds {bug:?}");
    }
}

#[test]
fn the_model_finds_each_planted_bug() {
    let mut runner = TestRunner::deterministic();
    // The model's steps have no named operations.
    for bug in BUGS.into_iter().filter(|bug| *bug != Bug::RepeatsApply) {
        let found = (0..200).any(|_| {
            let steps = super::steps::steps()
                .new_tree(&mut runner)
                .unwrap()
                .current();
            let check = AssertUnwindSafe(|| check_against_model(&*broken(bug), &steps));
            catch_unwind(check).is_err()
        });
        assert!(found, "the model does not find {bug:?}");
    }
}
