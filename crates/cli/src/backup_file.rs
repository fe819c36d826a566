//! The file of a backup: blocks of entries, each with its checksum, and at the end how many they were
//! and what the server's checksum over them is.
//!
//! Owns the bytes; `docs/operating/backup.md` has them as a table. A file that was cut off, changed or
//! put together from two is told from a whole one, and where.

mod reader;
mod writer;

pub(crate) use reader::{Damage, Reader};
pub(crate) use writer::Writer;

/// The first bytes.
const MAGIC: [u8; 8] = *b"KVBACKUP";
/// The only form there is.
const FORMAT: u32 = 1;
/// Magic, form, time, position, estimate, CRC.
const HEADER_BYTES: usize = 8 + 4 + 3 * 8 + 4;
/// Length, count, CRC.
const BLOCK_HEAD_BYTES: usize = 12;
/// Entries, blocks, checksum, CRC; behind a length of 0.
const TRAILER_BYTES: usize = 8 + 8 + 32 + 4;
/// What an entry takes besides its key and its value.
const ENTRY_BYTES: usize = 2 + 4 + 8 + 8 + 1;

/// What stands in front of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// When the store was as the entries say, in milliseconds since the Unix epoch.
    pub(crate) taken_at_ms: u64,
    /// The store's position then.
    pub(crate) position: u64,
    /// About how many entries there are.
    pub(crate) entries_hint: u64,
}

/// What stands behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// How many there are.
    pub(crate) entries: u64,
    /// SHA-256 over them, as the server computed it.
    pub(crate) checksum: [u8; 32],
}

#[cfg(test)]
mod tests;
