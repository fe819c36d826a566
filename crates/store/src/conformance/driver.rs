//! Asks an engine and waits for the answer, whichever way it comes.

use super::waiter::Waiter;
use crate::{
    Atomic, Batch, BatchOutcome, Condition, Engine, Expiry, Now, Op, OperationId, Outcome,
    OwnedEntry, OwnedOp, OwnedOutcome, OwnedRange, Page, PageLimits, Position, StoreError, Value,
};
use bytes::Bytes;
use std::sync::mpsc;

/// An engine and the time it is told. What it answers is passed on when it may be shown.
pub struct Driver<'e> {
    /// The engine under test.
    pub engine: &'e dyn Engine,
    /// What it is told.
    pub now: Now,
    durable: Waiter,
}

impl<'e> Driver<'e> {
    /// Some time in the year 2001.
    #[must_use]
    pub const fn new(engine: &'e dyn Engine) -> Self {
        Self {
            engine,
            now: Now::from_unix_ms(1_000_000_000_000),
            durable: Waiter::new(),
        }
    }

    /// The time `ms` from now.
    #[must_use]
    pub const fn after(&self, ms: u64) -> u64 {
        self.now.plus_ms(ms).unix_ms()
    }

    /// The outcomes of `ops`, executed in order, at once or through `submit`, and durable.
    ///
    /// # Panics
    ///
    /// When the engine breaks its contract.
    #[must_use]
    #[track_caller]
    pub fn run(&self, ops: &[Op<'_>]) -> Vec<OwnedOutcome> {
        let mut outcomes = Vec::new();
        let mut latest = Position::START;
        let executed = self.engine.run(
            self.now,
            ops,
            &mut |index: usize, outcome: Outcome<'_>, after: Position| {
                assert_eq!(index, outcomes.len(), "outcomes come in order, each once");
                outcomes.push(outcome.to_owned_outcome());
                latest = latest.max(after);
            },
        );
        self.durable.wait(self.engine, latest);
        assert_eq!(
            executed,
            outcomes.len(),
            "each executed operation has an outcome"
        );
        let rest = ops.get(executed..).unwrap_or_default();
        if !rest.is_empty() {
            match self.submit(rest, false) {
                BatchOutcome::Done(more) => outcomes.extend(more),
                other => assert_eq!(other, BatchOutcome::Done(Vec::new())),
            }
        }
        assert_eq!(outcomes.len(), ops.len(), "each operation has an outcome");
        outcomes
    }

    /// The outcome of one operation.
    #[must_use]
    #[track_caller]
    pub fn one(&self, op: Op<'_>) -> OwnedOutcome {
        self.run(&[op])
            .pop()
            .unwrap_or(OwnedOutcome::Failed(StoreError::Unavailable))
    }

    /// What became of an atomic batch, executed at once or through `submit`, and durable.
    ///
    /// # Panics
    ///
    /// When the engine breaks its contract.
    #[must_use]
    #[track_caller]
    pub fn atomic(&self, ops: &[Op<'_>]) -> BatchOutcome {
        let mut outcomes = Vec::new();
        let mut latest = Position::START;
        let (atomic, after) = self.engine.run_atomic(
            self.now,
            ops,
            &mut |index: usize, outcome: Outcome<'_>, after: Position| {
                assert_eq!(index, outcomes.len(), "outcomes come in order, each once");
                outcomes.push(outcome.to_owned_outcome());
                latest = latest.max(after);
            },
        );
        assert!(latest <= after, "the whole depends on each of its parts");
        self.durable.wait(self.engine, after);
        assert!(
            atomic == Atomic::Applied || outcomes.is_empty(),
            "no outcome unless applied"
        );
        let (index, outcome) = match atomic {
            Atomic::Applied => return BatchOutcome::Done(outcomes),
            Atomic::NotNow => return self.submit(ops, true),
            Atomic::Conflict { index, version } => (index, OwnedOutcome::Conflict { version }),
            Atomic::WrongType { index } => (index, OwnedOutcome::WrongType),
            Atomic::Failed { index, error } => (index, OwnedOutcome::Failed(error)),
        };
        BatchOutcome::Refused { index, outcome }
    }

