//! The part of the counters that every request touches, once per shard, so that cores do not fight
//! over cache lines.
//!
//! Invariant: a shard is only ever added to; sums are taken when somebody asks for them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::histogram::{Durations, Histogram};
use super::labels::{Code, Door, Operation};

/// Counters of requests. Aligned so that two shards never share a line nor a prefetched pair of them.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    requests: Box<[AtomicU64]>,
    durations: Box<[Histogram]>,
    pub(super) in_flight: [AtomicI64; Door::COUNT],
    pub(super) cancelled: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) stalls: AtomicU64,
}

impl Shard {
    pub(super) fn new() -> Self {
        let cells = Door::COUNT * Operation::COUNT * Code::COUNT;
        Self {
            requests: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            durations: (0..Door::COUNT * Operation::COUNT)
                .map(|_| Histogram::new())
                .collect(),
            in_flight: std::array::from_fn(|_| AtomicI64::new(0)),
            cancelled: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn count(&self, door: Door, operation: Operation, code: Code, n: u64) {
        if let Some(cell) = self.requests.get(cell(door, operation, code)) {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn record(&self, door: Door, operation: Operation, nanos: u64, n: u64) {
        if let Some(histogram) = self.durations.get(row(door, operation)) {
            histogram.record(nanos, n);
        }
    }

    pub(super) fn requests(&self, door: Door, operation: Operation, code: Code) -> u64 {
        let cell = self.requests.get(cell(door, operation, code));
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    pub(super) fn add_durations(&self, door: Door, operation: Operation, sum: &mut Durations) {
        if let Some(histogram) = self.durations.get(row(door, operation)) {
            sum.add(histogram);
        }
    }
}

#[inline]
const fn row(door: Door, operation: Operation) -> usize {
    door.index() * Operation::COUNT + operation.index()
}

#[inline]
const fn cell(door: Door, operation: Operation, code: Code) -> usize {
    row(door, operation) * Code::COUNT + code.index()
}
