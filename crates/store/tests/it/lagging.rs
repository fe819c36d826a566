//! An engine whose answers become durable later, on another thread: whoever drives it must wait.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use kv_store::conformance::{Driver, cases};
use kv_store::{
    Atomic, Batch, Completion, Durable, Engine, Entry, MemoryConfig, MemoryEngine, Now, Op,
    Outcome, OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats, Wake,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// How far it is durable, and who wants to know.
#[derive(Default)]
struct Progress {
    through: AtomicU64,
    wakes: Mutex<Vec<Wake>>,
}

struct Lagging {
    engine: MemoryEngine,
    answered: AtomicU64,
    progress: Arc<Progress>,
    /// Has everything up to a position made durable.
    flush: mpsc::Sender<u64>,
    /// Up to where that was asked for.
    asked: AtomicU64,
    /// How often it was asked before it was durable.
    behind: AtomicU64,
}

impl Lagging {
    fn new() -> Self {
        let (flush, wanted) = mpsc::channel();
        let progress = Arc::new(Progress::default());
        let flusher = Arc::clone(&progress);
        // Ends with the engine, which has the other end of the channel.
        std::thread::spawn(move || {
            for position in wanted {
                flusher.through.fetch_max(position, Ordering::SeqCst);
                let wakes = flusher.wakes.lock().unwrap().clone();
                wakes.iter().for_each(|wake| wake());
            }
        });
        Self {
            engine: MemoryEngine::new(MemoryConfig::default()),
            answered: AtomicU64::new(0),
            progress,
            flush,
            asked: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Position {
        Position::of_version(self.answered.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

impl Engine for Lagging {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let mut relay = |index: usize, outcome: Outcome<'_>, _: Position| {
            sink.outcome(index, outcome, self.next());
        };
        self.engine.run(now, ops, &mut relay)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        let mut relay = |index: usize, outcome: Outcome<'_>, _: Position| {
            sink.outcome(index, outcome, self.next());
        };
        let (atomic, _) = self.engine.run_atomic(now, ops, &mut relay);
        (atomic, self.next())
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        self.engine.submit(now, batch, done);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.engine.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.engine.submit_scan(now, range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.engine.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Nothing becomes durable before somebody has seen that it is not.
    fn durable(&self) -> Durable {
        let through = self.progress.through.load(Ordering::SeqCst);
        let answered = self.answered.load(Ordering::SeqCst);
        if through < answered {
            self.behind.fetch_add(1, Ordering::SeqCst);
            if self.asked.fetch_max(answered, Ordering::SeqCst) < answered {
                self.flush.send(answered).unwrap();
            }
        }
        Durable {
            through: Position::of_version(through),
            failed: false,
        }
    }

    fn on_durable(&self, wake: Wake) {
        self.progress.wakes.lock().unwrap().push(wake);
    }
}

#[test]
fn the_driver_waits_until_an_answer_is_durable() {
    let engine = Lagging::new();
    let driver = Driver::new(&engine);
    for turn in 1..=100 {
        assert_eq!(driver.get(b"key"), None);
        assert!(engine.behind.load(Ordering::SeqCst) >= turn);
        assert_eq!(engine.progress.through.load(Ordering::SeqCst), turn);
    }
    assert_eq!(engine.progress.wakes.lock().unwrap().len(), 1);
}

#[test]
fn an_engine_that_is_durable_later_conforms() {
    for case in cases() {
        println!("{}", case.name);
        (case.check)(Arc::new(Lagging::new()));
    }
}
