//! An engine beside an ordered map that is told the same.

use super::driver::Driver;
use crate::{
    BatchOutcome, Condition, Engine, Expiry, Op, OwnedEntry, OwnedOutcome, OwnedRange, Value,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// One thing both are told.
#[derive(Clone, Debug)]
pub enum Step {
    /// Operations, executed one after the other.
    Run(Vec<StepOp>),
    /// Operations, all or none.
    Atomic(Vec<StepOp>),
    /// A scan to its end.
    Scan {
        /// What keys begin with.
        prefix: Vec<u8>,
        /// Descending.
        reverse: bool,
        /// Entries per page.
        items: usize,
    },
    /// A step of the sweeper.
    Sweep {
        /// How far.
        budget: usize,
    },
    /// Time passes.
    Wait {
        /// How much.
        ms: u64,
    },
    /// The caller's clock goes back.
    ClockBack {
        /// How far.
        ms: u64,
    },
}

/// A condition that can be written down before versions are known.
#[derive(Clone, Copy, Debug)]
pub enum Cond {
    /// Nothing must hold.
    Always,
    /// No entry.
    Absent,
    /// Any entry.
    Present,
    /// The version the key has when the step begins.
    Current,
    /// A version it does not have.
    Stale,
}

/// An operation; `ttl` is `None` for never, `Some(None)` for keep, else milliseconds from now.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of `Op`")]
pub enum StepOp {
    /// See [`Op::Get`].
    Get { key: Vec<u8> },
    /// See [`Op::Set`].
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: Option<Option<u64>>,
        cond: Cond,
        previous: bool,
    },
    /// See [`Op::Del`].
    Del {
        key: Vec<u8>,
        cond: Cond,
        previous: bool,
    },
    /// See [`Op::Incr`].
    Incr {
        key: Vec<u8>,
        delta: i64,
        ttl: Option<Option<u64>>,
        cond: Cond,
    },
    /// See [`Op::Touch`].
    Touch {
        key: Vec<u8>,
        ttl: Option<Option<u64>>,
        cond: Cond,
    },
}

/// Tells `engine` and a model the same, and compares what they answer.
///
/// The engine must be fresh and used by nobody else.
///
/// # Panics
///
/// When they differ.
#[track_caller]
pub fn check_against_model(engine: &dyn Engine, steps: &[Step]) {
    let mut driver = Driver::new(engine);
    let mut model = Model {
        map: BTreeMap::new(),
        now: driver.now.unix_ms(),
        version: 0,
    };
    // The engine learns the time from its first call.
    assert_eq!(driver.get(NEVER_SET), None);
    for step in steps {
        check_step(&mut driver, &mut model, step);
        let stats = engine.stats();
        assert!(
            stats.keys >= model.map.len() as u64,
            "no live entry is missing"
        );
    }
    let all = driver.scan(&OwnedRange::default(), 16);
    assert_eq!(all, model.range(b"", false));
    for key in model.map.keys() {
        assert!(driver.get(key).is_some());
    }
}

