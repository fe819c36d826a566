//! Compressed values: `original_len u32 || LZ4 block`.
//!
//! Compression is of whole messages, before they are cut; decompression happens after the tag was
//! verified. Nothing is allocated from a declared length beyond the limit in force and beyond what a
//! block of that size can expand to.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use crate::error::ErrorCode;

/// Bytes of `original_len`.
const LENGTH: usize = 4;
/// No LZ4 byte stands for more than 255 bytes of output ...
const EXPANSION_MAX: usize = 255;
/// ... but for the match length that a token itself holds.
const EXPANSION_SLACK: usize = 64;

/// Why a compressed value was refused. The request dies with it, not the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It is not a block that gives exactly the declared number of bytes.
    #[error("not a compressed value of its declared length")]
    Malformed,
    /// The allocator had no memory for it.
    #[error("no memory for a decompressed value")]
    OutOfMemory,
    /// It declares more bytes than a message may have.
    #[error("compressed value of {declared} bytes, the limit is {max}")]
    TooLong {
        /// Its `original_len`.
        declared: usize,
        /// The limit.
        max: usize,
    },
}

impl DecompressError {
    /// The code to answer with.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::InvalidArgument,
            Self::OutOfMemory => ErrorCode::Overloaded,
            Self::TooLong { .. } => ErrorCode::TooLarge,
        }
    }
}

/// The compressed form of a value; `None` when it is not smaller, and the value goes as it is.
#[must_use]
pub fn compress(value: &[u8]) -> Option<Vec<u8>> {
    let original_len = u32::try_from(value.len()).ok()?;
    let mut out = vec![0; get_maximum_output_size(value.len()).checked_add(LENGTH)?];
    let (length, block) = out.split_at_mut_checked(LENGTH)?;
    length.copy_from_slice(&original_len.to_be_bytes());
    let len = compress_into(value, block).ok()?.checked_add(LENGTH)?;
    if len >= value.len() {
        return None;
    }
    out.truncate(len);
    Some(out)
}

/// The value that `compressed` stands for, of at most `max` bytes.
///
/// # Errors
/// [`DecompressError`].
pub fn decompress(compressed: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let (length, block) = compressed
        .split_first_chunk::<LENGTH>()
        .ok_or(DecompressError::Malformed)?;
    let declared = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if declared > max {
        return Err(DecompressError::TooLong { declared, max });
    }
    let reachable = block
        .len()
        .saturating_mul(EXPANSION_MAX)
        .saturating_add(EXPANSION_SLACK);
    if declared > reachable {
        return Err(DecompressError::Malformed);
    }
    let mut value = Vec::new();
    value
        .try_reserve_exact(declared)
        .map_err(|_| DecompressError::OutOfMemory)?;
    value.resize(declared, 0);
    match decompress_into(block, &mut value) {
        Ok(len) if len == declared => Ok(value),
        Ok(_) | Err(_) => Err(DecompressError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1024 * 1024;

    fn with_length(compressed: &[u8], declared: usize) -> Vec<u8> {
        let declared = u32::try_from(declared).unwrap().to_be_bytes();
        [&declared, &compressed[LENGTH..]].concat()
    }

    #[test]
    fn only_what_became_smaller_is_compressed() {
        assert_eq!(compress(b""), None);
        assert_eq!(compress(b"short"), None);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = (0..1_000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        assert_eq!(compress(&noise), None);
        let text = b"the same words again, ".repeat(50);
        let compressed = compress(&text).unwrap();
        assert!(compressed.len() < text.len() / 5);
        assert_eq!(compressed[..4], [0, 0, 4, 76]);
        assert_eq!(decompress(&compressed, MAX), Ok(text));
    }

    #[test]
    fn a_value_of_the_longest_length_passes_and_one_byte_more_does_not() {
        let compressed = compress(&vec![7; 10_000]).unwrap();
        assert!(decompress(&compressed, 10_000).is_ok());
        let error = decompress(&compressed, 9_999).unwrap_err();
        assert_eq!(
            error,
            DecompressError::TooLong {
                declared: 10_000,
                max: 9_999
            }
        );
        assert_eq!(error.error_code(), ErrorCode::TooLarge);
    }

    #[test]
    fn a_false_length_is_refused_both_ways() {
        let compressed = compress(&vec![7; 10_000]).unwrap();
        for declared in [0, 1, 9_999, 10_001, 20_000, MAX] {
            let lie = with_length(&compressed, declared);
            assert_eq!(
                decompress(&lie, MAX),
                Err(DecompressError::Malformed),
                "{declared}"
            );
        }
    }

    #[test]
    fn a_length_that_the_block_cannot_reach_allocates_nothing() {
        let lie = with_length(&compress(&vec![7; 10_000]).unwrap()[..8], 16 * MAX);
        assert_eq!(
            decompress(&lie, usize::MAX),
            Err(DecompressError::Malformed)
        );
    }

    #[test]
    fn the_strongest_compression_is_within_the_expansion_bound() {
        let zeros = vec![0; 16 * MAX];
        let compressed = compress(&zeros).unwrap();
        assert!(zeros.len() > 250 * compressed.len());
        assert_eq!(decompress(&compressed, zeros.len()), Ok(zeros));
    }

    #[test]
    fn cut_and_damaged_blocks_are_refused() {
        let compressed = compress(&b"abcdefgh".repeat(40)).unwrap();
        for end in 0..compressed.len() {
            assert_eq!(
                decompress(&compressed[..end], MAX),
                Err(DecompressError::Malformed),
                "{end}"
            );
        }
        for block in [
            &[][..],
            &[0xf0],
            &[0x00, 0x00, 0x00],
            &[0x10, b'a', 0xff, 0xff],
        ] {
            let whole = [&[0, 0, 0, 9], block].concat();
            assert_eq!(decompress(&whole, MAX), Err(DecompressError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            piece in prop::collection::vec(any::<u8>(), 1..40),
            times in 1..200_usize,
        ) {
            let value = piece.repeat(times);
            if let Some(compressed) = compress(&value) {
                prop_assert!(compressed.len() < value.len());
                prop_assert_eq!(decompress(&compressed, value.len()), Ok(value));
            }
        }

        #[test]
        fn any_block_gives_its_declared_length_or_an_error(
            declared in 0..5_000_u32,
            block in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let whole = [&declared.to_be_bytes(), block.as_slice()].concat();
            if let Ok(value) = decompress(&whole, 4_000) {
                prop_assert_eq!(value.len(), usize::try_from(declared).unwrap());
                prop_assert!(value.len() <= 4_000);
            }
        }
    }
}
