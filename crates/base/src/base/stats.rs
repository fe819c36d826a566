//! What the base says of itself.

use fjall::AbstractTree;

use super::Base;
use crate::quiet;

/// Sizes and work of the base; cheap to get, each number by itself, no common moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BaseStats {
    /// Bytes of tables and journals on disk. A journal not yet full counts with its room.
    pub disk_bytes: u64,
    /// Of these, bytes of journals.
    pub journal_bytes: u64,
    /// Number of tables.
    pub tables: u64,
    /// Runs of tables that wait to be merged down from the first level, in the largest tree.
    pub level_zero_runs: u64,
    /// Bytes in write buffers, sealed ones included.
    pub write_buffer_bytes: u64,
    /// Sealed write buffers that wait to be flushed.
    pub sealed_buffers: u64,
    /// Compactions running.
    pub compactions_running: u64,
    /// Compactions finished since the base was opened.
    pub compactions_finished: u64,
    /// Microseconds spent compacting since the base was opened.
    pub compaction_us: u64,
    /// Bytes of blocks in the cache.
    pub cache_bytes: u64,
    /// Batches replayed from the journals when the base was opened.
    pub replayed_batches: u64,
    /// Bytes cut off the torn end of the last journal when the base was opened.
    pub cut_bytes: u64,
}

impl Base {
    /// Bytes on disk, see [`BaseStats::disk_bytes`].
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        quiet::fjall("measure the base", || self.db.disk_space()).unwrap_or_default()
    }

    /// Sizes and work of the base. A size that cannot be read is 0.
    #[must_use]
    pub fn stats(&self) -> BaseStats {
        let trees = [&self.kv, &self.exp, &self.meta];
        let sealed = |tree: &&fjall::Keyspace| tree.sealed_memtable_count() as u64;
        BaseStats {
            disk_bytes: self.disk_bytes(),
            journal_bytes: quiet::fjall("measure the base", || self.db.journal_disk_space())
                .unwrap_or_default(),
            tables: trees.iter().map(|tree| tree.table_count() as u64).sum(),
            level_zero_runs: self.kv.tree.l0_run_count() as u64,
            write_buffer_bytes: self.db.write_buffer_size(),
            sealed_buffers: trees.iter().map(sealed).sum(),
            compactions_running: self.db.active_compactions() as u64,
            compactions_finished: self.db.compactions_completed() as u64,
            compaction_us: u64::try_from(self.db.time_compacting().as_micros()).unwrap_or(u64::MAX),
            cache_bytes: self.db.cache_size(),
            replayed_batches: self.opened.journals.batches,
            cut_bytes: self.opened.journals.cut_bytes,
        }
    }
}