#[track_caller]
fn check_step(driver: &mut Driver<'_>, model: &mut Model, step: &Step) {
    match step {
        Step::Run(ops) => {
            let ops: Vec<_> = ops.iter().map(|op| model.resolve(op)).collect();
            for (op, outcome) in ops.iter().zip(driver.run(&ops)) {
                model.apply(op, &outcome);
            }
        }
        Step::Atomic(ops) => {
            let ops: Vec<_> = ops.iter().map(|op| model.resolve(op)).collect();
            match driver.atomic(&ops) {
                BatchOutcome::Done(outcomes) => {
                    assert_eq!(outcomes.len(), ops.len());
                    for (op, outcome) in ops.iter().zip(&outcomes) {
                        model.apply(op, outcome);
                    }
                }
                refused => {
                    let BatchOutcome::Refused { index, outcome } = refused else {
                        return assert_eq!(refused, BatchOutcome::Done(Vec::new()));
                    };
                    let mut draft = model.clone();
                    for op in ops.iter().take(index) {
                        let expected = draft.expected(op, draft.version + 1);
                        assert!(!is_refusal(&expected), "{op:?} was no reason to refuse");
                        draft.apply(op, &expected);
                    }
                    let expected = ops
                        .get(index)
                        .map(|op| draft.expected(op, draft.version + 1));
                    let kind = expected.as_ref().map(std::mem::discriminant);
                    assert_eq!(kind, Some(std::mem::discriminant(&outcome)), "{expected:?}");
                }
            }
        }
        Step::Scan {
            prefix,
            reverse,
            items,
        } => {
            let range = OwnedRange {
                prefix: Bytes::from(prefix.clone()),
                after: None,
                reverse: *reverse,
            };
            assert_eq!(driver.scan(&range, *items), model.range(prefix, *reverse));
        }
        Step::Sweep { budget } => assert!(driver.engine.sweep(driver.now, *budget) <= *budget),
        Step::Wait { ms } => {
            driver.now = driver.now.plus_ms(*ms);
            model.now = model.now.max(driver.now.unix_ms());
            assert_eq!(driver.get(NEVER_SET), None);
            model.forget_expired();
        }
        Step::ClockBack { ms } => {
            let back = driver.now.unix_ms().saturating_sub(*ms);
            driver.now = crate::Now::from_unix_ms(back);
        }
    }
}

/// A key that no step names: asking for it tells the engine the time.
const NEVER_SET: &[u8] = b"\0 never set";

#[derive(Clone)]
struct Model {
    map: BTreeMap<Vec<u8>, OwnedEntry>,
    /// The latest time told.
    now: u64,
    /// The latest version seen.
    version: u64,
}

