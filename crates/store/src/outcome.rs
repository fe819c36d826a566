//! What an engine answers: borrowed while the entry is held, or owned after the slow way.

use crate::{Position, StoreError};
use bytes::Bytes;
use std::fmt;
use std::num::NonZeroU64;

/// The bytes of a value, as they lie in memory.
#[derive(Clone, Copy)]
pub enum Value<'e> {
    /// Beside the entry's other bytes: copy them out.
    Inline(&'e [u8]),
    /// In a buffer of their own, which can be shared without a copy. The buffer should hold
    /// little else: whoever keeps the slice keeps the whole of it.
    Shared(&'e Bytes),
}

impl<'e> Value<'e> {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &'e [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// The bytes, owned: copied when inline, shared when shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Inline(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => Bytes::clone(bytes),
        }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<'e> From<&'e [u8]> for Value<'e> {
    fn from(bytes: &'e [u8]) -> Self {
        Self::Inline(bytes)
    }
}

impl<'e, const N: usize> From<&'e [u8; N]> for Value<'e> {
    fn from(bytes: &'e [u8; N]) -> Self {
        Self::Inline(bytes)
    }
}

impl<'e> From<&'e Bytes> for Value<'e> {
    fn from(bytes: &'e Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Value<'_> {}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value(b\"{}\")", self.as_slice().escape_ascii())
    }
}

/// An entry, borrowed from the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'e> {
    /// Its bytes.
    pub value: Value<'e>,
    /// Strictly increasing per key, also across delete and re-create; never 0.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at: Option<NonZeroU64>,
    /// As given with the value.
    pub content_type: u8,
}

impl Entry<'_> {
    /// The same entry, owning its bytes.
    #[must_use]
    pub fn to_owned_entry(&self) -> OwnedEntry {
        OwnedEntry {
            value: self.value.to_bytes(),
            version: self.version,
            expires_at: self.expires_at,
            content_type: self.content_type,
        }
    }
}

/// What became of one [`crate::Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'e> {
    /// The entry a Get looked for.
    Found(Entry<'e>),
    /// A Get, Del or Touch met no entry (or an expired one), and no condition failed.
    Missing,
    /// A Set or Touch was applied.
    Written {
        /// The entry's new version.
        version: u64,
        /// When the entry expires now.
        expires_at: Option<NonZeroU64>,
        /// The entry before, when it was asked for and there was one.
        previous: Option<Entry<'e>>,
    },
    /// A Del was applied.
    Deleted {
        /// The entry before, when it was asked for.
        previous: Option<Entry<'e>>,
    },
    /// An Incr was applied.
    Counted {
        /// The sum.
        value: i64,
        /// The entry's new version.
        version: u64,
        /// When the entry expires now.
        expires_at: Option<NonZeroU64>,
    },
    /// The condition did not hold; nothing was changed.
    Conflict {
        /// The entry's version, 0 when there is none.
        version: u64,
    },
    /// An Incr met text that is not a decimal `i64`, or a sum that does not fit.
    WrongType,
    /// The engine could not.
    Failed(StoreError),
}

impl Outcome<'_> {
    /// The same outcome, owning its bytes.
    #[must_use]
    pub fn to_owned_outcome(&self) -> OwnedOutcome {
        let owned = |entry: Entry<'_>| entry.to_owned_entry();
        match *self {
            Self::Found(entry) => OwnedOutcome::Found(owned(entry)),
            Self::Missing => OwnedOutcome::Missing,
            Self::Written {
                version,
                expires_at,
                previous,
            } => OwnedOutcome::Written {
                version,
                expires_at,
                previous: previous.map(owned),
            },
            Self::Deleted { previous } => OwnedOutcome::Deleted {
                previous: previous.map(owned),
            },
            Self::Counted {
                value,
                version,
                expires_at,
            } => OwnedOutcome::Counted {
                value,
                version,
                expires_at,
            },
            Self::Conflict { version } => OwnedOutcome::Conflict { version },
            Self::WrongType => OwnedOutcome::WrongType,
            Self::Failed(error) => OwnedOutcome::Failed(error),
        }
    }
}

