//! The engine that keeps what it acknowledged: a log in front, the table of entries in memory, and
//! an ordered base behind.
//!
//! A write is decided against the table, put into it and staged for the log, all at once; what it
//! answers may be shown when the flusher has made its group durable. A look-up is answered from the
//! table, or, when the table does not know the key, by a reader's thread from the base. The carrier
//! brings what is only in table and log to the base, so that log can be given back.
//!
//! Threads: one flusher, one carrier, one keeper, some readers, and writers for what needs the base
//! or has to wait for room. `docs/storage/FORMAT.md` is what
//! is on the disk, `docs/operating/durability.md` what is promised.

mod atomic;
mod carrier;
mod config;
mod counters;
mod dirt;
mod flusher;
mod keeper;
mod named;
mod open;
mod overlay;
mod progress;
mod queue;
mod record;
mod rounds;
mod scan;
mod settle;
mod shard;
mod slow;
mod space;
mod stage;
mod state;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod verify;

pub use config::{DiskConfig, Durability, OpenError, UnknownDurability};
pub use open::Recovery;
pub use verify::{VerifyReport, verify};

use crate::{
    Atomic, Batch, Capture, Completion, DiskStats, Durable, Engine, Entry, Health, Now, Op,
    OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, Sink, Stats, StoreError, Wake,
};
use kv_log::DirLock;
use parking_lot::Mutex;
use queue::Job;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use store::Store;

/// The durable engine. Dropping it closes it.
pub struct DiskEngine {
    store: Arc<Store>,
    recovery: Recovery,
    threads: Mutex<Threads>,
}

/// What runs, and the lock that goes when nothing runs any more.
#[derive(Default)]
struct Threads {
    flusher: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    lock: Option<DirLock>,
}

impl DiskEngine {
    /// Opens the data directory that `config` names, or makes it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with it; nothing was changed then.
    pub fn open(config: &DiskConfig) -> Result<Self, OpenError> {
        let opened = open::open(config)?;
        let store = opened.store;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(body)
                .map_err(|error| open::io_error("start a thread for", &config.dir, error))
        };
        let mut threads = Threads {
            lock: Some(opened.lock),
            ..Threads::default()
        };
        let (shared, log) = (Arc::clone(&store), opened.log);
        let flush = move || or_fail(&shared, |store| flusher::run(store, log));
        threads.flusher = Some(spawn("kv-flusher", Box::new(flush))?);
        let shared = Arc::clone(&store);
        let carry = move || {
            or_fail(&shared, carrier::run);
            // Nobody waits for rounds that do not come.
            shared.rounds.close();
        };
        threads.others.push(spawn("kv-carrier", Box::new(carry))?);
        let shared = Arc::clone(&store);
        let keep = move || or_fail(&shared, keeper::run);
        threads.others.push(spawn("kv-keeper", Box::new(keep))?);
        for _ in 0..config.readers.max(1) {
            let shared = Arc::clone(&store);
            let reads = move || slow::run(&shared, &shared.reads);
            threads.others.push(spawn("kv-reader", Box::new(reads))?);
            let shared = Arc::clone(&store);
            let writes = move || slow::run(&shared, &shared.writes);
            threads.others.push(spawn("kv-writer", Box::new(writes))?);
        }
        Ok(Self {
            store,
            recovery: opened.recovery,
            threads: Mutex::new(threads),
        })
    }

    /// What opening it found.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn stop(&self) {
        let mut threads = std::mem::take(&mut *self.threads.lock());
        if threads.lock.is_none() {
            return;
        }
        let store = &self.store;
        store.reads.close();
        store.writes.close();
        store.staging.close();
        let mut clean = threads.flusher.take().is_some_and(|it| it.join().is_ok());
        store.rounds.close();
        store.bell.end();
        for thread in threads.others.drain(..) {
            clean &= thread.join().is_ok();
        }
        if clean && !store.progress.has_failed() {
            let closed = store.sentinel.close(store.clock.latest().unix_ms());
            if closed.is_err() {
                store.progress.fail("the state file could not be written");
            }
        }
        drop(threads.lock.take());
    }
}

/// Runs what everybody else waits for. If it panics, the engine has failed: nobody waits for ever.
fn or_fail(store: &Store, body: impl FnOnce(&Store)) {
    if catch_unwind(AssertUnwindSafe(|| body(store))).is_ok() {
        return;
    }
    store.counters.trouble("a thread of the store panicked");
    // What panicked may be a completion or a wake, and another of them may when it is told.
    let why = "a thread of the store panicked";
    let told = catch_unwind(AssertUnwindSafe(|| store.progress.fail(why)));
    if told.is_err() {
        store.counters.trouble("telling of that panicked, too");
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Engine for DiskEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        let now = self.store.clock.advance(now);
        self.store.run(now, ops, sink, false)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        let now = self.store.clock.advance(now);
        self.store.run_atomic(now, ops, sink, false)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let now = self.store.clock.advance(now);
        // Writes may have to wait for room: look-ups do not wait behind them.
        let writes = batch.ops.iter().any(|op| op.as_op().is_write());
        let queue = if writes {
            &self.store.writes
        } else {
            &self.store.reads
        };
        queue.push(Job::Ops { now, batch, done });
    }

    fn scan(
        &self,
        _: Now,
        _: ScanRange<'_>,
        _: PageLimits,
        _: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        Page::NotNow
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        let now = self.store.clock.advance(now);
        self.store.reads.push(Job::Scan {
            now,
            range,
            limits,
            done,
        });
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.store.sweep(self.store.clock.advance(now), budget)
    }

    fn stats(&self) -> Stats {
        let store = &self.store;
        let mut stats = Stats {
            keys: store.keys(),
            keys_expiring: store.base.keys_expiring(),
            memory_bytes: store.common.budget.used(),
            memory_limit_bytes: Some(store.common.limit_bytes),
            expired_total: counters::read(&store.counters.expired),
            version: store.staging.lock().last(),
            ..Stats::default()
        };
        for locked in &store.shards {
            let shard = locked.lock();
            stats.hits_total += shard.hits;
            stats.misses_total += shard.misses;
            stats.expired_total += shard.expired;
            stats.evicted_total += shard.evicted;
        }
        stats
    }

    fn durable(&self) -> Durable {
        self.store.progress.durable()
    }

    fn flush(&self) {
        self.store.staging.flush();
    }

    fn on_durable(&self, wake: Wake) {
        self.store.progress.on_durable(wake);
    }

    fn health(&self) -> Health {
        self.store.progress.health()
    }

    fn troubles(&self) -> Vec<String> {
        self.store.counters.take_troubles()
    }

    fn disk_stats(&self) -> Option<DiskStats> {
        let store = &self.store;
        let dirt = store.dirt();
        let mut stats = DiskStats {
            log_bytes: store.caretaker.live_bytes(),
            base_bytes: store.base.disk_bytes(),
            dirty_bytes: u64::try_from(dirt.bytes).unwrap_or(0),
            dirty_entries: u64::try_from(dirt.entries).unwrap_or(0),
            stalls_total: store.common.stalls.load(Ordering::Relaxed),
            ..DiskStats::default()
        };
        store.counters.fill(&mut stats);
        Some(stats)
    }

    fn capture(&self, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        self.store.capture(self.store.clock.advance(now))
    }

    fn close(&self) {
        self.stop();
    }
}
