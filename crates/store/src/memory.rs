//! The engine that keeps everything in memory: sharded hash tables, an allocation per entry.
//!
//! Owns the shards and what they share. A call holds one shard's lock at a time, except atomic
//! batches and scan pages, which lock several in ascending order. Nothing is durable.

mod atomic;
mod evict;
mod eviction;
mod operations;
mod run;
mod scan;
mod shard;
mod sweep;

use crate::table::{Budget, Directory, SHARDS, Seed};
use crate::time::HighWater;
use crate::{
    Atomic, Batch, BatchOutcome, Completion, Engine, Entry, Now, Op, Outcome, OwnedOp,
    OwnedOutcome, OwnedRange, Page, PageLimits, Position, ScanDone, ScanRange, ScannedPage, Sink,
    Stats, StoreError,
};
use bytes::Bytes;
use operations::Operations;
use parking_lot::{Mutex, MutexGuard};
use shard::{Common, Shard};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub use eviction::{Eviction, UnknownEviction};

/// What a memory engine is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryConfig {
    /// What entries, tables and indexes together may take. Once reached, writes that need more
    /// memory have others evicted, or fail with [`crate::StoreError::OutOfMemory`]; reads, deletes
    /// and overwrites that need no more go on. What is remembered of named operations comes to
    /// this, up to 64 MiB.
    ///
    /// Counted are allocations as asked for. An allocator adds its own: the process takes two
    /// (mimalloc) to fifteen per cent (glibc) more.
    pub memory_limit_bytes: Option<NonZeroU64>,
    /// What happens once that is reached. A write never evicts the entries it is about, and what
    /// cannot be made to fit evicts nothing. An atomic batch makes room for all it writes, or is
    /// refused whole.
    pub eviction: Eviction,
}

/// An engine without durability: for caches, for tests, and as the model of the others.
pub struct MemoryEngine {
    clock: HighWater,
    common: Common,
    shards: Box<[Lock]>,
    cursor: Mutex<sweep::Cursor>,
    operations: Operations,
    /// Whether every shard has its ordered index.
    indexed: AtomicBool,
}

/// Two cache lines of its own for each shard: neighbours are fetched in pairs.
#[repr(align(128))]
struct Lock(Mutex<Shard>);

impl Lock {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock()
    }
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        // Without a limit nothing is ever evicted, and nothing needs to be marked.
        let eviction = match config.memory_limit_bytes {
            Some(_) => config.eviction,
            None => Eviction::None,
        };
        let shards: Box<[_]> = (0..SHARDS).map(|_| Shard::new(eviction)).collect();
        let directory = Directory::new(shards.iter().map(|shard| Arc::clone(shard.table.slots())));
        let common = Common {
            seed: Seed::random(),
            budget: Budget::new(config.memory_limit_bytes),
            versions: AtomicU64::new(0),
            directory,
            eviction,
            turn: AtomicUsize::new(0),
            slots_bytes: AtomicU64::new(0),
            expiring_bytes: AtomicU64::new(0),
        };
        Self {
            clock: HighWater::default(),
            common,
            shards: shards
                .into_iter()
                .map(|shard| Lock(Mutex::new(shard)))
                .collect(),
            cursor: Mutex::default(),
            operations: Operations::new(),
            indexed: AtomicBool::new(false),
        }
    }

    /// Executes a batch whose operation is new, or that has none.
    fn run_batch(&self, now: Now, batch: &Batch) -> BatchOutcome {
        let ops: Vec<_> = batch.ops.iter().map(OwnedOp::as_op).collect();
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut collect =
            |_: usize, outcome: Outcome<'_>, _: Position| outcomes.push(outcome.to_owned_outcome());
        if !batch.atomic {
            self.run_ops(now, &ops, &mut collect);
            return BatchOutcome::Done(outcomes);
        }
        let (index, outcome) = match self.run_ops_atomic(now, &ops, &mut collect) {
            Atomic::Applied => return BatchOutcome::Done(outcomes),
            Atomic::Conflict { index, version } => (index, OwnedOutcome::Conflict { version }),
            Atomic::WrongType { index } => (index, OwnedOutcome::WrongType),
            Atomic::Failed { index, error } => (index, OwnedOutcome::Failed(error)),
            Atomic::NotNow => return BatchOutcome::Failed(StoreError::Unavailable),
        };
        BatchOutcome::Refused { index, outcome }
    }
}

impl Engine for MemoryEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        self.run_ops(self.clock.advance(now), ops, sink);
        ops.len()
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        let atomic = self.run_ops_atomic(self.clock.advance(now), ops, sink);
        (atomic, Position::START)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        let now = self.clock.advance(now);
        let outcome = match batch.operation {
            None => self.run_batch(now, &batch),
            Some(id) => self
                .operations
                .once(now, id, || self.run_batch(now, &batch)),
        };
        done(outcome);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.scan_page(self.clock.advance(now), range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        let mut items = Vec::new();
        let end = self.scan(now, range.as_range(), limits, &mut |key, entry| {
            items.push((Bytes::copy_from_slice(key), entry.to_owned_entry()));
        });
        done(ScannedPage { items, end });
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.sweep_step(self.clock.advance(now), budget)
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats {
            memory_bytes: self.common.budget.used(),
            memory_limit_bytes: self.common.budget.limit().map(NonZeroU64::get),
            version: self.common.versions.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for locked in &self.shards {
            let shard = locked.lock();
            stats.keys += shard.table.len() as u64;
            stats.keys_expiring += shard.table.expiring() as u64;
            stats.hits_total += shard.hits;
            stats.misses_total += shard.misses;
            stats.expired_total += shard.expired;
            stats.evicted_total += shard.evicted;
        }
        stats
    }
}

#[cfg(test)]
mod tests;
