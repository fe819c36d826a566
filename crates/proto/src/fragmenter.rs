//! The fragmenter: cuts a message into frames, and lets several messages take turns.
//!
//! It computes ranges and flags only; whoever writes the frames has the bytes. The first piece goes
//! with the extension block (TOTAL_LEN in it) and the key, the others with neither; every piece but
//! the last carries MORE and is at least as long as a receiver demands.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

mod turns;

use core::ops::Range;

pub use self::turns::TakeTurns;
use crate::header::Flags;
use crate::limits::CUT_BYTES;

/// Bytes that TOTAL_LEN takes in the extension block.
pub const TOTAL_LEN_EXT_BYTES: usize = 6;
/// The shortest piece that is not the last. Wire-fixed.
const PIECE_BYTES_MIN: usize = 4 * 1024;

/// Where to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutLimits {
    /// Value bytes of one piece; 4 KiB is taken when it is less.
    pub piece_bytes_max: usize,
    /// Body bytes of one frame, as negotiated.
    pub frame_bytes_max: usize,
    /// Value bytes of one message, as negotiated.
    pub message_bytes_max: usize,
}

impl CutLimits {
    /// Pieces of 64 KiB within the limits of a session.
    #[must_use]
    pub fn of_session(limits: &crate::limits::SessionLimits) -> Self {
        let bytes = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            piece_bytes_max: CUT_BYTES,
            frame_bytes_max: bytes(limits.frame_bytes_max),
            message_bytes_max: bytes(limits.message_bytes_max),
        }
    }
}

/// Why a message cannot be sent: nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// Extension block and key leave no room for a piece in the first frame.
    #[error("extensions and key of {len} bytes do not fit a frame of {max}")]
    HeadTooLong {
        /// Bytes of extension block and key.
        len: usize,
        /// The limit of a frame's body.
        max: usize,
    },
    /// The value exceeds the limit of a message.
    #[error("value of {len} bytes, the limit is {max}")]
    MessageTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

/// One frame of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its part of the value.
    pub value: Range<usize>,
    /// Whether extension block and key go with it.
    pub first: bool,
    /// Whether further pieces follow.
    pub more: bool,
}

impl Piece {
    /// MORE, or nothing.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        if self.more { Flags::MORE } else { Flags::NONE }
    }
}

/// The pieces of one message, in order.
///
/// Invariant: pieces are adjacent, cover the value exactly and are never empty, but for the one
/// piece of an empty value.
#[derive(Clone, Debug)]
pub struct Fragmenter {
    value_len: usize,
    first_max: usize,
    piece_max: usize,
    /// Start of the next piece; `None` after the last.
    at: Option<usize>,
}

impl Fragmenter {
    /// Plans a message of `head_len` bytes of extension block (without TOTAL_LEN) and key, and
    /// `value_len` bytes of value.
    ///
    /// # Errors
    /// [`CutError`] when it does not fit the limits.
    pub fn new(head_len: usize, value_len: usize, limits: &CutLimits) -> Result<Self, CutError> {
        let (len, max) = (value_len, limits.message_bytes_max);
        if len > max {
            return Err(CutError::MessageTooLong { len, max });
        }
        let piece_max = limits
            .piece_bytes_max
            .max(PIECE_BYTES_MIN)
            .min(limits.frame_bytes_max);
        let max = limits.frame_bytes_max;
        let too_long = CutError::HeadTooLong { len: head_len, max };
        let room = max.checked_sub(head_len).ok_or(too_long)?;
        let whole = value_len <= piece_max && value_len <= room;
        let first_max = if whole {
            value_len
        } else {
            // Below `value_len` either way, so something is left for a last piece.
            let room = room.checked_sub(TOTAL_LEN_EXT_BYTES).ok_or(too_long)?;
            let first_max = room.min(piece_max);
            if first_max < PIECE_BYTES_MIN {
                return Err(too_long);
            }
            first_max
        };
        Ok(Self {
            value_len,
            first_max,
            piece_max,
            at: Some(0),
        })
    }

    /// What TOTAL_LEN says in the first piece's extension block; `None` when the message goes in
    /// one frame and has no such extension.
    #[must_use]
    pub fn total_len(&self) -> Option<u32> {
        if self.first_max == self.value_len {
            None
        } else {
            u32::try_from(self.value_len).ok()
        }
    }

    /// Value bytes that no piece has taken yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.at.map_or(0, |at| self.value_len.saturating_sub(at))
    }
}

impl Iterator for Fragmenter {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at?;
        let first = start == 0;
        let max = if first {
            self.first_max
        } else {
            self.piece_max
        };
        let end = start.saturating_add(max).min(self.value_len);
        let more = end < self.value_len;
        self.at = more.then_some(end);
        Some(Piece {
            value: start..end,
            first,
            more,
        })
    }
}

#[cfg(test)]
mod tests;
