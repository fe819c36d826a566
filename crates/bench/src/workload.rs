//! What is asked: verbs, keys and values, all derived from a seed.
//!
//! Does not know any wire. Invariant: the value of a key depends on the key's index and on nothing
//! else, so every value that comes back can be checked whole, whoever wrote it and whenever.

use anyhow::{Result, ensure};

mod choice;
mod rng;

pub(crate) use choice::{Choice, Keys};
pub(crate) use rng::Rng;

/// Bytes of shared filling that values are cut from, besides the longest value itself.
const SHIFTS: usize = 4096;
/// Bytes at the front of a value that name its key.
const STAMP: usize = 8;

/// What one request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Read.
    Get,
    /// Write.
    Set,
}

/// One request: a verb on one key, or on as many as a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What to do.
    pub verb: Verb,
    /// The key's index; of a batch, what its keys are derived from.
    pub first: u64,
    /// Operations in it; more than one is a batch.
    pub count: u32,
}

/// Keys and values by index.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    keys: Keys,
    key_bytes: usize,
    value_bytes: usize,
    filling: Vec<u8>,
}

impl Data {
    /// `key_bytes` must be long enough to tell all keys apart.
    ///
    /// # Errors
    /// When it is not, or when there is no key at all.
    pub(crate) fn new(
        count: u64,
        choice: Choice,
        key_bytes: usize,
        value_bytes: usize,
    ) -> Result<Self> {
        ensure!(count > 0, "at least one key is needed");
        ensure!(
            (1..=250).contains(&key_bytes),
            "keys have 1 to 250 bytes, the most every measured system takes"
        );
        let digits = (64 - (count - 1).leading_zeros()).div_ceil(4).max(1);
        ensure!(
            key_bytes >= usize::try_from(digits)?,
            "{count} keys need {digits} bytes to differ, not {key_bytes}"
        );
        let mut rng = Rng::new(0x6b76_2d62_656e_6368);
        let filling = (0..(value_bytes + SHIFTS).div_ceil(8))
            .flat_map(|_| rng.next().to_be_bytes())
            .collect();
        Ok(Self {
            keys: Keys::new(count, choice),
            key_bytes,
            value_bytes,
            filling,
        })
    }

    /// How many keys there are.
    #[must_use]
    pub(crate) const fn key_count(&self) -> u64 {
        self.keys.count()
    }

    /// Length of a value.
    #[must_use]
    pub(crate) const fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Length of a key.
    #[must_use]
    pub(crate) const fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// The next key a request is about.
    pub(crate) fn choose(&self, rng: &mut Rng) -> u64 {
        self.keys.sample(rng)
    }

    /// The index of the `nth` key of a request.
    #[must_use]
    pub(crate) fn member(&self, request: &Request, nth: u32) -> u64 {
        if request.count == 1 {
            request.first
        } else {
            let seed = request.first.wrapping_add(u64::from(nth) << 40);
            self.keys.sample(&mut Rng::new(seed))
        }
    }

    /// Appends the key: its index in hexadecimal, filled up in front.
    #[inline]
    pub(crate) fn write_key(&self, index: u64, out: &mut Vec<u8>) {
        let digits = hex(index);
        if let Some(filled) = self.key_bytes.checked_sub(digits.len()) {
            out.resize(out.len() + filled, b'k');
            out.extend_from_slice(&digits);
        } else if let Some(last) = digits.get(digits.len() - self.key_bytes..) {
            out.extend_from_slice(last);
        }
    }

    /// Appends the value of a key.
    #[inline]
    pub(crate) fn write_value(&self, index: u64, out: &mut Vec<u8>) {
        let (stamp, rest) = self.parts(index);
        out.extend_from_slice(stamp.get(..self.value_bytes.min(STAMP)).unwrap_or(&stamp));
        out.extend_from_slice(rest);
    }

    /// Whether this is the value of that key, whole.
    #[inline]
    #[must_use]
    pub(crate) fn is_value(&self, index: u64, value: &[u8]) -> bool {
        let (stamp, rest) = self.parts(index);
        match value.split_at_checked(STAMP) {
            Some((front, back)) => front == stamp && back == rest,
            None => stamp.get(..self.value_bytes) == Some(value),
        }
    }

    /// The stamp of a key and what follows it in a value.
    #[inline]
    fn parts(&self, index: u64) -> ([u8; STAMP], &[u8]) {
        let stamp = rng::mix(index);
        let shift = usize::try_from(stamp % SHIFTS as u64).unwrap_or(0);
        let len = self.value_bytes.saturating_sub(STAMP);
        let rest = self.filling.get(shift..shift + len).unwrap_or_default();
        (stamp.to_be_bytes(), rest)
    }
}

/// Sixteen hexadecimal digits.
#[inline]
fn hex(value: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (place, byte) in digits
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(value.to_be_bytes())
    {
        *place = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

#[inline]
const fn digit(nibble: u8) -> u8 {
    // Letters follow at a distance of 39 from the digits.
    nibble + b'0' + (nibble > 9) as u8 * 39
}

#[cfg(test)]
mod tests;
