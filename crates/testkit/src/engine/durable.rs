//! An engine whose writes become durable when the test says so.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kv_store::{
    Atomic, Batch, BatchOutcome, Completion, Durable, Engine, Entry, Now, Op, Outcome, OwnedOp,
    OwnedOutcome, OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, ScannedPage, Sink,
    Stats, StoreError, Wake,
};
use parking_lot::Mutex;

/// Around an engine that works: each write takes a position, and what depends on it may not be shown
/// before [`DurableEngine::advance`] has passed it. What is submitted is answered then as well.
pub struct DurableEngine {
    inner: Arc<dyn Engine>,
    state: Mutex<State>,
    wakes: Mutex<Vec<Wake>>,
    /// It says that everything is durable at once.
    lies: bool,
}

#[derive(Default)]
struct State {
    /// Positions given out.
    staged: u64,
    durable: u64,
    failed: bool,
    /// The last write of each key that is not durable.
    pending: HashMap<Vec<u8>, u64>,
    /// What was submitted and waits, with what it depends on.
    submitted: Vec<(u64, Finish)>,
}

/// Answers what was submitted: whether it became durable.
type Finish = Box<dyn FnOnce(bool) + Send>;

impl State {
    fn is_pending(&self, position: u64) -> bool {
        position > self.durable
    }

    /// What a look at a key depends on.
    fn position_of(&self, key: &[u8]) -> u64 {
        let last = self.pending.get(key).copied().unwrap_or_default();
        if self.is_pending(last) { last } else { 0 }
    }

    /// What an outcome depends on; a change takes the next position.
    fn note(&mut self, key: &[u8], outcome: &Outcome<'_>) -> u64 {
        let changed = matches!(
            outcome,
            Outcome::Written { .. } | Outcome::Deleted { .. } | Outcome::Counted { .. }
        );
        if changed {
            self.staged = self.staged.saturating_add(1);
            self.pending.insert(key.to_vec(), self.staged);
        }
        self.position_of(key)
    }
}

/// Replaces what the inner engine says about durability.
struct Staged<'s> {
    state: &'s Mutex<State>,
    ops: &'s [Op<'s>],
    sink: &'s mut dyn Sink,
    /// The largest position of an outcome.
    after: u64,
}

impl Sink for Staged<'_> {
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, _: Position) {
        let key = self.ops.get(index).map(Op::key).unwrap_or_default();
        let after = self.state.lock().note(key, &outcome);
        self.after = self.after.max(after);
        self.sink
            .outcome(index, outcome, Position::of_version(after));
    }
}

impl DurableEngine {
    /// Nothing becomes durable until the test says so.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        Self::with(inner, false)
    }

    /// Says of everything at once that it is durable: what a test of durability must find.
    #[must_use]
    pub fn lying(inner: Arc<dyn Engine>) -> Arc<Self> {
        Self::with(inner, true)
    }

    fn with(inner: Arc<dyn Engine>, lies: bool) -> Arc<Self> {
        Arc::new(Self {
            inner,
            state: Mutex::default(),
            wakes: Mutex::default(),
            lies,
        })
    }

    /// The position of the last write.
    #[must_use]
    pub fn staged(&self) -> Position {
        Position::of_version(self.state.lock().staged)
    }

    /// How far it is durable in truth, also when it lies.
    #[must_use]
    pub fn durable_in_truth(&self) -> Position {
        Position::of_version(self.state.lock().durable)
    }

    /// How much of what was submitted waits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().submitted.len()
    }

    /// Everything written so far becomes durable.
    pub fn advance(&self) {
        self.advance_to(Position::END);
    }

    /// What was written up to `position` becomes durable.
    pub fn advance_to(&self, position: Position) {
        self.settle(|state| {
            let through = position.get().min(state.staged);
            if !state.failed {
                state.durable = state.durable.max(through);
            }
        });
    }

    /// The disk fails: what is not durable never will be, and nothing is written any more.
    pub fn fail(&self) {
        self.settle(|state| state.failed = true);
    }

    /// Changes the state and tells everybody whom it concerns.
    fn settle(&self, change: impl FnOnce(&mut State)) {
        let (over, durable) = {
            let mut state = self.state.lock();
            change(&mut state);
            let durable = state.durable;
            state.pending.retain(|_, position| *position > durable);
            let failed = state.failed;
            let all = std::mem::take(&mut state.submitted);
            let (over, rest): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|(position, _)| failed || *position <= durable);
            state.submitted = rest;
            (over, durable)
        };
        for (position, finish) in over {
            finish(position <= durable);
        }
        let wakes = self.wakes.lock().clone();
        for wake in wakes {
            wake();
        }
    }

    /// Answers through `finish` once `position` is durable.
    fn when_durable(&self, position: u64, finish: Finish) {
        let mut state = self.state.lock();
        let lost = state.failed && state.is_pending(position);
        if !self.lies && !lost && state.is_pending(position) {
            state.submitted.push((position, finish));
            return;
        }
        drop(state);
        finish(!lost);
    }

    /// Writes are no longer taken.
    fn refuses(&self, ops: &[Op<'_>]) -> bool {
        self.state.lock().failed && ops.iter().any(Op::is_write)
    }
}