/// An [`Entry`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Entry`")]
pub struct OwnedEntry {
    pub value: Bytes,
    pub version: u64,
    pub expires_at: Option<NonZeroU64>,
    pub content_type: u8,
}

impl OwnedEntry {
    /// The entry, borrowed.
    #[must_use]
    pub fn as_entry(&self) -> Entry<'_> {
        Entry {
            value: Value::Shared(&self.value),
            version: self.version,
            expires_at: self.expires_at,
            content_type: self.content_type,
        }
    }
}

/// An [`Outcome`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "variants and fields are those of `Outcome`")]
pub enum OwnedOutcome {
    Found(OwnedEntry),
    Missing,
    Written {
        version: u64,
        expires_at: Option<NonZeroU64>,
        previous: Option<OwnedEntry>,
    },
    Deleted {
        previous: Option<OwnedEntry>,
    },
    Counted {
        value: i64,
        version: u64,
        expires_at: Option<NonZeroU64>,
    },
    Conflict {
        version: u64,
    },
    WrongType,
    Failed(StoreError),
}

impl OwnedOutcome {
    /// The outcome, borrowed.
    #[must_use]
    pub fn as_outcome(&self) -> Outcome<'_> {
        match self {
            Self::Found(entry) => Outcome::Found(entry.as_entry()),
            Self::Missing => Outcome::Missing,
            Self::Written {
                version,
                expires_at,
                previous,
            } => Outcome::Written {
                version: *version,
                expires_at: *expires_at,
                previous: previous.as_ref().map(OwnedEntry::as_entry),
            },
            Self::Deleted { previous } => Outcome::Deleted {
                previous: previous.as_ref().map(OwnedEntry::as_entry),
            },
            Self::Counted {
                value,
                version,
                expires_at,
            } => Outcome::Counted {
                value: *value,
                version: *version,
                expires_at: *expires_at,
            },
            Self::Conflict { version } => Outcome::Conflict { version: *version },
            Self::WrongType => Outcome::WrongType,
            Self::Failed(error) => Outcome::Failed(*error),
        }
    }
}

/// What became of a [`crate::Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Executed: one outcome per operation, in order.
    Done(Vec<OwnedOutcome>),
    /// Atomic, and refused: nothing was applied.
    Refused {
        /// Which operation stood in the way.
        index: usize,
        /// How: `Conflict`, `WrongType` or `Failed`.
        outcome: OwnedOutcome,
    },
    /// The batch as a whole could not be executed.
    Failed(StoreError),
}

/// Takes outcomes as they come.
///
/// Called while the entry is held: copy what is needed and return. It must not call the engine,
/// which would wait for itself.
pub trait Sink {
    /// Takes the outcome of `ops[index]`, which may be shown once everything up to `after` is
    /// durable.
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, after: Position);
}

/// Any closure of the right shape is a sink.
impl<F: FnMut(usize, Outcome<'_>, Position)> Sink for F {
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, after: Position) {
        self(index, outcome, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_outcome_borrows_back_as_itself() {
        let value = Bytes::from_static(b"text");
        let expires_at = NonZeroU64::new(12);
        let entry = Entry {
            value: Value::Shared(&value),
            version: 4,
            expires_at,
            content_type: 1,
        };
        for outcome in [
            Outcome::Found(entry),
            Outcome::Missing,
            Outcome::Written {
                version: 5,
                expires_at,
                previous: Some(entry),
            },
            Outcome::Deleted { previous: None },
            Outcome::Counted {
                value: -1,
                version: 6,
                expires_at: None,
            },
            Outcome::Conflict { version: 4 },
            Outcome::WrongType,
            Outcome::Failed(StoreError::OutOfMemory),
        ] {
            assert_eq!(outcome.to_owned_outcome().as_outcome(), outcome);
        }
    }

    #[test]
    fn a_shared_value_is_owned_without_a_copy() {
        let value = Bytes::from(vec![7; 100]);
        assert_eq!(Value::Shared(&value).to_bytes().as_ptr(), value.as_ptr());
        assert_ne!(Value::Inline(&value).to_bytes().as_ptr(), value.as_ptr());
    }
}
