//! The pull reader: one event per value, over borrowed bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::DEPTH_MAX;
use crate::error::{DecodeError, DecodeKind};

/// What [`Reader::next_event`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer of at most `i64::MAX`.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// That many values follow, then [`Event::End`].
    Array(u32),
    /// That many pairs of key and value follow, then [`Event::End`].
    Map(u32),
    /// The innermost array or map is over.
    End,
}

/// Reads exactly one value, however nested, and nothing after it.
///
/// Invariants: `open[..depth]` holds how many values each open array or map still owes; `owed` is
/// the sum over them and over the root; every value owed has at least one byte left to be in.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    open: [u64; DEPTH_MAX],
    depth: usize,
    owed: u64,
    failed: Option<DecodeError>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            rest: bytes,
            open: [0; DEPTH_MAX],
            depth: 0,
            owed: 1,
            failed: None,
        }
    }

    /// The next event; `None` when the value is complete and no byte is left.
    ///
    /// # Errors
    /// [`DecodeError`] at the first byte that is not part of a typed value. The reader stays at it:
    /// further calls give the same error.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = self.rest;
        self.step().map_err(|kind| {
            let offset = self.bytes.len().saturating_sub(start.len());
            let error = DecodeError::new("typed value", offset, kind);
            self.failed = Some(error);
            error
        })
    }

    /// Reads to the end of the value that starts here, without looking into it.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        let depth = self.depth;
        while self.next_event()?.is_some() && self.depth > depth {}
        Ok(())
    }

    /// How many arrays and maps are open.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }

    fn step(&mut self) -> Result<Option<Event<'a>>, DecodeKind> {
        match self
            .depth
            .checked_sub(1)
            .and_then(|top| self.open.get_mut(top))
        {
            Some(0) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(Some(Event::End));
            }
            Some(owed) => *owed = owed.saturating_sub(1),
            None if self.owed == 0 => {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(DecodeKind::Trailing)
                };
            }
            None => {}
        }
        self.owed = self.owed.saturating_sub(1);
        let [marker] = self.array()?;
        self.value(marker).map(Some)
    }

    fn value(&mut self, marker: u8) -> Result<Event<'a>, DecodeKind> {
        Ok(match marker {
            0x00..=0x7f => Event::Int(i64::from(marker)),
            0x80..=0x8f => self.map(u32::from(marker & 0x0f))?,
            0x90..=0x9f => self.list(u32::from(marker & 0x0f))?,
            0xa0..=0xbf => self.text(u32::from(marker & 0x1f))?,
            0xc0 => Event::Nil,
            0xc2 => Event::Bool(false),
            0xc3 => Event::Bool(true),
            0xc4..=0xc6 => {
                let len = self.width(marker, 0xc4)?;
                Event::Bytes(self.take(len)?)
            }
            0xca => Event::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Event::Float(f64::from_be_bytes(self.array()?)),
            0xcc..=0xce => Event::Int(i64::from(self.width(marker, 0xcc)?)),
            0xcf => {
                let number = u64::from_be_bytes(self.array()?);
                i64::try_from(number).map_or(Event::UInt(number), Event::Int)
            }
            0xd0 => Event::Int(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => Event::Int(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Event::Int(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => Event::Int(i64::from_be_bytes(self.array()?)),
            0xd9..=0xdb => {
                let len = self.width(marker, 0xd9)?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let count = self.width(marker, 0xdb)?;
                self.list(count)?
            }
            0xde | 0xdf => {
                let count = self.width(marker, 0xdd)?;
                self.map(count)?
            }
            0xe0..=0xff => Event::Int(i64::from(i8::from_be_bytes([marker]))),
            // 0xc1 is never used; the others are extension types.
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return Err(DecodeKind::Unknown(marker)),
        })
    }

    fn list(&mut self, count: u32) -> Result<Event<'a>, DecodeKind> {
        self.enter(u64::from(count))?;
        Ok(Event::Array(count))
    }

    fn map(&mut self, count: u32) -> Result<Event<'a>, DecodeKind> {
        self.enter(u64::from(count).saturating_mul(2))?;
        Ok(Event::Map(count))
    }

    /// Opens an array or map of `values` values. Each takes a byte at least, and so does each one
    /// that the outer ones still owe: a count beyond that is false, and is refused before anyone
    /// allocates for it.
    fn enter(&mut self, values: u64) -> Result<(), DecodeKind> {
        let owed = self.owed.saturating_add(values);
        if u64::try_from(self.rest.len()).is_ok_and(|left| owed > left) {
            return Err(DecodeKind::Truncated);
        }
        let place = self
            .open
            .get_mut(self.depth)
            .ok_or(DecodeKind::OutOfRange)?;
        *place = values;
        self.depth = self.depth.saturating_add(1);
        self.owed = owed;
        Ok(())
    }

    fn text(&mut self, len: u32) -> Result<Event<'a>, DecodeKind> {
        let bytes = self.take(len)?;
        core::str::from_utf8(bytes)
            .map(Event::Str)
            .map_err(|_| DecodeKind::Utf8)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], DecodeKind> {
        let len = usize::try_from(len).map_err(|_| DecodeKind::Truncated)?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeKind::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeKind> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeKind::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// An unsigned number of 8, 16 or 32 bits, by how far `marker` is from the marker of the
    /// 8-bit form (for counts, where that form would be).
    fn width(&mut self, marker: u8, narrow: u8) -> Result<u32, DecodeKind> {
        Ok(match marker.saturating_sub(narrow) {
            0 => u32::from(u8::from_be_bytes(self.array()?)),
            1 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        })
    }
}
