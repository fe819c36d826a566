//! What a base is opened with, and the fixed sizes behind it.
//!
//! Memory is bounded: `cache_bytes` for blocks; for entries not yet in tables, in each of `kv` and
//! `exp`, [`WRITE_BUFFER_BYTES`] in the active buffer and in each of [`SEALED_MAX`] sealed ones (a
//! writer waits before it seals another; small entries cost about twice what is counted); the
//! pinned indexes of the upper two levels and filters of the first, a few MiB.
//!
//! The sizes were chosen with `examples/carry_cost.rs`: with 32 MiB a key carried costs 0.25 us
//! less and 90 MiB more are resident; with 8 MiB it costs 0.3 us more.

use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, KeyspaceCreateOptions};
use std::path::Path;
use std::sync::Arc;

/// Size of the write buffer of `kv` from which on it is sealed and flushed.
pub(crate) const WRITE_BUFFER_BYTES: u64 = 16 * 1024 * 1024;

/// Sealed write buffers of one keyspace at which a writer waits. fjall would wait at four, in a
/// loop that does not end when its workers have died, and may seal one itself.
pub(crate) const SEALED_MAX: usize = 2;

/// Runs in level 0 at which a writer waits; fjall would block without end at 30.
pub(crate) const L0_RUNS_MAX: usize = 18;

/// fjall's own lower bound: a sealed journal is given back as soon as possible.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One worker: with two, the one kept free for flushes spins while the other compacts, half a
/// microsecond and more of processor time per key. And a table can not get ahead of the journal:
/// what the worker seals for fjall's own reasons, it flushes after a sync.
const WORKER_THREADS: usize = 1;

/// File descriptors of tables held open.
const OPEN_FILES_MAX: usize = 256;

/// What a base is opened with.
#[derive(Clone, Debug)]
pub struct BaseConfig {
    /// Bytes of blocks held in memory.
    pub cache_bytes: u64,
    /// The store this base belongs to; a base of another store is refused.
    pub store_id: [u8; 16],
}

/// fjall's database in `dir`, created when there is none.
pub(crate) fn open_database(dir: &Path, cache_bytes: u64) -> fjall::Result<Database> {
    Database::builder(dir)
        .cache_size(cache_bytes)
        .worker_threads(WORKER_THREADS)
        .max_cached_files(Some(OPEN_FILES_MAX))
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .manual_journal_persist(true)
        .open()
}

/// Options of `kv`: point reads and scans, most reads of absent keys stopped by filters.
pub(crate) fn kv_options() -> KeyspaceCreateOptions {
    common().filter_policy(FilterPolicy::new([
        FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(0.001)),
        FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0)),
    ]))
}

/// Options of `exp` and `meta`: `exp` is only ever walked, `meta` has a handful of keys.
pub(crate) fn small_options() -> KeyspaceCreateOptions {
    common().filter_policy(FilterPolicy::disabled())
}

fn common() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        // The base seals its buffers itself: the journal must be synced before, see `carry`.
        .max_memtable_size(u64::MAX)
        .compaction_strategy(Arc::new(
            fjall::compaction::Leveled::default().with_table_target_size(TABLE_BYTES),
        ))
}

/// Size tables are cut at.
const TABLE_BYTES: u64 = 64 * 1024 * 1024;
