//! Write-ahead log of kv: checksummed groups in segments, their recovery, and the two small files
//! beside them.
//!
//! This crate owns bytes on the disk and when they are durable. It does not know what a group
//! means: its payload is the engine's, and so are positions, which the log only keeps without gaps.
//! `docs/storage/FORMAT.md` is the format and the reasoning behind every rule of recovery.
//!
//! One thread owns [`Log`] and appends; another may hold a [`Caretaker`] and give segments back.
//! One process has the directory: take a [`DirLock`] before anything else.
//!
//! Invariant: what [`Log::sync`] has confirmed comes back from [`Log::open`] whole and in order, or
//! `open` fails and names the file and the offset. What was appended and not synced comes back as
//! a prefix of itself, whole groups only.
#![forbid(unsafe_code)]

mod caretaker;
mod directory;
mod error;
mod format;
mod lock;
mod log;
mod scan;
mod segment;
mod state;
mod walk;
mod window;

pub use caretaker::Caretaker;
pub use error::{Damage, LogError};
pub use format::{FORMAT, Group, Position};
pub use lock::{DirLock, LockError};
pub use log::{Log, LogConfig, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN};
pub use state::{STATE_FORMAT, State, StateError, StateFile};
pub use walk::{Recovery, Report, TornTail, VisitError};