impl Model {
    fn range(&self, prefix: &[u8], reverse: bool) -> Vec<(Bytes, OwnedEntry)> {
        let mut all: Vec<_> = self
            .map
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (Bytes::from(key.clone()), entry.clone()))
            .collect();
        if reverse {
            all.reverse();
        }
        all
    }

    fn forget_expired(&mut self) {
        let now = self.now;
        self.map
            .retain(|_, entry| entry.expires_at.is_none_or(|at| at.get() > now));
    }

    fn resolve<'a>(&self, op: &'a StepOp) -> Op<'a> {
        let expiry = |ttl: &Option<Option<u64>>| match ttl {
            None => Expiry::Never,
            Some(None) => Expiry::Keep,
            Some(Some(ms)) => Expiry::At(self.now.saturating_add(*ms)),
        };
        let condition = |key: &Vec<u8>, cond: &Cond| match cond {
            Cond::Always => Condition::Always,
            Cond::Absent => Condition::Absent,
            Cond::Present => Condition::Present,
            Cond::Current => Condition::Version(self.map.get(key).map_or(0, |entry| entry.version)),
            Cond::Stale => Condition::Version(u64::MAX - 1),
        };
        match op {
            StepOp::Get { key } => Op::Get { key },
            StepOp::Set {
                key,
                value,
                ttl,
                cond,
                previous,
            } => Op::Set {
                key,
                value: Value::Inline(value),
                content_type: u8::try_from(value.len() % 256).unwrap_or(0),
                expiry: expiry(ttl),
                condition: condition(key, cond),
                previous: *previous,
            },
            StepOp::Del {
                key,
                cond,
                previous,
            } => Op::Del {
                key,
                condition: condition(key, cond),
                previous: *previous,
            },
            StepOp::Incr {
                key,
                delta,
                ttl,
                cond,
            } => Op::Incr {
                key,
                delta: *delta,
                expiry: expiry(ttl),
                condition: condition(key, cond),
            },
            StepOp::Touch { key, ttl, cond } => Op::Touch {
                key,
                expiry: expiry(ttl),
                condition: condition(key, cond),
            },
        }
    }

    /// Checks `outcome` and does to the map what it says.
    #[track_caller]
    fn apply(&mut self, op: &Op<'_>, outcome: &OwnedOutcome) {
        let given = match outcome {
            OwnedOutcome::Written { version, .. } | OwnedOutcome::Counted { version, .. } => {
                assert!(*version > self.version, "versions grow");
                *version
            }
            _ => 0,
        };
        assert_eq!(*outcome, self.expected(op, given), "{op:?}");
        self.version = self.version.max(given);
        match (*op, outcome) {
            (
                Op::Set {
                    key,
                    value,
                    content_type,
                    ..
                },
                OwnedOutcome::Written { expires_at, .. },
            ) => {
                self.put(key, value.to_bytes(), given, *expires_at, content_type);
            }
            (Op::Touch { key, .. }, OwnedOutcome::Written { expires_at, .. }) => {
                if let Some(entry) = self.map.get(key).cloned() {
                    self.put(key, entry.value, given, *expires_at, entry.content_type);
                }
            }
            (
                Op::Incr { key, .. },
                OwnedOutcome::Counted {
                    value, expires_at, ..
                },
            ) => {
                let content_type = self.map.get(key).map_or(0, |entry| entry.content_type);
                self.put(
                    key,
                    value.to_string().into(),
                    given,
                    *expires_at,
                    content_type,
                );
            }
            (Op::Del { key, .. }, OwnedOutcome::Deleted { .. }) => {
                self.map.remove(key);
            }
            _ => {}
        }
        self.forget_expired();
    }

    fn put(
        &mut self,
        key: &[u8],
        value: Bytes,
        version: u64,
        expires_at: Option<NonZeroU64>,
        content_type: u8,
    ) {
        self.map.insert(
            key.to_vec(),
            OwnedEntry {
                value,
                version,
                expires_at,
                content_type,
            },
        );
    }

    /// What the engine should answer, if a write is given `version`.
    fn expected(&self, op: &Op<'_>, version: u64) -> OwnedOutcome {
        let current = self.map.get(op.key());
        let current_version = current.map_or(0, |entry| entry.version);
        let (condition, expiry) = match *op {
            Op::Get { .. } => (Condition::Always, Expiry::Keep),
            Op::Del { condition, .. } => (condition, Expiry::Keep),
            Op::Set {
                condition, expiry, ..
            }
            | Op::Incr {
                condition, expiry, ..
            }
            | Op::Touch {
                condition, expiry, ..
            } => (condition, expiry),
        };
        if !condition.holds(current_version) {
            return OwnedOutcome::Conflict {
                version: current_version,
            };
        }
        let expires_at = match expiry {
            Expiry::Never => None,
            Expiry::At(ms) => NonZeroU64::new(ms.max(1)),
            Expiry::Keep => current.and_then(|entry| entry.expires_at),
        };
        match (*op, current) {
            (Op::Get { .. }, Some(entry)) => OwnedOutcome::Found(entry.clone()),
            (Op::Del { previous, .. }, Some(entry)) => OwnedOutcome::Deleted {
                previous: previous.then(|| entry.clone()),
            },
            (Op::Get { .. } | Op::Del { .. } | Op::Touch { .. }, None) => OwnedOutcome::Missing,
            (Op::Touch { .. }, Some(_)) => OwnedOutcome::Written {
                version,
                expires_at,
                previous: None,
            },
            (Op::Set { previous, .. }, _) => OwnedOutcome::Written {
                version,
                expires_at,
                previous: current.filter(|_| previous).cloned(),
            },
            (Op::Incr { delta, .. }, _) => {
                let text = current.map_or(b"0".as_slice(), |entry| &entry.value);
                let number = std::str::from_utf8(text)
                    .ok()
                    // The standard library takes a plus sign; a counter's text has none [P-12.7].
                    .filter(|text| !text.starts_with('+'))
                    .and_then(|text| text.parse::<i64>().ok());
                match number.and_then(|number| number.checked_add(delta)) {
                    Some(value) => OwnedOutcome::Counted {
                        value,
                        version,
                        expires_at,
                    },
                    None => OwnedOutcome::WrongType,
                }
            }
        }
    }
}

fn is_refusal(outcome: &OwnedOutcome) -> bool {
    matches!(
        outcome,
        OwnedOutcome::Conflict { .. } | OwnedOutcome::WrongType | OwnedOutcome::Failed(_)
    )
}
