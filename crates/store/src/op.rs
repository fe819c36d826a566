//! What an engine can be asked to do with one key, borrowed for the fast way and owned for the
//! slow one.

use crate::{BatchOutcome, Value};
use bytes::Bytes;

/// What must hold of the entry for a write to be applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no entry.
    Absent,
    /// There is an entry, of whichever version.
    Present,
    /// The entry has this version; 0 means [`Condition::Absent`].
    Version(u64),
}

impl Condition {
    /// Whether it holds of an entry with `version`, where 0 is the version of no entry.
    #[must_use]
    pub const fn holds(self, version: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => version == 0,
            Self::Present => version != 0,
            Self::Version(wanted) => version == wanted,
        }
    }
}

/// What a write does to the entry's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// The entry stays until it is deleted.
    #[default]
    Never,
    /// The entry is gone from this time on, in milliseconds since the Unix epoch.
    At(u64),
    /// As it was; a new entry never expires.
    Keep,
}

/// One operation on one key.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// Look the entry up: `Found` or `Missing`.
    Get {
        /// 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
    },
    /// Create or overwrite the entry: `Written` or `Conflict`.
    Set {
        /// 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// The bytes to keep. A [`Value::Shared`] above
        /// [`crate::INLINE_VALUE_BYTES_MAX`] is kept uncopied; everything else is copied.
        value: Value<'a>,
        /// Kept beside the value, not looked at.
        content_type: u8,
        /// What happens to the expiry.
        expiry: Expiry,
        /// What must hold.
        condition: Condition,
        /// Whether the outcome carries the entry as it was before.
        previous: bool,
    },
    /// Remove the entry: `Deleted`, `Missing` or `Conflict`.
    Del {
        /// 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// What must hold.
        condition: Condition,
        /// Whether the outcome carries the entry as it was before.
        previous: bool,
    },
    /// Add to the decimal text in the entry, an absent one counting as 0: `Counted`, `Conflict`
    /// or `WrongType` (other text, or a sum that does not fit).
    Incr {
        /// 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// What to add.
        delta: i64,
        /// What happens to the expiry.
        expiry: Expiry,
        /// What must hold.
        condition: Condition,
    },
    /// Change the expiry alone: `Written` (a touched entry has a new version), `Missing` or
    /// `Conflict`.
    Touch {
        /// 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// What happens to the expiry.
        expiry: Expiry,
        /// What must hold.
        condition: Condition,
    },
}

impl<'a> Op<'a> {
    /// The key it is about.
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        match *self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::Del { key, .. }
            | Self::Incr { key, .. }
            | Self::Touch { key, .. } => key,
        }
    }

    /// Whether it can change the entry.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }

    /// The same operation, owning its bytes.
    #[must_use]
    pub fn to_owned_op(&self) -> OwnedOp {
        let bytes = Bytes::copy_from_slice;
        match *self {
            Self::Get { key } => OwnedOp::Get { key: bytes(key) },
            Self::Set {
                key,
                value,
                content_type,
                expiry,
                condition,
                previous,
            } => OwnedOp::Set {
                key: bytes(key),
                value: value.to_bytes(),
                content_type,
                expiry,
                condition,
                previous,
            },
            Self::Del {
                key,
                condition,
                previous,
            } => OwnedOp::Del {
                key: bytes(key),
                condition,
                previous,
            },
            Self::Incr {
                key,
                delta,
                expiry,
                condition,
            } => OwnedOp::Incr {
                key: bytes(key),
                delta,
                expiry,
                condition,
            },
            Self::Touch {
                key,
                expiry,
                condition,
            } => OwnedOp::Touch {
                key: bytes(key),
                expiry,
                condition,
            },
        }
    }
}

/// An [`Op`] that owns its bytes, for [`crate::Engine::submit`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of `Op`")]
pub enum OwnedOp {
    /// See [`Op::Get`].
    Get { key: Bytes },
    /// See [`Op::Set`].
    Set {
        key: Bytes,
        value: Bytes,
        content_type: u8,
        expiry: Expiry,
        condition: Condition,
        previous: bool,
    },
    /// See [`Op::Del`].
    Del {
        key: Bytes,
        condition: Condition,
        previous: bool,
    },
    /// See [`Op::Incr`].
    Incr {
        key: Bytes,
        delta: i64,
        expiry: Expiry,
        condition: Condition,
    },
    /// See [`Op::Touch`].
    Touch {
        key: Bytes,
        expiry: Expiry,
        condition: Condition,
    },
}

