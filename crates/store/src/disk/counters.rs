//! Figures that several threads of the engine count.

use crate::SYNC_BUCKETS_US;
use parking_lot::Mutex;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Errors kept in words until somebody asks.
const TROUBLES_MAX: usize = 16;

/// Totals since the start.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) appended_bytes: AtomicU64,
    pub(super) groups: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
    pub(super) cold_reads: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) carried: AtomicU64,
    errors: AtomicU64,
    troubles: Mutex<Vec<String>>,
    pub(super) expired: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    recovery_us: AtomicU64,
    recovered_groups: AtomicU64,
}

/// Adds to a total.
pub(super) fn add(total: &AtomicU64, more: u64) {
    // Relaxed: sums by themselves.
    total.fetch_add(more, Ordering::Relaxed);
}

/// Reads a total.
pub(super) fn read(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}

impl Counters {
    /// Counts one sync that took so many microseconds.
    pub(super) fn synced(&self, took_us: u64) {
        add(&self.syncs, 1);
        add(&self.sync_us, took_us);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = self.sync_buckets.get(bucket) {
            add(bucket, 1);
        }
    }

    /// Counts an error of the disk, and keeps what it was until somebody asks.
    pub(super) fn trouble(&self, what: impl Display) {
        add(&self.errors, 1);
        let mut troubles = self.troubles.lock();
        if troubles.len() < TROUBLES_MAX {
            troubles.push(what.to_string());
        }
    }

    /// What was kept.
    pub(super) fn take_troubles(&self) -> Vec<String> {
        std::mem::take(&mut *self.troubles.lock())
    }

    /// Notes what opening the store took.
    pub(super) fn recovered(&self, took: Duration, groups: u64) {
        add(
            &self.recovery_us,
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
        add(&self.recovered_groups, groups);
    }

    /// Puts what is counted here into `stats`.
    pub(super) fn fill(&self, stats: &mut crate::DiskStats) {
        stats.appended_bytes_total = read(&self.appended_bytes);
        stats.groups_total = read(&self.groups);
        stats.syncs_total = read(&self.syncs);
        stats.sync_us_total = read(&self.sync_us);
        for (to, from) in stats.sync_buckets.iter_mut().zip(&self.sync_buckets) {
            *to = read(from);
        }
        stats.cold_reads_total = read(&self.cold_reads);
        stats.rounds_total = read(&self.rounds);
        stats.carried_total = read(&self.carried);
        stats.errors_total = read(&self.errors);
        stats.free_bytes = read(&self.free_bytes);
        stats.recovery_us = read(&self.recovery_us);
        stats.recovered_groups = read(&self.recovered_groups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sync_is_counted_in_one_bucket() {
        let counters = Counters::default();
        for took in [0, 50, 51, 5_000_000, 5_000_001] {
            counters.synced(took);
        }
        let mut stats = crate::DiskStats::default();
        counters.fill(&mut stats);
        assert_eq!(stats.syncs_total, 5);
        assert_eq!(stats.sync_buckets[0], 2);
        assert_eq!(stats.sync_buckets[1], 1);
        assert_eq!(stats.sync_buckets[11], 1);
        assert_eq!(stats.sync_buckets[12], 1);
        assert_eq!(stats.sync_us_total, 10_000_102);
    }
}
