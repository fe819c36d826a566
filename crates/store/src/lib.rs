//! Storage engines of kv behind one trait.
//!
//! This crate owns entries: their bytes, versions, expiry and order. It knows no wire, no
//! identity and no clock; the time of each call is passed in. All engines answer alike, and the
//! `conformance` feature holds the suite that says what alike means.
//!
//! `unsafe` stands in `table/entry.rs`, `table/map.rs`, `table/directory.rs` and
//! `table/prefetch.rs` only.

#[cfg(feature = "conformance")]
pub mod conformance;
mod disk;
mod disk_stats;
mod engine;
mod error;
mod idempotency;
mod memory;
mod op;
mod outcome;
mod position;
mod table;
mod time;

pub use disk::{
    DiskConfig, DiskEngine, Durability, OpenError, Recovery, UnknownDurability, VerifyReport,
    verify,
};
pub use disk_stats::{DiskStats, SYNC_BUCKETS_US};
pub use engine::{
    Atomic, Capture, Engine, Page, PageLimits, ScanDone, ScanRange, ScannedPage, Stats,
};
pub use error::{Blame, StoreError};
pub use memory::{Eviction, MemoryConfig, MemoryEngine, UnknownEviction};
pub use op::{Batch, Completion, Condition, Expiry, Op, OperationId, OwnedOp, OwnedRange};
pub use outcome::{BatchOutcome, Entry, Outcome, OwnedEntry, OwnedOutcome, Sink, Value};
pub use position::{Durable, Health, Position, Wake};
pub use time::Now;

/// Longest key an engine takes, in bytes; a key's length is a `u16` on the wire and in the entry.
pub const KEY_BYTES_MAX: usize = 65_535;

/// Values longer than this are kept as [`bytes::Bytes`], so that they can leave without a copy.
/// Shorter ones are copied, so that a small value never pins a large read buffer.
pub const INLINE_VALUE_BYTES_MAX: usize = 16 * 1024;
