//! SipHash-1-3 over a whole key at once.
//!
//! Keys come from peers, so the hash is keyed with a secret of the process: nobody outside can
//! choose keys that fall into one place. The standard library has the same function behind a
//! streaming interface, whose buffering costs more than the hash of a short key.

use std::hash::{BuildHasher, RandomState};

/// The secret of one engine.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    /// A seed nobody can guess: two outputs of the standard library's hasher, which the
    /// operating system has seeded.
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self(state.hash_one(0x6b76_u64), state.hash_one(0x7365_6564_u64))
    }

    /// The hash of `key`.
    #[inline]
    pub(crate) fn hash(self, key: &[u8]) -> u64 {
        let mut state = State::new(self);
        let (words, tail) = key.as_chunks::<8>();
        for word in words {
            state.absorb(read_word(*word));
        }
        state.absorb(last_word(key.len(), tail));
        state.finish()
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline]
    const fn new(seed: Seed) -> Self {
        Self {
            v0: seed.0 ^ 0x736f_6d65_7073_6575,
            v1: seed.1 ^ 0x646f_7261_6e64_6f6d,
            v2: seed.0 ^ 0x6c79_6765_6e65_7261,
            v3: seed.1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32).wrapping_add(self.v3);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline]
    const fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    #[inline]
    const fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// The function is defined on little-endian words.
#[inline]
const fn read_word(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes).swap_bytes()
}

/// The bytes behind the last whole word, and the length's low byte on top.
#[inline]
fn last_word(len: usize, tail: &[u8]) -> u64 {
    let mut word = (len as u64) << 56;
    for (place, byte) in tail.iter().enumerate() {
        word |= u64::from(*byte) << (8 * place);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn it_is_the_standard_librarys_function_with_another_key() {
        let bytes: Vec<u8> = (0..300).map(|n| (n * 7 % 251) as u8).collect();
        for len in 0..bytes.len() {
            let mut standard = DefaultHasher::new();
            standard.write(&bytes[..len]);
            assert_eq!(
                Seed(0, 0).hash(&bytes[..len]),
                standard.finish(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn two_engines_hash_differently() {
        assert_ne!(Seed::random().hash(b"key"), Seed::random().hash(b"key"));
    }
}
