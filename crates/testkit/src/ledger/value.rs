//! Values that tell which write they come from, every byte of them.

use crate::rng::Rng;

/// The most bytes a value has, and the fewest: the number, and as much again to tell it from any other.
const VALUE_LEN_MAX: usize = 40_000;
const VALUE_LEN_MIN: usize = 16;
/// Behind the number a value repeats this many bytes: a prime, so that no page is like another.
const PATTERN_LEN: usize = 1_021;

/// The value that write `number` gives to `key`: mostly short, rarely some ten thousand bytes. Keys
/// that begin with `bulk.` have long ones only, those that begin with `small.` short ones.
#[must_use]
pub fn value_of(key: &[u8], number: u64) -> Vec<u8> {
    let mut mix = number;
    for byte in key {
        mix = mix.wrapping_mul(0x0100_0000_01B3) ^ u64::from(*byte);
    }
    let mut rng = Rng::new(mix);
    let len = if key.starts_with(b"bulk.") {
        VALUE_LEN_MAX - rng.below(1_000)
    } else if key.starts_with(b"small.") {
        rng.below(48)
    } else {
        match rng.below(16) {
            0 => rng.below(VALUE_LEN_MAX),
            1..4 => rng.below(4_000),
            _ => rng.below(200),
        }
    };
    let len = len.max(VALUE_LEN_MIN);
    let mut pattern = Vec::with_capacity(PATTERN_LEN + 8);
    while pattern.len() < PATTERN_LEN.min(len) {
        pattern.extend(rng.next().to_be_bytes());
    }
    pattern.truncate(PATTERN_LEN);
    let mut value = number.to_be_bytes().to_vec();
    value.extend(pattern.repeat(len / pattern.len() + 1));
    value.truncate(len);
    value
}

/// The number of the write that gave this value to `key`; none when no write did.
#[must_use]
pub fn number_of(key: &[u8], value: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*value.first_chunk()?);
    (value_of(key, number) == value).then_some(number)
}
