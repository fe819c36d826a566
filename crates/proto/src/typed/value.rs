//! The owned tree.

use super::{DEPTH_MAX, Event, Reader, TREE_VALUES_MAX, WriteError, Writer};
use crate::error::{DecodeError, DecodeKind};

/// A typed value that owns what it holds.
///
/// Decoding gives every integer up to `i64::MAX` as [`Value::Int`] and only larger ones as
/// [`Value::UInt`]; `From<u64>` does the same, so that equal numbers compare equal.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
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
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Self>),
    /// Pairs of key and value, in the order of the wire; keys may repeat and be of any type.
    Map(Vec<(Self, Self)>),
}

const _: () = assert!(size_of::<Value>() <= 32);

/// An array or map that is being filled.
enum Open {
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>, Option<Value>),
}

/// An array or map that is being written.
enum Walk<'v> {
    Array(core::slice::Iter<'v, Value>),
    Map(core::slice::Iter<'v, (Value, Value)>, Option<&'v Value>),
}

impl Value {
    /// Decodes exactly one value of at most [`TREE_VALUES_MAX`] values in all.
    ///
    /// # Errors
    /// [`DecodeError`], as [`Reader::next_event`], and one of kind `OutOfRange` for a tree with too
    /// many values.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut open: Vec<Open> = Vec::new();
        let mut root = Self::Nil;
        let mut values = 0_usize;
        while let Some(event) = reader.next_event()? {
            values = values.saturating_add(usize::from(event != Event::End));
            if values > TREE_VALUES_MAX {
                return Err(DecodeError::new(
                    "typed value count",
                    0,
                    DecodeKind::OutOfRange,
                ));
            }
            let value = match event {
                Event::Nil => Self::Nil,
                Event::Bool(value) => Self::Bool(value),
                Event::Int(value) => Self::Int(value),
                Event::UInt(value) => Self::UInt(value),
                Event::Float(value) => Self::Float(value),
                Event::Str(value) => Self::Str(value.to_owned()),
                Event::Bytes(value) => Self::Bytes(value.to_vec()),
                Event::Array(_) => {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
                Event::Map(_) => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                Event::End => match open.pop() {
                    Some(Open::Array(list)) => Self::Array(list),
                    Some(Open::Map(pairs, _)) => Self::Map(pairs),
                    None => Self::Nil,
                },
            };
            match open.last_mut() {
                Some(Open::Array(list)) => list.push(value),
                Some(Open::Map(pairs, key)) => match key.take() {
                    Some(key) => pairs.push((key, value)),
                    None => *key = Some(value),
                },
                None => root = value,
            }
        }
        Ok(root)
    }

    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`WriteError::TooDeep`] or [`WriteError::TooLong`]; `out` is as it was then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let start = out.len();
        let written = self.write(out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let mut writer = Writer::new(out);
        let mut walks: Vec<Walk<'_>> = Vec::new();
        let mut next = Some(self);
        loop {
            if let Some(value) = next {
                if let Some(walk) = value.write_front(&mut writer) {
                    walks.push(walk);
                }
                if walks.len() > DEPTH_MAX {
                    return Err(WriteError::TooDeep);
                }
            }
            let Some(walk) = walks.last_mut() else { break };
            next = match walk {
                Walk::Array(list) => list.next(),
                Walk::Map(pairs, value) => value.take().or_else(|| {
                    let (key, of_key) = pairs.next()?;
                    *value = Some(of_key);
                    Some(key)
                }),
            };
            if next.is_none() {
                walks.pop();
            }
        }
        writer.finish()
    }

    /// Writes a scalar whole, and of an array or map its count.
    fn write_front(&self, writer: &mut Writer<'_>) -> Option<Walk<'_>> {
        match self {
            Self::Nil => writer.nil(),
            Self::Bool(value) => writer.bool(*value),
            Self::Int(value) => writer.int(*value),
            Self::UInt(value) => writer.uint(*value),
            Self::Float(value) => writer.float(*value),
            Self::Str(value) => writer.str(value),
            Self::Bytes(value) => writer.bytes(value),
            Self::Array(list) => {
                writer.array(list.len());
                return Some(Walk::Array(list.iter()));
            }
            Self::Map(pairs) => {
                writer.map(pairs.len());
                return Some(Walk::Map(pairs.iter(), None));
            }
        };
        None
    }

    /// The value under a text key, if this is a map that has it.
    #[must_use]
    pub fn at(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(name, _)| name.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The number, if it is an integer that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            Self::UInt(number) => Some(*number),
            Self::Nil
            | Self::Bool(_)
            | Self::Float(_)
            | Self::Str(_)
            | Self::Bytes(_)
            | Self::Array(_)
            | Self::Map(_) => None,
        }
    }

    /// The values, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(list) = self {
            Some(list)
        } else {
            None
        }
    }

    /// The pairs, if it is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        if let Self::Map(pairs) = self {
            Some(pairs)
        } else {
            None
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}
