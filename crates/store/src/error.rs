//! What can go wrong in an engine, and whose fault it is.

/// Why an engine did not do what it was asked.
///
/// A condition that did not hold, a missing key and a value of the wrong kind are outcomes, not
/// errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key is empty or longer than [`crate::KEY_BYTES_MAX`].
    #[error("key length is not between 1 and 65535 bytes")]
    KeyLength,
    /// The value is longer than the engine can hold.
    #[error("value is too long")]
    ValueTooLong,
    /// The memory limit is reached, or the allocator refused. Nothing was changed.
    #[error("out of memory")]
    OutOfMemory,
    /// The disk is full. Nothing was changed.
    #[error("disk full")]
    DiskFull,
    /// The engine cannot be reached or is stopping. Nothing was changed.
    #[error("store is unavailable")]
    Unavailable,
    /// The write may or may not have been applied.
    #[error("outcome of the write is unknown")]
    OutcomeUnknown,
    /// An operation with this number is older than what is remembered of its client; it may have
    /// been applied. Or it was, and its answer was too long to be kept for a repeat.
    #[error("too old to tell whether the operation was applied")]
    OperationExpired,
    /// The engine does not do this.
    #[error("not supported by this engine")]
    Unsupported,
    /// What is stored does not carry its checksum.
    #[error("stored data is corrupt")]
    Corrupt,
}

/// Whose fault an error is, and whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller's: asking again gives the same answer.
    Caller,
    /// Not applied; asking again later can succeed.
    Retryable,
    /// May have been applied.
    Unknown,
    /// No room: not applied, and not before something is freed.
    Capacity,
    /// The engine is broken.
    Fatal,
}

impl StoreError {
    /// Whose fault this is.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::KeyLength | Self::ValueTooLong | Self::Unsupported => Blame::Caller,
            Self::OutOfMemory | Self::DiskFull => Blame::Capacity,
            Self::Unavailable => Blame::Retryable,
            Self::OutcomeUnknown | Self::OperationExpired => Blame::Unknown,
            Self::Corrupt => Blame::Fatal,
        }
    }
}

const _: () = assert!(size_of::<StoreError>() == 1, "outcomes carry this by value");
