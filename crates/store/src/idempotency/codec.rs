//! The bytes an answer is kept as. Big-endian:
//!
//! ```text
//! answer:   form 1 | 0 | count u32 | outcome ...      executed
//!           form 1 | 1 | index u32 | outcome          refused
//!           form 1 | 2 | error u8                     failed
//! outcome:  kind u8 (bit 4: an expiry follows; bit 5: the entry before follows) and then
//!           0 found     entry
//!           1 missing
//!           2 written   version u64 | expiry u64, if flagged | entry, if flagged
//!           3 deleted   entry, if flagged
//!           4 counted   value i64 | version u64 | expiry u64, if flagged
//!           5 conflict  version u64
//!           6 wrong type
//!           7 failed    error u8
//! entry:    version u64 | expiry u64 (0 for none) | content type u8 | length u32 | value
//! ```
//!
//! The form says how the rest is to be read; numbers of kinds and errors are never used again for
//! something else.

use crate::{BatchOutcome, OwnedEntry, OwnedOutcome, StoreError};
use bytes::Bytes;
use std::num::NonZeroU64;

const FORM: u8 = 1;

const EXECUTED: u8 = 0;
const REFUSED: u8 = 1;
const FAILED: u8 = 2;

const KIND: u8 = 0x0f;
const EXPIRES: u8 = 0x10;
const PREVIOUS: u8 = 0x20;

/// Bytes of values kept of one answer. An outcome whose value goes beyond is kept as
/// [`StoreError::OperationExpired`]: that it was answered is known, what with is not.
pub(crate) const KEPT_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Appends `outcome` to `out`, without what [`KEPT_VALUE_BYTES_MAX`] leaves no room for.
pub(crate) fn encode_outcome(outcome: &BatchOutcome, out: &mut Vec<u8>) {
    out.push(FORM);
    let mut room = KEPT_VALUE_BYTES_MAX;
    match outcome {
        BatchOutcome::Done(outcomes) => {
            out.push(EXECUTED);
            put_count(outcomes.len(), out);
            for outcome in outcomes {
                put_outcome(outcome, &mut room, out);
            }
        }
        BatchOutcome::Refused { index, outcome } => {
            out.push(REFUSED);
            put_count(*index, out);
            put_outcome(outcome, &mut room, out);
        }
        BatchOutcome::Failed(error) => out.extend([FAILED, error_number(*error)]),
    }
}

/// The answer whose bytes these are, exactly. Allocates no more than they justify.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when they are those of no answer.
pub(crate) fn decode_outcome(bytes: &[u8]) -> Result<BatchOutcome, StoreError> {
    let mut rest = Reader(bytes);
    if rest.u8()? != FORM {
        return Err(StoreError::Corrupt);
    }
    let outcome = match rest.u8()? {
        EXECUTED => {
            let count = rest.count()?;
            let mut outcomes = Vec::new();
            for _ in 0..count {
                outcomes.push(outcome(&mut rest)?);
            }
            BatchOutcome::Done(outcomes)
        }
        REFUSED => BatchOutcome::Refused {
            index: rest.count()?,
            outcome: outcome(&mut rest)?,
        },
        FAILED => BatchOutcome::Failed(rest.error()?),
        _ => return Err(StoreError::Corrupt),
    };
    rest.end()?;
    Ok(outcome)
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    // A batch has fewer operations than its bytes.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend(count.to_be_bytes());
}

fn put_outcome(outcome: &OwnedOutcome, room: &mut usize, out: &mut Vec<u8>) {
    let carried = match outcome {
        OwnedOutcome::Found(entry) => Some(entry),
        OwnedOutcome::Written { previous, .. } | OwnedOutcome::Deleted { previous } => {
            previous.as_ref()
        }
        _ => None,
    };
    match room.checked_sub(carried.map_or(0, |entry| entry.value.len())) {
        Some(left) => *room = left,
        None => return out.extend([7, error_number(StoreError::OperationExpired)]),
    }
    let expires = |at: &Option<NonZeroU64>| if at.is_some() { EXPIRES } else { 0 };
    let shown = if carried.is_some() { PREVIOUS } else { 0 };
    match outcome {
        OwnedOutcome::Found(entry) => {
            out.push(0);
            put_entry(entry, out);
        }
        OwnedOutcome::Missing => out.push(1),
        OwnedOutcome::Written {
            version,
            expires_at,
            ..
        } => {
            out.push(2 | expires(expires_at) | shown);
            out.extend(version.to_be_bytes());
            out.extend(expires_at.iter().flat_map(|at| at.get().to_be_bytes()));
            carried.inspect(|entry| put_entry(entry, out));
        }
        OwnedOutcome::Deleted { .. } => {
            out.push(3 | shown);
            carried.inspect(|entry| put_entry(entry, out));
        }
        OwnedOutcome::Counted {
            value,
            version,
            expires_at,
        } => {
            out.push(4 | expires(expires_at));
            out.extend(value.to_be_bytes());
            out.extend(version.to_be_bytes());
            out.extend(expires_at.iter().flat_map(|at| at.get().to_be_bytes()));
        }
        OwnedOutcome::Conflict { version } => {
            out.push(5);
            out.extend(version.to_be_bytes());
        }
        OwnedOutcome::WrongType => out.push(6),
        OwnedOutcome::Failed(error) => out.extend([7, error_number(*error)]),
    }
}

