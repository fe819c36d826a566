//! An engine that panics for some keys.

use std::sync::Arc;

use kv_store::{
    Atomic, Batch, Completion, Durable, Engine, Entry, Now, Op, OwnedRange, Page, PageLimits,
    Position, ScanDone, ScanRange, Sink, Stats, Wake,
};

use super::{first_with, key_of};

/// Panics at keys that begin with [`PanicEngine::NOW`] when they are to be answered at once, and at
/// those that begin with [`PanicEngine::LATER`] when they come the slow way. A scan below such a
/// prefix panics after the items it found.
pub struct PanicEngine(Arc<dyn Engine>);

impl PanicEngine {
    /// Keys that panic in `run`, `run_atomic` and `scan`.
    pub const NOW: &'static [u8] = b"panic-now";
    /// Keys that panic in `submit` and `submit_scan`.
    pub const LATER: &'static [u8] = b"panic-later";

    /// Around an engine that works.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self(inner))
    }
}

/// As a bug in an engine would, but for the words.
#[expect(clippy::panic, reason = "this is what the engine is for")]
fn fail() -> ! {
    panic!("a planted panic")
}

impl Engine for PanicEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let ends = [Self::NOW, Self::LATER].map(|prefix| first_with(ops, prefix));
        let at = ends.into_iter().flatten().min().unwrap_or(ops.len());
        let done = self.0.run(now, ops.get(..at).unwrap_or_default(), sink);
        if done == at
            && ops
                .get(at)
                .is_some_and(|op| op.key().starts_with(Self::NOW))
        {
            fail();
        }
        done
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        if first_with(ops, Self::NOW).is_some() {
            fail();
        }
        if first_with(ops, Self::LATER).is_some() {
            return (Atomic::NotNow, Position::START);
        }
        self.0.run_atomic(now, ops, sink)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let late = |op: &_| key_of(op).starts_with(Self::LATER);
        if batch.ops.iter().any(late) {
            fail();
        }
        self.0.submit(now, batch, done);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        if range.prefix.starts_with(Self::LATER) {
            return Page::NotNow;
        }
        let page = self.0.scan(now, range, limits, visit);
        if range.prefix.starts_with(Self::NOW) {
            fail();
        }
        page
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        if range.prefix.starts_with(Self::LATER) {
            fail();
        }
        self.0.submit_scan(now, range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.0.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn durable(&self) -> Durable {
        self.0.durable()
    }

    fn flush(&self) {
        self.0.flush();
    }

    fn on_durable(&self, wake: Wake) {
        self.0.on_durable(wake);
    }
}
