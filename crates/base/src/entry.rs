//! Entries as the base takes, keeps and gives them.
//!
//! On disk a value is a header of 21 bytes and the value's bytes: CRC-32 (over key, rest of the
//! header, value), version, expiry (0 for none), content type. Owns no meaning of version, expiry
//! or content type.

use std::num::NonZeroU64;

use bytes::Bytes;
use fjall::{Slice, UserValue};

use crate::BaseError;
use crate::keys::{IndexKey, index_key};

const CRC_BYTES: usize = 4;
pub(crate) const HEADER_BYTES: usize = CRC_BYTES + 8 + 8 + 1;

/// Values up to this long are copied out of the block they stand in, so that a small value never
/// holds a block in memory; longer ones stand in a block of their own and leave without a copy.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// An entry read from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub value: Bytes,
    /// The position of the write that made it.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at: Option<NonZeroU64>,
    /// What the writer called the value's type.
    pub content_type: u8,
}

/// An entry on its way into the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRef<'a> {
    /// The value, at most [`crate::VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
    /// The position of the write that made it.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at: Option<NonZeroU64>,
    /// What the writer called the value's type.
    pub content_type: u8,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Carry<'a> {
    /// The key has this entry.
    Put {
        /// The key, 1 to [`crate::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// Its entry.
        entry: StoredRef<'a>,
        /// Whether the base holds the key, when the caller knows. `Some(false)` saves the look-up
        /// and must be true, or the number of keys is wrong from then on. `Some(true)` saves it
        /// while the base holds no expiring entry.
        existed: Option<bool>,
    },
    /// The key has this entry, and the base holds an older one that never expires. The caller
    /// knows: nothing is looked up, and if it is not so the numbers of keys are wrong from then on.
    Replace {
        /// The key.
        key: &'a [u8],
        /// Its entry.
        entry: StoredRef<'a>,
    },
    /// The key has no entry.
    Remove {
        /// The key.
        key: &'a [u8],
    },
}

impl Carry<'_> {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Replace { key, .. } | Self::Remove { key } => key,
        }
    }
}

/// What a batch has to know of the entry it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u64,
    pub(crate) expires_at: Option<NonZeroU64>,
}

/// The bytes kept for `entry` under `key`; `scratch` is only reused for its memory.
pub(crate) fn encode(key: &[u8], entry: &StoredRef<'_>, scratch: &mut Vec<u8>) -> UserValue {
    scratch.clear();
    scratch.extend_from_slice(&[0; CRC_BYTES]);
    scratch.extend_from_slice(&entry.version.to_be_bytes());
    scratch.extend_from_slice(&entry.expires_at.map_or(0, NonZeroU64::get).to_be_bytes());
    scratch.push(entry.content_type);
    scratch.extend_from_slice(entry.value);
    let crc = scratch
        .get(CRC_BYTES..)
        .map_or(0, |sealed| checksum(key, sealed));
    if let Some(place) = scratch.first_chunk_mut() {
        *place = crc.to_be_bytes();
    }
    let bytes = Slice::from(scratch.as_slice());
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = Vec::new();
    }
    bytes
}

/// A scratch larger than this is not kept for the next entry.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The entry in `bytes`, when they are what was once encoded for `key`.
pub(crate) fn decode(key: &[u8], bytes: &UserValue) -> Result<Stored, BaseError> {
    let (header, content_type) = checked(key, bytes)?;
    let value = if bytes.len() - HEADER_BYTES <= COPIED_BYTES_MAX {
        Bytes::copy_from_slice(bytes.get(HEADER_BYTES..).unwrap_or_default())
    } else {
        Bytes::from_owner(bytes.clone()).slice(HEADER_BYTES..)
    };
    Ok(Stored {
        value,
        version: header.version,
        expires_at: header.expires_at,
        content_type,
    })
}

/// Version and expiry of the entry in `bytes`.
pub(crate) fn decode_header(key: &[u8], bytes: &UserValue) -> Result<Header, BaseError> {
    checked(key, bytes).map(|(header, _)| header)
}

fn checked(key: &[u8], bytes: &[u8]) -> Result<(Header, u8), BaseError> {
    let parts = || {
        let (crc, sealed) = bytes.split_first_chunk::<CRC_BYTES>()?;
        if checksum(key, sealed) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (version, rest) = sealed.split_first_chunk::<8>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let header = Header {
            version: u64::from_be_bytes(*version),
            expires_at: NonZeroU64::new(u64::from_be_bytes(*expires_at)),
        };
        Some((header, *rest.first()?))
    };
    parts().ok_or_else(|| {
        BaseError::corrupt(format!(
            "the entry of key {:?} does not carry its checksum",
            shown(key)
        ))
    })
}

/// The start of a key, as an error shows it.
fn shown(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    let start = key.get(..SHOWN_BYTES).unwrap_or(key);
    start.escape_ascii().to_string()
}

/// CRC-32 over the key and what stands behind the checksum. No separator is needed between them:
/// the length of the key is known to whoever checks.
fn checksum(key: &[u8], sealed: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(sealed);
    crc.finalize()
}

impl Header {
    pub(crate) fn of(entry: &StoredRef<'_>) -> Self {
        Self {
            version: entry.version,
            expires_at: entry.expires_at,
        }
    }

    /// Where the index item of this entry stands, when it expires.
    pub(crate) fn index(&self, key: &[u8]) -> Option<IndexKey> {
        self.expires_at
            .map(|time| index_key(key, time, self.version))
    }
}
