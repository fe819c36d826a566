//! Figures of an engine that keeps its entries on disk.

/// Upper bounds of the buckets of [`DiskStats::sync_buckets`], in microseconds.
pub const SYNC_BUCKETS_US: [u64; 12] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 25_600, 102_400, 1_000_000, 5_000_000,
];

/// Figures about log, base and what lies between them. Totals count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Bytes in log segments that are still needed.
    pub log_bytes: u64,
    /// Bytes of the ordered base on disk.
    pub base_bytes: u64,
    /// Bytes of entries in memory that are not in the base yet.
    pub dirty_bytes: u64,
    /// Entries in memory that are not in the base yet, deletions included.
    pub dirty_entries: u64,
    /// Bytes appended to the log.
    pub appended_bytes_total: u64,
    /// Groups appended to the log.
    pub groups_total: u64,
    /// Times the log was made durable.
    pub syncs_total: u64,
    /// What that took, in microseconds, in all.
    pub sync_us_total: u64,
    /// How many took no longer than each of [`SYNC_BUCKETS_US`] and longer than the one before;
    /// the last counts the longer ones.
    pub sync_buckets: [u64; 13],
    /// Look-ups that had to ask the base.
    pub cold_reads_total: u64,
    /// Rounds in which entries were carried to the base.
    pub rounds_total: u64,
    /// Entries carried.
    pub carried_total: u64,
    /// Writes that had to wait for room in memory or log.
    pub stalls_total: u64,
    /// Errors of the disk, fatal or not.
    pub errors_total: u64,
    /// Bytes free on the file system.
    pub free_bytes: u64,
    /// What opening the store took, in microseconds.
    pub recovery_us: u64,
    /// Groups of the log that opening the store replayed.
    pub recovered_groups: u64,
}
