//! Keys of the index by expiry and of `meta`, and what stands under them.
//!
//! `exp`: time (8), version (8), CRC-32 of the user's key (4) gives CRC-32 over both (4) and the
//! user's key. The user's key cannot stand in the index key: 65,535 bytes are fjall's limit too.
//! The CRC in the index key keeps two entries apart that share time and version.
//! `meta`: `s` gives the state, `b` and a name a blob behind its CRC-32.

use std::num::NonZeroU64;

use fjall::{UserKey, UserValue};

use crate::entry::Header;
use crate::{BLOB_NAME_BYTES_MAX, BaseError};

/// Key of the state in `meta`.
pub(crate) const STATE: &[u8] = b"s";

/// Prefix of the keys of blobs in `meta`.
pub(crate) const BLOB: u8 = b'b';

pub(crate) const INDEX_BYTES: usize = 20;

/// Key of one item of the index by expiry; ordered by time.
pub(crate) type IndexKey = [u8; INDEX_BYTES];

/// Where the index item of an entry stands.
pub(crate) fn index_key(key: &[u8], expires_at: NonZeroU64, version: u64) -> IndexKey {
    let mut index = [0; INDEX_BYTES];
    let parts = expires_at
        .get()
        .to_be_bytes()
        .into_iter()
        .chain(version.to_be_bytes())
        .chain(crc32fast::hash(key).to_be_bytes());
    for (place, byte) in index.iter_mut().zip(parts) {
        *place = byte;
    }
    index
}

/// What an index key says of its entry; `None` when it is not one.
pub(crate) fn index_parts(index: &[u8]) -> Option<Header> {
    let (time, rest) = index.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    (rest.len() == 4).then_some(())?;
    Some(Header {
        version: u64::from_be_bytes(*version),
        expires_at: Some(NonZeroU64::new(u64::from_be_bytes(*time))?),
    })
}

/// The bytes that stand under `name` with a checksum over both.
pub(crate) fn seal(name: &[u8], value: &[u8]) -> UserValue {
    let mut sealed = Vec::with_capacity(4 + value.len());
    sealed.extend_from_slice(&sealed_crc(name, value).to_be_bytes());
    sealed.extend_from_slice(value);
    sealed.into()
}

/// What was sealed under `name`; `None` when the checksum does not hold.
pub(crate) fn unseal<'a>(name: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, value) = sealed.split_first_chunk()?;
    (sealed_crc(name, value) == u32::from_be_bytes(*crc)).then_some(value)
}

fn sealed_crc(name: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name);
    crc.update(value);
    crc.finalize()
}

/// Where the blob of this name stands.
pub(crate) fn blob_key(name: &[u8]) -> Result<UserKey, BaseError> {
    if name.is_empty() || name.len() > BLOB_NAME_BYTES_MAX {
        return Err(BaseError::KeyLength);
    }
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(BLOB);
    key.extend_from_slice(name);
    Ok(key.into())
}