    /// What became of a batch given to `submit`.
    #[must_use]
    #[track_caller]
    pub fn submit(&self, ops: &[Op<'_>], atomic: bool) -> BatchOutcome {
        self.submit_as(ops, atomic, None)
    }

    /// What became of a batch under a name given to `submit`.
    #[must_use]
    #[track_caller]
    pub fn submit_named(&self, ops: &[Op<'_>], atomic: bool, id: OperationId) -> BatchOutcome {
        self.submit_as(ops, atomic, Some(id))
    }

    #[track_caller]
    fn submit_as(
        &self,
        ops: &[Op<'_>],
        atomic: bool,
        operation: Option<OperationId>,
    ) -> BatchOutcome {
        let (done, outcome) = mpsc::channel();
        let ops: Vec<OwnedOp> = ops.iter().map(Op::to_owned_op).collect();
        let complete = move |outcome| drop(done.send(outcome));
        self.engine.submit(
            self.now,
            Batch {
                ops,
                atomic,
                operation,
            },
            Box::new(complete),
        );
        // Ends without an outcome when the completion is dropped uncalled.
        outcome
            .recv()
            .unwrap_or(BatchOutcome::Failed(StoreError::Unavailable))
    }

    /// All entries of a range, in pages of `items`.
    ///
    /// # Panics
    ///
    /// When the engine breaks its contract.
    #[must_use]
    #[track_caller]
    pub fn scan(&self, range: &OwnedRange, items: usize) -> Vec<(Bytes, OwnedEntry)> {
        let mut all = Vec::new();
        let mut range = range.clone();
        let limits = PageLimits {
            items,
            bytes: 1 << 20,
        };
        loop {
            let (page, end) = self.page(&range, limits);
            assert!(page.len() <= items.max(1), "a page keeps its limit");
            if let Some((key, _)) = page.last() {
                range.after = Some(Bytes::clone(key));
            }
            all.extend(page);
            match end {
                Page::Done => return all,
                other => assert_eq!(other, Page::More, "a scan ends with Done"),
            }
        }
    }

    /// One page and how it ended.
    ///
    /// # Panics
    ///
    /// When the engine breaks its contract.
    #[must_use]
    #[track_caller]
    pub fn page(&self, range: &OwnedRange, limits: PageLimits) -> (Vec<(Bytes, OwnedEntry)>, Page) {
        let mut items = Vec::new();
        let end = self
            .engine
            .scan(self.now, range.as_range(), limits, &mut |key, entry| {
                items.push((Bytes::copy_from_slice(key), entry.to_owned_entry()));
            });
        if end != Page::NotNow {
            return (items, end);
        }
        assert!(
            items.is_empty(),
            "nothing is shown when the answer is not now"
        );
        let (done, page) = mpsc::channel();
        let complete = move |page| drop(done.send(page));
        self.engine
            .submit_scan(self.now, range.clone(), limits, Box::new(complete));
        page.recv().map_or(
            (Vec::new(), Page::Failed(StoreError::Unavailable)),
            |page| (page.items, page.end),
        )
    }

    /// The entry of `key`.
    ///
    /// # Panics
    ///
    /// When the engine breaks its contract.
    #[must_use]
    #[track_caller]
    pub fn get(&self, key: &[u8]) -> Option<OwnedEntry> {
        match self.one(Op::Get { key }) {
            OwnedOutcome::Found(entry) => Some(entry),
            other => {
                assert_eq!(other, OwnedOutcome::Missing);
                None
            }
        }
    }

    /// Writes unconditionally; returns the version.
    #[track_caller]
    pub fn set(&self, key: &[u8], value: &[u8]) -> u64 {
        version(&self.one(set(key, value)))
    }
}

/// An unconditional Set without expiry.
#[must_use]
pub(super) const fn set<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    set_until(key, value, Expiry::Never)
}

/// An unconditional Set.
#[must_use]
pub(super) const fn set_until<'a>(key: &'a [u8], value: &'a [u8], expiry: Expiry) -> Op<'a> {
    let condition = Condition::Always;
    let value = Value::Inline(value);
    Op::Set {
        key,
        value,
        content_type: 0,
        expiry,
        condition,
        previous: false,
    }
}

/// A Set under a condition, which asks for the previous entry.
#[must_use]
pub(super) const fn set_if<'a>(key: &'a [u8], value: &'a [u8], condition: Condition) -> Op<'a> {
    let value = Value::Inline(value);
    Op::Set {
        key,
        value,
        content_type: 5,
        expiry: Expiry::Keep,
        condition,
        previous: true,
    }
}

/// A Touch.
#[must_use]
pub(super) const fn touch(key: &[u8], expiry: Expiry, condition: Condition) -> Op<'_> {
    Op::Touch {
        key,
        expiry,
        condition,
    }
}

/// A Del under a condition, which asks for the previous entry.
#[must_use]
pub(super) const fn del_if(key: &[u8], condition: Condition) -> Op<'_> {
    Op::Del {
        key,
        condition,
        previous: true,
    }
}

/// An unconditional Del.
#[must_use]
pub(super) const fn del(key: &[u8]) -> Op<'_> {
    Op::Del {
        key,
        condition: Condition::Always,
        previous: false,
    }
}

/// An unconditional Incr.
#[must_use]
pub(super) const fn incr(key: &[u8], delta: i64) -> Op<'_> {
    Op::Incr {
        key,
        delta,
        expiry: Expiry::Keep,
        condition: Condition::Always,
    }
}

/// The version that a write was answered with.
#[track_caller]
pub(super) fn version(outcome: &OwnedOutcome) -> u64 {
    let version = match outcome {
        OwnedOutcome::Written { version, .. } | OwnedOutcome::Counted { version, .. } => *version,
        _ => 0,
    };
    assert_ne!(
        version, 0,
        "a write is applied and has a version, not {outcome:?}"
    );
    version
}
