//! The keyspace: what front doors ask about entries.
//!
//! A thin room: it joins an engine and a clock. A door decides with [`crate::check_access`] and its
//! own command table who may ask, before an operation gets here.

use std::sync::Arc;

use kv_store::{
    Atomic, Batch, Capture, Completion, DiskStats, Durable, Engine, Entry, Health, Now, Op,
    OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats, StoreError, Wake,
};

use crate::clock::{Clock, SystemClock};

/// What a server can do with entries. Share it in an `Arc`.
pub struct Service {
    engine: Arc<dyn Engine>,
    clock: Box<dyn Clock>,
}

impl Service {
    /// A service over an engine, by the system's clock.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self::with_clock(engine, Box::new(SystemClock::default()))
    }

    /// A service by another clock.
    #[must_use]
    pub fn with_clock(engine: Arc<dyn Engine>, clock: Box<dyn Clock>) -> Self {
        Self { engine, clock }
    }

    /// The time, to be read once per wake-up and passed to every call in it.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// As [`Engine::run`].
    #[inline]
    pub fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        self.engine.run(now, ops, sink)
    }

    /// As [`Engine::run_atomic`].
    pub fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        self.engine.run_atomic(now, ops, sink)
    }

    /// As [`Engine::submit`].
    pub fn submit(&self, now: Now, batch: Batch, done: Completion) {
        self.engine.submit(now, batch, done);
    }

    /// As [`Engine::scan`].
    pub fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.engine.scan(now, range, limits, visit)
    }

    /// As [`Engine::submit_scan`].
    pub fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.engine.submit_scan(now, range, limits, done);
    }

    /// One bounded step of removing expired entries; returns how many were removed.
    pub fn sweep(&self, now: Now, budget: usize) -> usize {
        self.engine.sweep(now, budget)
    }

    /// Figures about the store.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// As [`Engine::disk_stats`].
    #[must_use]
    pub fn disk_stats(&self) -> Option<DiskStats> {
        self.engine.disk_stats()
    }

    /// As [`Engine::durable`].
    #[inline]
    #[must_use]
    pub fn durable(&self) -> Durable {
        self.engine.durable()
    }

    /// As [`Engine::flush`].
    pub fn flush(&self) {
        self.engine.flush();
    }

    /// As [`Engine::on_durable`].
    pub fn on_durable(&self, wake: Wake) {
        self.engine.on_durable(wake);
    }

    /// As [`Engine::health`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.engine.health()
    }

    /// As [`Engine::troubles`].
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.engine.troubles()
    }

    /// As [`Engine::capture`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn capture(&self, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        self.engine.capture(now)
    }

    /// As [`Engine::close`].
    pub fn close(&self) {
        self.engine.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_store::{
        BatchOutcome, Condition, Expiry, MemoryConfig, MemoryEngine, Outcome, OwnedOp,
        OwnedOutcome, Value,
    };
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that a test moves.
    #[derive(Clone, Default)]
    struct HandClock(Arc<AtomicU64>);

    impl Clock for HandClock {
        fn now(&self) -> Now {
            Now::from_unix_ms(self.0.load(Ordering::Relaxed))
        }
    }

    fn service() -> (Service, HandClock) {
        let clock = HandClock(Arc::new(AtomicU64::new(1_000)));
        let engine = Arc::new(MemoryEngine::new(MemoryConfig::default()));
        (Service::with_clock(engine, Box::new(clock.clone())), clock)
    }

    fn set(key: &[u8], expiry: Expiry) -> Op<'_> {
        Op::Set {
            key,
            value: Value::Inline(b"value"),
            content_type: 0,
            expiry,
            condition: Condition::Always,
            previous: false,
        }
    }

    fn run(service: &Service, ops: &[Op<'_>]) -> Vec<OwnedOutcome> {
        let mut outcomes = Vec::new();
        let executed = service.run(
            service.now(),
            ops,
            &mut |_: usize, outcome: Outcome<'_>, _: Position| {
                outcomes.push(outcome.to_owned_outcome());
            },
        );
        assert_eq!(executed, ops.len());
        outcomes
    }

    #[test]
    fn the_services_clock_decides_what_has_expired() {
        let (service, clock) = service();
        let key = b"key".as_slice();
        run(&service, &[set(key, Expiry::At(1_500))]);
        clock.0.store(1_499, Ordering::Relaxed);
        assert!(matches!(
            run(&service, &[Op::Get { key }])[..],
            [OwnedOutcome::Found(_)]
        ));
        clock.0.store(1_500, Ordering::Relaxed);
        assert_eq!(service.sweep(service.now(), 100), 1);
        assert_eq!(run(&service, &[Op::Get { key }]), [OwnedOutcome::Missing]);
        let stats = service.stats();
        assert_eq!(
            (stats.hits_total, stats.misses_total, stats.expired_total),
            (1, 1, 1)
        );
    }

    #[test]
    fn batches_and_pages_pass_through() {
        let (service, _) = service();
        let now = service.now();
        let mut applied = 0;
        let ops = [set(b"a", Expiry::Never), set(b"b", Expiry::Never)];
        let (atomic, _) =
            service.run_atomic(now, &ops, &mut |_: usize, _: Outcome<'_>, _: Position| {
                applied += 1
            });
        assert_eq!((atomic, applied), (Atomic::Applied, 2));
        let done = Arc::new(Mutex::new(None));
        let report = Arc::clone(&done);
        let batch = Batch {
            ops: vec![OwnedOp::Get { key: "a".into() }],
            atomic: false,
            operation: None,
        };
        service.submit(
            now,
            batch,
            Box::new(move |outcome| *report.lock().unwrap() = Some(outcome)),
        );
        let outcome = done.lock().unwrap().take().unwrap();
        assert!(matches!(outcome, BatchOutcome::Done(outcomes) if outcomes.len() == 1));
        let limits = PageLimits {
            items: 10,
            bytes: 1_000,
        };
        let mut keys = Vec::new();
        let page = service.scan(now, ScanRange::default(), limits, &mut |key, _| {
            keys.push(key.to_vec())
        });
        assert_eq!(
            (page, keys),
            (Page::Done, vec![b"a".to_vec(), b"b".to_vec()])
        );
        let report = Arc::new(Mutex::new(None));
        let scanned = Arc::clone(&report);
        let done = Box::new(move |page| *scanned.lock().unwrap() = Some(page));
        service.submit_scan(now, OwnedRange::default(), limits, done);
        assert_eq!(report.lock().unwrap().take().unwrap().items.len(), 2);
    }
}
