//! The file that says: this directory is a base, of this format, of this store.
//!
//! Magic (8), format (2), store (16), CRC-32 over what is before it (4). A newer format may be
//! longer, but begins and ends like this one, so that an older version can name it. The file is
//! also what the base's lock is taken on.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::BaseError;

const NAME: &str = "kv-base";
const MAGIC: [u8; 8] = *b"kv base\n";
const FORMAT: u16 = 1;

/// Locks the base and checks that it is one we may open.
pub(super) fn open(dir: &Path, store_id: &[u8; 16]) -> Result<File, BaseError> {
    let doing = "open the marker of the base";
    let path = dir.join(NAME);
    let file = File::open(&path).map_err(|error| BaseError::from_io(error, doing))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => BaseError::Locked,
        other => BaseError::from_io(other.into(), "lock the base"),
    })?;
    let bytes = fs::read(&path).map_err(|error| BaseError::from_io(error, doing))?;
    let (format, store) =
        parse(&bytes).ok_or_else(|| BaseError::corrupt("the marker of the base is damaged"))?;
    if format != FORMAT {
        return Err(BaseError::Newer {
            found: format,
            known: FORMAT,
        });
    }
    if store != store_id {
        return Err(BaseError::OtherStore);
    }
    Ok(file)
}

/// Writes the marker and syncs it.
pub(super) fn write(dir: &Path, store_id: &[u8; 16]) -> io::Result<()> {
    let path = dir.join(NAME);
    fs::write(&path, bytes_of(FORMAT, store_id))?;
    File::open(&path)?.sync_all()
}

fn bytes_of(format: u16, store_id: &[u8; 16]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&format.to_be_bytes());
    bytes.extend_from_slice(store_id);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (sealed, crc) = bytes.split_last_chunk()?;
    let rest = sealed.strip_prefix(&MAGIC)?;
    if crc32fast::hash(sealed) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (format, store) = rest.split_first_chunk()?;
    Some((u16::from_be_bytes(*format), store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_named_and_every_flipped_bit_is_noticed() {
        let bytes = bytes_of(2, &[7; 16]);
        assert_eq!(parse(&bytes), Some((2, &[7; 16][..])));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), &bytes).unwrap();
        assert!(matches!(
            open(dir.path(), &[7; 16]),
            Err(BaseError::Newer { found: 2, known: 1 })
        ));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
    }
}
