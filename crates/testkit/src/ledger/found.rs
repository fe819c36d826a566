//! What was found after a crash, and what must not be.

use std::fmt;

use super::number_of;

/// An entry as it was read after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number its value was made from; none when no write has this value.
    pub number: Option<u64>,
    /// Its version.
    pub version: u64,
}

impl Found {
    /// From the bytes that were read.
    #[must_use]
    pub fn read(key: &[u8], value: &[u8], version: u64) -> Self {
        Self {
            number: number_of(key, value),
            version,
        }
    }
}

/// Something that no crash excuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// An acknowledged write is gone.
    Gone {
        /// Of the entry.
        key: Vec<u8>,
        /// Of the write.
        number: u64,
    },
    /// What is there is neither the acknowledged state nor a later write: something older, or
    /// removed, or under another version.
    Back {
        /// Of the entry.
        key: Vec<u8>,
        /// Number, if there was an entry, and version.
        acknowledged: (Option<u64>, u64),
        /// Number and version.
        found: (u64, u64),
    },
    /// A value that nobody wrote under this key.
    WrongValue {
        /// Of the entry.
        key: Vec<u8>,
    },
    /// One half of an atomic batch without the other.
    Half {
        /// Of the first entry.
        key: Vec<u8>,
        /// Of the other.
        partner: Vec<u8>,
        /// Of the writes that were found.
        numbers: (Option<u64>, Option<u64>),
    },
    /// A key that nobody ever wrote.
    Unheard {
        /// The key.
        key: Vec<u8>,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { key, number } => {
                write!(f, "{}: write {number} is gone", key.escape_ascii())
            }
            Self::Back {
                key,
                acknowledged: (number, version),
                found,
            } => {
                write!(f, "{}: acknowledged ", key.escape_ascii())?;
                match number {
                    Some(number) => write!(f, "write {number}, version {version}")?,
                    None => write!(f, "its removal after version {version}")?,
                }
                write!(f, "; found write {}, version {}", found.0, found.1)
            }
            Self::WrongValue { key } => {
                write!(f, "{}: a value that nobody wrote", key.escape_ascii())
            }
            Self::Half {
                key,
                partner,
                numbers,
            } => {
                let (key, partner) = (key.escape_ascii(), partner.escape_ascii());
                write!(f, "{key} and {partner} were written as one: {numbers:?}")
            }
            Self::Unheard { key } => write!(f, "{}: never written", key.escape_ascii()),
        }
    }
}
