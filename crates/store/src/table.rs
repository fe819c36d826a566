//! The hash table both engines keep their entries in, and what goes with it: entries in one
//! allocation each, slots that can be looked at ahead of a lock, the memory they take, and what
//! an operation does to an entry.
//!
//! Knows no engine: who locks what, and what becomes durable when, is theirs.

mod ahead;
mod budget;
mod decimal;
mod directory;
mod entry;
mod hash;
mod map;
mod order;
mod plan;
mod prefetch;
mod slots;
mod word;

pub(crate) use ahead::Ahead;
pub(crate) use budget::Budget;
pub(crate) use directory::Directory;
pub(crate) use entry::{Contents, EntryBox, Mark};
pub(crate) use hash::Seed;
pub(crate) use map::{Lent, Table};
pub(crate) use order::{Order, behind_prefix, key_bytes};
pub(crate) use plan::{Body, Plan, Reply, Write, plan};

use crate::{KEY_BYTES_MAX, Now};
use std::num::NonZeroU64;

/// Shards: enough that a few dozen threads seldom meet in one, few enough that their heads stay
/// in the first-level cache. A power of two.
pub(crate) const SHARDS: usize = 64;

/// Which shard keeps `hash`.
#[inline]
pub(crate) fn shard_of(hash: u64) -> usize {
    word::shard_of(hash, SHARDS)
}

/// Whether a key has a length that engines take.
#[inline]
pub(crate) fn legal_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}

/// Whether an entry with this expiry is gone.
#[inline]
pub(crate) fn is_due(expires_at: Option<NonZeroU64>, now: Now) -> bool {
    expires_at.is_some_and(|at| at.get() <= now.unix_ms())
}
