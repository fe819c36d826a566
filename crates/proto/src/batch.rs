//! BATCH bodies: inner frames, each a 16-byte header, extension block, key and value, without a tag.
//!
//! A body is walked over as a whole before any item is handed out, because nothing of a malformed
//! one may be applied; walking reads headers only. What an item asks for is judged by its reader:
//! an inner opcode that is not allowed is that item's own error.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

use crate::error::{DecodeError, DecodeKind, ErrorCode};
use crate::header::{Flags, HEADER_LEN, Header, VERSION_2};
use crate::limits::BATCH_ITEMS_MAX;
use crate::opcode::{Opcode, OpcodeByte};

/// Why the value of a BATCH, or of its reply, was refused. Nothing of it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is not a sequence of whole inner frames.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// It has more than [`BATCH_ITEMS_MAX`] items.
    #[error("more than {BATCH_ITEMS_MAX} items")]
    TooManyItems,
}

impl BatchError {
    /// The code to answer with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::InvalidArgument,
            Self::TooManyItems => ErrorCode::TooLarge,
        }
    }
}

/// Which side wrote a body: request items have id 0, replies the index of their item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Requests,
    Replies,
}

/// A body that was found to be whole.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// One inner frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// Its command; may be one that has no place in a BATCH.
    pub opcode: OpcodeByte,
    /// Its extension block.
    pub ext: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Walks over the value of a BATCH request.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn requests(value: &'a [u8]) -> Result<Self, BatchError> {
        Self::walk(value, Form::Requests)
    }

    /// Walks over the value of the OK that answers a BATCH.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn replies(value: &'a [u8]) -> Result<Self, BatchError> {
        Self::walk(value, Form::Replies)
    }

    fn walk(bytes: &'a [u8], form: Form) -> Result<Self, BatchError> {
        let mut rest = bytes;
        let mut len = 0_usize;
        while !rest.is_empty() {
            if len >= BATCH_ITEMS_MAX {
                return Err(BatchError::TooManyItems);
            }
            let offset = bytes.len().saturating_sub(rest.len());
            let (header, _, after) =
                split(rest).map_err(|kind| DecodeError::new("batch item", offset, kind))?;
            check(&header, len, form)
                .map_err(|kind| DecodeError::new("batch item header", offset, kind))?;
            rest = after;
            len = len.saturating_add(1);
        }
        Ok(Self { bytes, len })
    }

    /// The items, in order.
    #[must_use]
    pub const fn iter(&self) -> BatchItems<'a> {
        BatchItems {
            rest: self.bytes,
            len: self.len,
        }
    }

    /// How many items it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no item, which is allowed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<'a> IntoIterator for &Batch<'a> {
    type Item = BatchItem<'a>;
    type IntoIter = BatchItems<'a>;

    fn into_iter(self) -> BatchItems<'a> {
        self.iter()
    }
}

/// Iterates over the items of a [`Batch`].
#[derive(Clone, Debug)]
pub struct BatchItems<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = BatchItem<'a>;

    fn next(&mut self) -> Option<BatchItem<'a>> {
        // The walk has seen every item, so an error cannot come here.
        let (header, body, after) = split(self.rest).ok()?;
        let (ext, body) = body.split_at_checked(usize::from(header.ext_len))?;
        let (key, value) = body.split_at_checked(usize::from(header.key_len))?;
        self.rest = after;
        self.len = self.len.saturating_sub(1);
        Some(BatchItem {
            opcode: header.opcode,
            ext,
            key,
            value,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for BatchItems<'_> {}

/// The header and body of the first inner frame, and what follows it.
fn split(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), DecodeKind> {
    let (raw, rest) = bytes
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(DecodeKind::Truncated)?;
    let header = Header::parse(raw).map_err(|_| DecodeKind::OutOfRange)?;
    let len = usize::try_from(header.body_len()).map_err(|_| DecodeKind::Truncated)?;
    let (body, after) = rest.split_at_checked(len).ok_or(DecodeKind::Truncated)?;
    Ok((header, body, after))
}

/// The form of an inner header. Which commands a BATCH may contain is not judged here.
fn check(header: &Header, index: usize, form: Form) -> Result<(), DecodeKind> {
    let id = match form {
        Form::Requests => Some(0),
        Form::Replies => u32::try_from(index).ok(),
    };
    if header.version != VERSION_2 || Some(header.request_id) != id {
        return Err(DecodeKind::OutOfRange);
    }
    if header.flags != Flags::NONE {
        return Err(DecodeKind::Reserved);
    }
    Ok(())
}

/// Appends inner frames to a buffer.
#[derive(Debug)]
pub struct BatchWriter<'o> {
    out: &'o mut Vec<u8>,
    len: usize,
    form: Form,
}

/// Why an item was not added. The buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchWriteError {
    /// A part is longer than its length field can say.
    #[error("a part of the item is longer than the format allows")]
    TooLong,
    /// The body has [`BATCH_ITEMS_MAX`] items already.
    #[error("more than {BATCH_ITEMS_MAX} items")]
    TooManyItems,
}

impl<'o> BatchWriter<'o> {
    /// Writes request items at the end of `out`.
    #[must_use]
    pub const fn requests(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            len: 0,
            form: Form::Requests,
        }
    }

    /// Writes replies at the end of `out`, the one to the first item first.
    #[must_use]
    pub const fn replies(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            len: 0,
            form: Form::Replies,
        }
    }

    /// Adds an item.
    ///
    /// # Errors
    /// [`BatchWriteError`].
    pub fn item(
        &mut self,
        opcode: Opcode,
        ext: &[u8],
        key: &[u8],
        value: &[u8],
    ) -> Result<(), BatchWriteError> {
        if self.len >= BATCH_ITEMS_MAX {
            return Err(BatchWriteError::TooManyItems);
        }
        let request_id = match self.form {
            Form::Requests => 0,
            Form::Replies => u32::try_from(self.len).map_err(|_| BatchWriteError::TooManyItems)?,
        };
        let header = Header {
            version: VERSION_2,
            opcode: opcode.into(),
            request_id,
            flags: Flags::NONE,
            ext_len: u8::try_from(ext.len()).map_err(|_| BatchWriteError::TooLong)?,
            key_len: u16::try_from(key.len()).map_err(|_| BatchWriteError::TooLong)?,
            value_len: u32::try_from(value.len()).map_err(|_| BatchWriteError::TooLong)?,
        };
        self.out.extend_from_slice(&header.to_bytes());
        self.out.extend_from_slice(ext);
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value);
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// How many items were added.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests;
