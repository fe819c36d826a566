//! Ordered store on disk behind the durable engine of kv.
//!
//! The base holds every entry that is not only in the engine's table: keys in order, an index by
//! expiry, and small blobs. It is not what makes a write durable: a write-ahead log in front does
//! that, and one thread, the carrier, moves entries from the engine's table into the base in
//! rounds. A round's batches are atomic and not synced; [`Base::finish_round`] makes all of them
//! durable and states the position of the log they reach up to. After a crash the base holds a
//! prefix of the batches, at least those of the last finished round, and the log is replayed
//! behind [`Base::position`].
//!
//! What this crate does not own: the log, the clock, which entry is the newest, and the decision
//! to go on after a loss.
//!
//! Invariants: what is read carries its own checksum and is never a wrong value; the number of
//! keys and of expiring keys is kept in the same batch as the entries; fjall is only given files
//! whose checksums hold, and a panic inside it is an error outside.
#![forbid(unsafe_code)]

mod base;
mod check;
mod config;
mod entry;
mod error;
mod guard;
mod keys;
mod quiet;
mod snapshot;
mod state;

pub use base::{Base, BaseStats, Swept};
pub use check::{CheckReport, check};
pub use config::BaseConfig;
pub use entry::{Carry, Stored, StoredRef};
pub use error::BaseError;
pub use snapshot::{BaseSnapshot, Range};

/// Longest key, in bytes. fjall writes a key's length as a `u16` and would cut a longer one.
pub const KEY_BYTES_MAX: usize = 65_535;

/// Longest value, in bytes. fjall's own limit is 4 GiB; each value is one block and is read whole.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest name of a blob, in bytes.
pub const BLOB_NAME_BYTES_MAX: usize = 1_024;
