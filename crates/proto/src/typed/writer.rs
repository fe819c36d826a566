//! The writer: appends one value to a buffer, piece by piece.

use super::DEPTH_MAX;

/// Why what was written is not one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Arrays and maps nest deeper than [`DEPTH_MAX`].
    #[error("arrays and maps nest deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A string, array or map of more than 2^32-1 elements.
    #[error("more elements than the format can count")]
    TooLong,
    /// More values than the arrays, the maps and the root hold.
    #[error("a value more than was announced")]
    TooMany,
    /// An array, a map or the root lacks values.
    #[error("fewer values than were announced")]
    TooFew,
}

/// Appends exactly one value, however nested, to a buffer.
///
/// Counts come first: `array(2)` announces two values, and the next two calls (with what they
/// contain) are those. A mistake is remembered and told by [`finish`](Self::finish); what was
/// appended until then is of no use.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// How many values each open array or map still needs.
    open: [u64; DEPTH_MAX],
    depth: usize,
    root_written: bool,
    failed: Option<WriteError>,
}

impl<'o> Writer<'o> {
    /// A writer at the end of `out`.
    #[must_use]
    pub const fn new(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            open: [0; DEPTH_MAX],
            depth: 0,
            root_written: false,
            failed: None,
        }
    }

    /// Nothing.
    pub fn nil(&mut self) -> &mut Self {
        self.scalar(&[0xc0])
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.scalar(&[if value { 0xc3 } else { 0xc2 }])
    }

    /// A signed integer, in its shortest form.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if let Ok(value) = u64::try_from(value) {
            return self.uint(value);
        }
        if let Ok(value) = i8::try_from(value) {
            return if value >= -32 {
                self.scalar(&value.to_be_bytes())
            } else {
                self.number(0xd0, value.to_be_bytes())
            };
        }
        if let Ok(value) = i16::try_from(value) {
            self.number(0xd1, value.to_be_bytes())
        } else if let Ok(value) = i32::try_from(value) {
            self.number(0xd2, value.to_be_bytes())
        } else {
            self.number(0xd3, value.to_be_bytes())
        }
    }

    /// An unsigned integer, in its shortest form.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        if let Ok(value) = u8::try_from(value) {
            if value < 0x80 {
                self.scalar(&[value])
            } else {
                self.number(0xcc, [value])
            }
        } else if let Ok(value) = u16::try_from(value) {
            self.number(0xcd, value.to_be_bytes())
        } else if let Ok(value) = u32::try_from(value) {
            self.number(0xce, value.to_be_bytes())
        } else {
            self.number(0xcf, value.to_be_bytes())
        }
    }

    /// A floating-point number.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.number(0xcb, value.to_be_bytes())
    }

    /// Text.
    pub fn str(&mut self, value: &str) -> &mut Self {
        if self.next_value() {
            let small = Small {
                marker: 0xa0,
                below: 32,
            };
            self.count(value.len(), Some(small), Some(0xd9), [0xda, 0xdb]);
            self.out.extend_from_slice(value.as_bytes());
        }
        self
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        if self.next_value() {
            self.count(value.len(), None, Some(0xc4), [0xc5, 0xc6]);
            self.out.extend_from_slice(value);
        }
        self
    }

    /// Announces an array of `len` values.
    pub fn array(&mut self, len: usize) -> &mut Self {
        if self.next_value() {
            self.count(
                len,
                Some(Small {
                    marker: 0x90,
                    below: 16,
                }),
                None,
                [0xdc, 0xdd],
            );
            self.enter(len, 1);
        }
        self
    }

    /// Announces a map of `len` pairs: key, value, key, value ...
    pub fn map(&mut self, len: usize) -> &mut Self {
        if self.next_value() {
            self.count(
                len,
                Some(Small {
                    marker: 0x80,
                    below: 16,
                }),
                None,
                [0xde, 0xdf],
            );
            self.enter(len, 2);
        }
        self
    }

    /// Whether exactly one value was written.
    ///
    /// # Errors
    /// The first mistake, as [`WriteError`].
    pub fn finish(&self) -> Result<(), WriteError> {
        match self.failed {
            Some(error) => Err(error),
            None => {
                let open = self.open.get(..self.depth).unwrap_or_default();
                let whole = self.root_written && open.iter().all(|&needed| needed == 0);
                if whole {
                    Ok(())
                } else {
                    Err(WriteError::TooFew)
                }
            }
        }
    }

    fn scalar(&mut self, bytes: &[u8]) -> &mut Self {
        if self.next_value() {
            self.out.extend_from_slice(bytes);
        }
        self
    }

    fn number<const N: usize>(&mut self, marker: u8, bytes: [u8; N]) -> &mut Self {
        if self.next_value() {
            self.out.push(marker);
            self.out.extend_from_slice(&bytes);
        }
        self
    }

    /// Takes the place of the next value; false when there is none or a mistake was made.
    fn next_value(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        // An array or map stays open until a value follows it, so that its last value nests in it.
        while let Some(top) = self.depth.checked_sub(1) {
            match self.open.get_mut(top) {
                Some(0) | None => self.depth = top,
                Some(needed) => {
                    *needed = needed.saturating_sub(1);
                    return true;
                }
            }
        }
        if self.root_written {
            self.fail(WriteError::TooMany);
            return false;
        }
        self.root_written = true;
        true
    }

    fn enter(&mut self, len: usize, per_element: u64) {
        match self.open.get_mut(self.depth) {
            Some(place) => {
                *place = u64::try_from(len)
                    .unwrap_or(u64::MAX)
                    .saturating_mul(per_element);
                self.depth = self.depth.saturating_add(1);
            }
            None => self.fail(WriteError::TooDeep),
        }
    }

    fn count(&mut self, len: usize, small: Option<Small>, narrow: Option<u8>, wide: [u8; 2]) {
        let Ok(len) = u32::try_from(len) else {
            self.fail(WriteError::TooLong);
            return;
        };
        let bytes = len.to_be_bytes();
        let [_, _, high, low] = bytes;
        match (small, narrow) {
            (Some(small), _) if len < u32::from(small.below) => self.out.push(small.marker | low),
            (_, Some(marker)) if len < 0x100 => self.out.extend_from_slice(&[marker, low]),
            _ if len < 0x1_0000 => self.out.extend_from_slice(&[wide[0], high, low]),
            _ => {
                self.out.push(wide[1]);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    fn fail(&mut self, error: WriteError) {
        self.failed.get_or_insert(error);
    }
}

/// The one-byte form of short strings, arrays and maps.
#[derive(Clone, Copy)]
struct Small {
    marker: u8,
    below: u8,
}
