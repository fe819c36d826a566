//! The list of tables of one of fjall's trees.
//!
//! `current` names the list `v<number>` and its checksum. fjall writes that checksum and does not
//! compare it when it reads, and it deletes a tree without `current` as one never finished. Both
//! would lose entries without a word.

use std::fs;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::BaseError;

/// Checks that the list of tables of the tree in `dir` is the one that was written.
pub(super) fn inspect(dir: &Path, tree: u64) -> Result<(), BaseError> {
    let doing = "read the list of tables";
    let current =
        fs::read(dir.join("current")).map_err(|error| BaseError::from_io(error, doing))?;
    let damaged = |what: &str| BaseError::corrupt(format!("{what} of tree {tree} is damaged"));
    let (number, checksum) = parse(&current).ok_or_else(|| damaged("the file `current`"))?;
    let list = fs::read(dir.join(format!("v{number}")))
        .map_err(|error| BaseError::from_io(error, doing))?;
    if xxh3_128(&list) != checksum {
        return Err(damaged("the list of tables"));
    }
    Ok(())
}

#[expect(clippy::little_endian_bytes, reason = "fjall's files are")]
fn parse(current: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = current.split_first_chunk()?;
    let (checksum, kind) = rest.split_first_chunk()?;
    (kind == [0]).then_some((u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}
