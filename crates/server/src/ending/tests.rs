//! The end of a server whose store fails, hangs or closes.

use std::sync::mpsc::{Receiver, channel};

use kv_service::{
    Atomic, Batch, Completion, Engine, Entry, MemoryConfig, MemoryEngine, Now, Op, OwnedRange,
    Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats,
};
use parking_lot::Mutex;

use super::*;
use crate::config;
use crate::server::Server;

/// A memory engine that is as it is told and closes when it is told.
struct Moody {
    inner: MemoryEngine,
    health: Mutex<StoreHealth>,
    /// What `close` waits for.
    gate: Mutex<Option<Receiver<()>>>,
    /// How it is once closed.
    closed: StoreHealth,
}

impl Moody {
    fn new(closed: StoreHealth) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryEngine::new(MemoryConfig::default()),
            health: Mutex::new(StoreHealth::Good),
            gate: Mutex::new(None),
            closed,
        })
    }
}

impl Engine for Moody {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        self.inner.run(now, ops, sink)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        self.inner.run_atomic(now, ops, sink)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        self.inner.submit(now, batch, done);
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

    fn health(&self) -> StoreHealth {
        *self.health.lock()
    }

    fn close(&self) {
        if let Some(gate) = self.gate.lock().take() {
            let _ = gate.recv();
        }
        *self.health.lock() = self.closed;
    }
}

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn closed(engine: Arc<Moody>, within: Duration) -> Stopped {
    let service = Arc::new(Service::new(engine));
    close(Stopped::Clean, &service, &Control::default(), within).await
}

#[tokio::test]
async fn a_store_that_closes_changes_nothing() {
    let good = Moody::new(StoreHealth::Good);
    assert_eq!(closed(good, PATIENCE).await, Stopped::Clean);
    let full = Moody::new(StoreHealth::Full("no room"));
    assert_eq!(closed(full, PATIENCE).await, Stopped::Clean);
}

#[tokio::test]
async fn a_store_that_fails_to_close_is_the_verdict() {
    let failed = Moody::new(StoreHealth::Failed("no sync"));
    assert_eq!(closed(failed, PATIENCE).await, Stopped::Failed("no sync"));
}

#[tokio::test]
async fn a_store_that_does_not_close_is_left() {
    let engine = Moody::new(StoreHealth::Good);
    let (open, gate) = channel();
    *engine.gate.lock() = Some(gate);
    let stopped = closed(engine, Duration::from_millis(10)).await;
    assert!(matches!(stopped, Stopped::Failed(why) if why.contains("took longer")));
    drop(open);
}

#[tokio::test]
async fn who_asks_twice_does_not_wait_for_the_store() {
    let engine = Moody::new(StoreHealth::Good);
    let (open, gate) = channel();
    *engine.gate.lock() = Some(gate);
    let control = Control::default();
    for _ in 0..2 {
        control.send(crate::control::Command::Stop);
    }
    let service = Arc::new(Service::new(engine));
    let stopped = close(Stopped::Clean, &service, &control, PATIENCE).await;
    assert_eq!(stopped, Stopped::Cut(0));
    drop(open);
}

#[tokio::test]
async fn a_store_that_has_failed_is_not_asked_to_close() {
    let engine = Moody::new(StoreHealth::Good);
    *engine.health.lock() = StoreHealth::Failed("before");
    let service = Arc::new(Service::new(Arc::clone(&engine) as Arc<dyn Engine>));
    let control = Control::default();
    let stopped = close(Stopped::Failed("before"), &service, &control, PATIENCE).await;
    assert_eq!(stopped, Stopped::Failed("before"));
    assert_eq!(engine.health(), StoreHealth::Failed("before"));
}

/// S5: a server does not outlive its store, and says why.
#[tokio::test]
async fn a_server_whose_store_fails_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("app.key"), "5a".repeat(32)).unwrap();
    let text = "[listeners.native]\naddress = \"127.0.0.1:0\"\n[listeners.admin]\nenabled = false\n\
                [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n";
    let loaded = config::parse(&directory.path().join("kv.toml"), text).unwrap();
    let keys = crate::keys::load(&loaded.config.auth, |_| None).unwrap();
    let engine = Moody::new(StoreHealth::Good);
    let server = Server::bind_with_engine(loaded.config, keys, Arc::clone(&engine) as _).unwrap();
    let address = server.native_address().unwrap();
    let mut running = JoinSet::new();
    running.spawn(server.run());
    let waiting = tokio::net::TcpStream::connect(address).await.unwrap();
    *engine.health.lock() = StoreHealth::Failed("the disk said no");
    let ended = tokio::time::timeout(PATIENCE, running.join_next()).await;
    let stopped = ended.unwrap().unwrap().unwrap();
    assert_eq!(stopped, Stopped::Failed("the disk said no"));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    drop(waiting);
}
