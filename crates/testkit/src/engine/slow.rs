//! An engine that does not answer for some keys until the test lets it.

use std::collections::VecDeque;
use std::sync::Arc;

use kv_store::{
    Atomic, Batch, Completion, Durable, Engine, Entry, Now, Op, OwnedRange, Page, PageLimits,
    Position, ScanDone, ScanRange, Sink, Stats, Wake,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{first_with, key_of};

/// Keys with a prefix are never answered at once: they come to [`Engine::submit`] and wait there at
/// the [`Gate`], in the order in which they came. A scan below the prefix waits too.
pub struct SlowEngine {
    inner: Arc<dyn Engine>,
    prefix: Box<[u8]>,
    gate: Arc<Gate>,
}

/// Where the work on slow keys waits.
pub struct Gate {
    state: Mutex<State>,
    held: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    open: bool,
    jobs: VecDeque<Job>,
}

struct Job {
    key: Vec<u8>,
    run: Box<dyn FnOnce() + Send>,
}

impl SlowEngine {
    /// Slow for keys that begin with `prefix`; the gate is closed.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>, prefix: &[u8]) -> (Arc<Self>, Arc<Gate>) {
        let gate = Arc::new(Gate {
            state: Mutex::default(),
            held: watch::Sender::new(0),
        });
        let engine = Self {
            inner,
            prefix: prefix.into(),
            gate: Arc::clone(&gate),
        };
        (Arc::new(engine), gate)
    }
}

impl Gate {
    fn hold(&self, key: &[u8], run: Box<dyn FnOnce() + Send>) {
        let mut state = self.state.lock();
        if state.open {
            drop(state);
            return run();
        }
        let key = key.to_vec();
        state.jobs.push_back(Job { key, run });
        self.held.send_replace(state.jobs.len());
    }

    fn take(&self, wanted: impl FnOnce(&VecDeque<Job>) -> Option<usize>) -> Option<Job> {
        let mut state = self.state.lock();
        let at = wanted(&state.jobs)?;
        let job = state.jobs.remove(at);
        self.held.send_replace(state.jobs.len());
        job
    }

    /// How much work waits.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// Waits until at least so much work waits.
    pub async fn holds(&self, count: usize) {
        let mut held = self.held.subscribe();
        // The sender lives in `self`, so the wait cannot end in an error.
        let _ = held.wait_for(|&held| held >= count).await;
    }

    /// Lets the oldest work go on, here and now; how much of `count` there was.
    pub fn release(&self, count: usize) -> usize {
        let mut released = 0_usize;
        while released < count
            && let Some(job) = self.take(|jobs| (!jobs.is_empty()).then_some(0))
        {
            (job.run)();
            released = released.saturating_add(1);
        }
        released
    }

    /// Lets the oldest work on this key go on; whether there was any.
    pub fn release_key(&self, key: &[u8]) -> bool {
        let job = self.take(|jobs| jobs.iter().position(|job| job.key == key));
        job.map(|job| (job.run)()).is_some()
    }

    /// Drops the oldest work without an answer, as an engine with a bug would; whether there was any.
    pub fn lose(&self) -> bool {
        self.take(|jobs| (!jobs.is_empty()).then_some(0)).is_some()
    }

    /// Lets everything go on, now and from now on.
    pub fn open(&self) {
        self.state.lock().open = true;
        self.release(usize::MAX);
    }
}

impl Engine for SlowEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let at = first_with(ops, &self.prefix).unwrap_or(ops.len());
        self.inner.run(now, ops.get(..at).unwrap_or_default(), sink)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        match first_with(ops, &self.prefix) {
            Some(_) => (Atomic::NotNow, Position::START),
            None => self.inner.run_atomic(now, ops, sink),
        }
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let slow = batch
            .ops
            .iter()
            .map(key_of)
            .find(|key| key.starts_with(&self.prefix))
            .map(<[u8]>::to_vec);
        let inner = Arc::clone(&self.inner);
        match slow {
            None => inner.submit(now, batch, done),
            Some(key) => self
                .gate
                .hold(&key, Box::new(move || inner.submit(now, batch, done))),
        }
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        if range.prefix.starts_with(&self.prefix) {
            return Page::NotNow;
        }
        self.inner.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        let inner = Arc::clone(&self.inner);
        if !range.prefix.starts_with(&self.prefix) {
            return inner.submit_scan(now, range, limits, done);
        }
        let key = range.prefix.to_vec();
        let run = Box::new(move || inner.submit_scan(now, range, limits, done));
        self.gate.hold(&key, run);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.inner.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn durable(&self) -> Durable {
        self.inner.durable()
    }

    fn flush(&self) {
        self.inner.flush();
    }

    fn on_durable(&self, wake: Wake) {
        self.inner.on_durable(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_store::{BatchOutcome, MemoryConfig, MemoryEngine, Outcome, OwnedOp};

    fn get(key: &'static str) -> Batch {
        Batch {
            ops: vec![OwnedOp::Get { key: key.into() }],
            atomic: false,
            operation: None,
        }
    }

    #[tokio::test]
    async fn slow_keys_wait_in_order_and_others_do_not() {
        let inner = Arc::new(MemoryEngine::new(MemoryConfig::default()));
        let (engine, gate) = SlowEngine::new(inner, b"slow");
        let now = Now::from_unix_ms(1);
        let ops = ["a", "slow", "b"].map(|key| Op::Get {
            key: key.as_bytes(),
        });
        let mut seen = 0;
        let done = engine.run(now, &ops, &mut |_: usize, _: Outcome<'_>, _: Position| {
            seen += 1
        });
        assert_eq!((done, seen), (1, 1));
        assert_eq!(
            engine.run_atomic(now, &ops, &mut |_: usize, _: Outcome<'_>, _: Position| {}),
            (Atomic::NotNow, Position::START)
        );
        let order = Arc::new(Mutex::new(Vec::new()));
        for (id, key) in [(1, "slow-a"), (2, "fast"), (3, "slow-a"), (4, "slow-b")] {
            let order = Arc::clone(&order);
            let done = Box::new(move |_: BatchOutcome| order.lock().push(id));
            engine.submit(now, get(key), done);
        }
        assert_eq!(*order.lock(), [2]);
        gate.holds(3).await;
        assert!(gate.release_key(b"slow-b") && !gate.release_key(b"slow-b"));
        assert_eq!(gate.release(1), 1);
        assert_eq!(*order.lock(), [2, 4, 1]);
        gate.open();
        assert_eq!((gate.held(), order.lock().len()), (0, 4));
        engine.submit(now, get("slow"), Box::new(|_| {}));
        assert!(!gate.lose());
    }
}
