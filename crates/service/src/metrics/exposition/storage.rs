//! The families of an engine with a disk. An engine without one has none of them.

use std::fmt;

use kv_store::{DiskStats, Health, SYNC_BUCKETS_US};

use super::families::View;
use super::writer::Writer;

/// A state of the store and its label.
const STATES: [&str; 4] = ["good", "degraded", "full", "failed"];

impl View {
    pub(super) fn storage(&self, out: &mut Writer<'_>) -> fmt::Result {
        let state = match self.scrape.health {
            Health::Good => "good",
            Health::Degraded(_) => "degraded",
            Health::Full(_) => "full",
            Health::Failed(_) => "failed",
        };
        out.gauges(
            "kv_storage_health",
            "1 for the state the store is in, 0 for the others.",
            STATES
                .into_iter()
                .map(|name| (vec![("state", name)], u64::from(name == state))),
        )?;
        match &self.scrape.disk {
            Some(disk) => log(out, disk).and_then(|()| files(out, disk)),
            None => Ok(()),
        }
    }
}

/// The write-ahead log.
fn log(out: &mut Writer<'_>, disk: &DiskStats) -> fmt::Result {
    out.counter(
        "kv_wal_appended_bytes",
        "Bytes appended to the write-ahead log.",
        disk.appended_bytes_total,
    )?;
    out.counter(
        "kv_wal_groups",
        "Groups of writes appended to the write-ahead log.",
        disk.groups_total,
    )?;
    let bounds = SYNC_BUCKETS_US.iter().map(|us| seconds(*us));
    let buckets: Vec<(f64, u64)> = bounds
        .chain([f64::INFINITY])
        .zip(disk.sync_buckets)
        .collect();
    out.histogram(
        "kv_wal_fsync_duration",
        "How long the disk took to make the write-ahead log durable.",
        seconds(disk.sync_us_total),
        &buckets,
    )?;
    out.gauge(
        "kv_storage_log_bytes",
        "Bytes of the write-ahead log that are still needed.",
        disk.log_bytes,
    )?;
    out.gauge(
        "kv_storage_recovery_seconds",
        "How long opening the store took at the start.",
        seconds(disk.recovery_us),
    )?;
    out.gauge(
        "kv_storage_recovered_groups",
        "Groups of the write-ahead log that were read at the start.",
        disk.recovered_groups,
    )
}

/// The ordered files, and what is on its way to them.
fn files(out: &mut Writer<'_>, disk: &DiskStats) -> fmt::Result {
    for (name, help, value) in [
        (
            "kv_storage_base_bytes",
            "Bytes of the ordered files.",
            disk.base_bytes,
        ),
        (
            "kv_storage_dirty_bytes",
            "Bytes of entries that are in the log and not in the ordered files yet.",
            disk.dirty_bytes,
        ),
        (
            "kv_storage_dirty_entries",
            "Entries that are in the log and not in the ordered files yet.",
            disk.dirty_entries,
        ),
        (
            "kv_storage_free_bytes",
            "Bytes free on the file system of the data directory.",
            disk.free_bytes,
        ),
    ] {
        out.gauge(name, help, value)?;
    }
    for (name, help, value) in [
        (
            "kv_storage_cold_reads",
            "Look-ups that had to ask the ordered files.",
            disk.cold_reads_total,
        ),
        (
            "kv_storage_carry_rounds",
            "Rounds in which entries moved from the log to the ordered files.",
            disk.rounds_total,
        ),
        (
            "kv_storage_carried_entries",
            "Entries that moved from the log to the ordered files.",
            disk.carried_total,
        ),
        (
            "kv_storage_stalls",
            "Writes that waited for room in memory or in the log.",
            disk.stalls_total,
        ),
        (
            "kv_storage_errors",
            "Errors of the disk.",
            disk.errors_total,
        ),
    ] {
        out.counter(name, help, value)?;
    }
    Ok(())
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