/// What an atomic batch that was not applied is answered with.
fn refusal(atomic: Atomic) -> Option<BatchOutcome> {
    let (index, outcome) = match atomic {
        Atomic::Applied => return None,
        Atomic::Conflict { index, version } => (index, OwnedOutcome::Conflict { version }),
        Atomic::WrongType { index } => (index, OwnedOutcome::WrongType),
        Atomic::Failed { index, error } => (index, OwnedOutcome::Failed(error)),
        Atomic::NotNow => return Some(BatchOutcome::Failed(StoreError::Unavailable)),
    };
    Some(BatchOutcome::Refused { index, outcome })
}

impl Engine for DurableEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let taken = if self.refuses(ops) {
            ops.iter().position(Op::is_write).unwrap_or_default()
        } else {
            ops.len()
        };
        let ops = ops.get(..taken).unwrap_or_default();
        let mut staged = Staged {
            state: &self.state,
            ops,
            sink,
            after: 0,
        };
        self.inner.run(now, ops, &mut staged)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        if self.refuses(ops) {
            return (Atomic::NotNow, Position::START);
        }
        let mut staged = Staged {
            state: &self.state,
            ops,
            sink,
            after: 0,
        };
        let (atomic, _) = self.inner.run_atomic(now, ops, &mut staged);
        let after = match atomic {
            Atomic::Applied => staged.after,
            // A refusal shows what all of its keys hold.
            _ => {
                let state = self.state.lock();
                let positions = ops.iter().map(|op| state.position_of(op.key()));
                positions.max().unwrap_or_default()
            }
        };
        (atomic, Position::of_version(after))
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let ops: Vec<_> = batch.ops.iter().map(OwnedOp::as_op).collect();
        if self.refuses(&ops) {
            return done(BatchOutcome::Failed(StoreError::Unavailable));
        }
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut collect =
            |_: usize, outcome: Outcome<'_>, _: Position| outcomes.push(outcome.to_owned_outcome());
        let (refused, after) = if batch.atomic {
            let (atomic, after) = self.run_atomic(now, &ops, &mut collect);
            (refusal(atomic), after.get())
        } else {
            let mut staged = Staged {
                state: &self.state,
                ops: &ops,
                sink: &mut collect,
                after: 0,
            };
            self.inner.run(now, &ops, &mut staged);
            (None, staged.after)
        };
        let outcome = refused.unwrap_or(BatchOutcome::Done(outcomes));
        let finish = move |durable| {
            done(if durable {
                outcome
            } else {
                BatchOutcome::Failed(StoreError::OutcomeUnknown)
            });
        };
        self.when_durable(after, Box::new(finish));
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        {
            let state = self.state.lock();
            let below = |key: &&Vec<u8>| key.starts_with(range.prefix);
            if !self.lies && state.pending.keys().any(|key| below(&key)) {
                return Page::NotNow;
            }
        }
        self.inner.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        let mut items = Vec::new();
        let end = self
            .inner
            .scan(now, range.as_range(), limits, &mut |key, entry| {
                items.push((Bytes::copy_from_slice(key), entry.to_owned_entry()));
            });
        let staged = self.state.lock().staged;
        let finish = move |durable| {
            if durable {
                return done(ScannedPage { items, end });
            }
            done(ScannedPage {
                items: Vec::new(),
                end: Page::Failed(StoreError::Unavailable),
            });
        };
        self.when_durable(staged, Box::new(finish));
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.inner.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn durable(&self) -> Durable {
        let state = self.state.lock();
        let through = if self.lies {
            Position::END
        } else {
            Position::of_version(state.durable)
        };
        Durable {
            through,
            failed: state.failed,
        }
    }

    fn on_durable(&self, wake: Wake) {
        self.wakes.lock().push(wake);
    }
}
