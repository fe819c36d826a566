//! The record every batch carries: which batch it is, how many keys there are after it, and the
//! position of the last finished round.
//!
//! The running number lets `guard` see a batch missing between two others of a journal, and the
//! lower bound of fjall's sequence number lets it see that number changed: fjall's own checksum
//! covers neither.

use crate::keys::{STATE, seal, unseal};
use fjall::UserValue;

const STATE_BYTES: usize = 40;

/// What `meta` keeps beside the blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Number of this batch; the first is 1.
    pub(crate) batch: u64,
    /// Position of the last finished round.
    pub(crate) position: u64,
    /// Keys in `kv`.
    pub(crate) keys: u64,
    /// Of these, how many expire.
    pub(crate) expiring: u64,
    /// fjall's sequence number of this batch is not lower.
    pub(crate) sequence_floor: u64,
}

impl State {
    pub(crate) fn encode(&self) -> UserValue {
        let mut bytes = Vec::with_capacity(STATE_BYTES);
        for number in [
            self.batch,
            self.position,
            self.keys,
            self.expiring,
            self.sequence_floor,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        seal(STATE, &bytes)
    }

    /// One key was there before or not, and is after or not. A caller whose hints were wrong gets
    /// a wrong number, never one below zero.
    pub(crate) fn count(&mut self, before: bool, after: bool) {
        self.keys = (self.keys + u64::from(after)).saturating_sub(u64::from(before));
    }

    /// The same for a key that expires.
    pub(crate) fn count_expiring(&mut self, before: bool, after: bool) {
        self.expiring = (self.expiring + u64::from(after)).saturating_sub(u64::from(before));
    }

    pub(crate) fn decode(sealed: &[u8]) -> Option<Self> {
        let bytes: &[u8; STATE_BYTES] = unseal(STATE, sealed)?.try_into().ok()?;
        let mut numbers = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .copied()
            .map(u64::from_be_bytes);
        Some(Self {
            batch: numbers.next()?,
            position: numbers.next()?,
            keys: numbers.next()?,
            expiring: numbers.next()?,
            sequence_floor: numbers.next()?,
        })
    }
}