impl OwnedOp {
    /// The operation, borrowed.
    #[must_use]
    pub fn as_op(&self) -> Op<'_> {
        match self {
            Self::Get { key } => Op::Get { key },
            Self::Set {
                key,
                value,
                content_type,
                expiry,
                condition,
                previous,
            } => Op::Set {
                key,
                value: Value::Shared(value),
                content_type: *content_type,
                expiry: *expiry,
                condition: *condition,
                previous: *previous,
            },
            Self::Del {
                key,
                condition,
                previous,
            } => Op::Del {
                key,
                condition: *condition,
                previous: *previous,
            },
            Self::Incr {
                key,
                delta,
                expiry,
                condition,
            } => Op::Incr {
                key,
                delta: *delta,
                expiry: *expiry,
                condition: *condition,
            },
            Self::Touch {
                key,
                expiry,
                condition,
            } => Op::Touch {
                key,
                expiry: *expiry,
                condition: *condition,
            },
        }
    }
}

/// Operations for [`crate::Engine::submit`].
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Executed in this order.
    pub ops: Vec<OwnedOp>,
    /// Whether all conditions must hold for anything to be applied.
    pub atomic: bool,
    /// Names the batch, so that a repeat gets the first answer again instead of a second effect.
    pub operation: Option<OperationId>,
}

/// Names an operation across connections (IDEMPOTENCY): a client counts its operations upwards.
///
/// A repeat within the client's last 1,024 numbers and 24 hours gets the first answer again,
/// without the values beyond 64 KiB of one answer: these come as
/// [`crate::StoreError::OperationExpired`], and so does every repeat that is too old. What failed
/// without a change, for want of memory or disk, is not remembered and may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OperationId {
    /// Chosen at random by the client.
    pub client: [u8; 16],
    /// Never used twice by it for different operations.
    pub number: u64,
}

/// Called exactly once with what became of a [`Batch`], from any thread, possibly before
/// [`crate::Engine::submit`] returns.
pub type Completion = Box<dyn FnOnce(BatchOutcome) + Send>;

/// A [`crate::ScanRange`] that owns its bytes, for [`crate::Engine::submit_scan`].
#[derive(Clone, Debug, Default)]
pub struct OwnedRange {
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Only keys behind this one in the direction of the scan.
    pub after: Option<Bytes>,
    /// Descending instead of ascending.
    pub reverse: bool,
}

impl OwnedRange {
    /// The range, borrowed.
    #[must_use]
    pub fn as_range(&self) -> crate::ScanRange<'_> {
        crate::ScanRange {
            prefix: &self.prefix,
            after: self.after.as_deref(),
            reverse: self.reverse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_documented() {
        for (condition, absent, version_7) in [
            (Condition::Always, true, true),
            (Condition::Absent, true, false),
            (Condition::Present, false, true),
            (Condition::Version(0), true, false),
            (Condition::Version(7), false, true),
            (Condition::Version(8), false, false),
        ] {
            assert_eq!(condition.holds(0), absent, "{condition:?} of no entry");
            assert_eq!(condition.holds(7), version_7, "{condition:?} of version 7");
        }
    }

    #[test]
    fn an_owned_operation_borrows_back_as_itself() {
        let key = b"key".as_slice();
        let condition = Condition::Version(3);
        let expiry = Expiry::At(9);
        let value = Value::Inline(b"value");
        for op in [
            Op::Get { key },
            Op::Set {
                key,
                value,
                content_type: 2,
                expiry,
                condition,
                previous: true,
            },
            Op::Del {
                key,
                condition,
                previous: true,
            },
            Op::Incr {
                key,
                delta: -4,
                expiry,
                condition,
            },
            Op::Touch {
                key,
                expiry,
                condition,
            },
        ] {
            let owned = op.to_owned_op();
            let back = owned.as_op();
            assert_eq!(back.key(), key);
            assert_eq!(back.is_write(), op.is_write());
            // `Value`'s Debug shows the bytes alike in both forms.
            assert_eq!(format!("{back:?}"), format!("{op:?}"));
        }
    }
}
