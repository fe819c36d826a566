//! What can go wrong in the base.

use std::io;

/// Why the base did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// What is on disk is not what was written; `what` names it.
    #[error("the base is corrupt: {what}")]
    Corrupt {
        /// Which file or entry, and how it was noticed.
        what: String,
    },
    /// The operating system refused; `while_doing` says what was tried.
    #[error("{while_doing}: {source}")]
    Io {
        /// What was tried.
        while_doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write or a background flush failed: nothing is written any more and what was
    /// not finished has to come from the log again.
    #[error("the base takes no writes: an earlier write or flush failed")]
    Poisoned,
    /// The base was written by a newer version of kv.
    #[error("the base has format {found}, this version knows up to {known}")]
    Newer {
        /// Format of the base.
        found: u16,
        /// Newest format known here.
        known: u16,
    },
    /// The base belongs to another store.
    #[error("the base belongs to another store")]
    OtherStore,
    /// Another process, or this one, has the base open.
    #[error("the base is open already")]
    Locked,
    /// There is no base in the directory (only from a check, which never makes one).
    #[error("there is no base")]
    Absent,
    /// The key, or the name of a blob, is empty or too long.
    #[error("key length is out of bounds")]
    KeyLength,
    /// The value is longer than [`crate::VALUE_BYTES_MAX`].
    #[error("value is too long")]
    ValueTooLong,
}

const _: () = assert!(size_of::<BaseError>() <= 40);

impl BaseError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// What fjall said while doing something.
    pub(crate) fn from_fjall(error: fjall::Error, while_doing: &'static str) -> Self {
        match error {
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                Self::from_io(source, while_doing)
            }
            fjall::Error::Poisoned => Self::Poisoned,
            fjall::Error::Locked => Self::Locked,
            other => Self::corrupt(format!("{while_doing}: {other}")),
        }
    }

    /// A file that is missing or ends early is damage, not the operating system's refusal.
    pub(crate) fn from_io(source: io::Error, while_doing: &'static str) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotFound
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => Self::corrupt(format!("{while_doing}: {source}")),
            _ => Self::Io {
                while_doing,
                source,
            },
        }
    }
}