fn put_entry(entry: &OwnedEntry, out: &mut Vec<u8>) {
    out.extend(entry.version.to_be_bytes());
    let expires_at = entry.expires_at.map_or(0, NonZeroU64::get);
    out.extend(expires_at.to_be_bytes());
    out.push(entry.content_type);
    put_count(entry.value.len(), out);
    out.extend_from_slice(&entry.value);
}

fn outcome(rest: &mut Reader<'_>) -> Result<OwnedOutcome, StoreError> {
    let kind = rest.u8()?;
    let (expires, shown) = (kind & EXPIRES != 0, kind & PREVIOUS != 0);
    let outcome = match (kind & KIND, expires, shown) {
        (0, false, false) => OwnedOutcome::Found(entry(rest)?),
        (1, false, false) => OwnedOutcome::Missing,
        (2, _, _) => OwnedOutcome::Written {
            version: rest.u64()?,
            expires_at: rest.expiry_if(expires)?,
            previous: if shown { Some(entry(rest)?) } else { None },
        },
        (3, false, _) => OwnedOutcome::Deleted {
            previous: if shown { Some(entry(rest)?) } else { None },
        },
        (4, _, false) => OwnedOutcome::Counted {
            value: i64::from_be_bytes(rest.take()?),
            version: rest.u64()?,
            expires_at: rest.expiry_if(expires)?,
        },
        (5, false, false) => OwnedOutcome::Conflict {
            version: rest.u64()?,
        },
        (6, false, false) => OwnedOutcome::WrongType,
        (7, false, false) => OwnedOutcome::Failed(rest.error()?),
        _ => return Err(StoreError::Corrupt),
    };
    if kind & !(KIND | EXPIRES | PREVIOUS) != 0 {
        return Err(StoreError::Corrupt);
    }
    Ok(outcome)
}

fn entry(rest: &mut Reader<'_>) -> Result<OwnedEntry, StoreError> {
    let version = rest.u64()?;
    let expires_at = NonZeroU64::new(rest.u64()?);
    let content_type = rest.u8()?;
    let len = rest.count()?;
    Ok(OwnedEntry {
        value: Bytes::copy_from_slice(rest.slice(len)?),
        version,
        expires_at,
        content_type,
    })
}

const fn error_number(error: StoreError) -> u8 {
    match error {
        StoreError::KeyLength => 1,
        StoreError::ValueTooLong => 2,
        StoreError::OutOfMemory => 3,
        StoreError::DiskFull => 4,
        StoreError::Unavailable => 5,
        StoreError::OutcomeUnknown => 6,
        StoreError::OperationExpired => 7,
        StoreError::Unsupported => 8,
        StoreError::Corrupt => 9,
    }
}

/// What is left to read.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StoreError::Corrupt)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn count(&mut self) -> Result<usize, StoreError> {
        let count = self.take().map(u32::from_be_bytes)?;
        usize::try_from(count).map_err(|_| StoreError::Corrupt)
    }

    pub(super) fn slice(&mut self, len: usize) -> Result<&'b [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(StoreError::Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) const fn end(&self) -> Result<(), StoreError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(StoreError::Corrupt)
        }
    }

    fn expiry_if(&mut self, flagged: bool) -> Result<Option<NonZeroU64>, StoreError> {
        if !flagged {
            return Ok(None);
        }
        NonZeroU64::new(self.u64()?)
            .map(Some)
            .ok_or(StoreError::Corrupt)
    }

    fn error(&mut self) -> Result<StoreError, StoreError> {
        Ok(match self.u8()? {
            1 => StoreError::KeyLength,
            2 => StoreError::ValueTooLong,
            3 => StoreError::OutOfMemory,
            4 => StoreError::DiskFull,
            5 => StoreError::Unavailable,
            6 => StoreError::OutcomeUnknown,
            7 => StoreError::OperationExpired,
            8 => StoreError::Unsupported,
            9 => StoreError::Corrupt,
            _ => return Err(StoreError::Corrupt),
        })
    }
}

#[cfg(test)]
mod tests;
