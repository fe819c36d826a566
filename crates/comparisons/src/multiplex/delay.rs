//! An engine that answers slow keys after a delay, and all others at once.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use kv_store::{
    Atomic, Batch, Completion, Condition, Engine, Entry, Expiry, MemoryConfig, MemoryEngine, Now,
    Op, Outcome, OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats, Value,
};

use super::{DELAY, KEYS, SLOW, key};

type Work = (Instant, Box<dyn FnOnce() + Send>);

/// Keeps everything in memory.
pub(super) struct DelayEngine {
    inner: Arc<MemoryEngine>,
    waiting: Mutex<Sender<Work>>,
}

impl DelayEngine {
    pub(super) fn new() -> Arc<Self> {
        let (waiting, work) = channel::<Work>();
        // It ends with the engine. The delay is always the same, so work is due in its order.
        thread::spawn(move || {
            for (due, run) in work {
                while let Some(left) = due.checked_duration_since(Instant::now()) {
                    thread::park_timeout(left);
                }
                run();
            }
        });
        let inner = MemoryEngine::new(MemoryConfig::default());
        for index in 0..KEYS {
            let set = Op::Set {
                key: &key(index),
                value: Value::Inline(&[b'v'; 64]),
                content_type: 0,
                expiry: Expiry::Never,
                condition: Condition::Always,
                previous: false,
            };
            let now = Now::from_unix_ms(1);
            inner.run(now, &[set], &mut |_: usize, _: Outcome<'_>, _: Position| {});
        }
        Arc::new(Self {
            inner: Arc::new(inner),
            waiting: Mutex::new(waiting),
        })
    }

    fn later(&self, run: Box<dyn FnOnce() + Send>) {
        let due = Instant::now() + DELAY;
        self.waiting.lock().unwrap().send((due, run)).unwrap();
    }
}

fn is_slow(op: &Op<'_>) -> bool {
    op.key().starts_with(SLOW)
}

impl Engine for DelayEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let at = ops.iter().position(is_slow).unwrap_or(ops.len());
        self.inner.run(now, &ops[..at], sink)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        if ops.iter().any(is_slow) {
            return Atomic::NotNow;
        }
        self.inner.run_atomic(now, ops, sink)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let inner = Arc::clone(&self.inner);
        if batch.ops.iter().any(|op| is_slow(&op.as_op())) {
            self.later(Box::new(move || inner.submit(now, batch, done)));
        } else {
            inner.submit(now, batch, done);
        }
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.inner.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.inner.submit_scan(now, range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.inner.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}
