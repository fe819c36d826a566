//! The frame tag: HMAC-SHA256 (RFC 2104) with both padded-key states kept, and CRC-32 for suite 0.
//!
//! A small frame costs three or four SHA-256 compressions, so the states after the inner and the
//! outer padded key are computed once per key (64 bytes) and the message goes straight into
//! `sha2`'s compression function; `docs/design/0003-kept-hmac-states.md` has the figures. Tests hold
//! it against the `hmac` crate.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::error::AuthFailed;

/// Bytes of a tag.
pub const TAG_LEN: usize = 32;
const BLOCK: usize = 64;
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A computed tag. Not comparable with `==`: [`Tag::verify`] takes the same time for every difference.
#[derive(Clone, Copy)]
pub struct Tag([u8; TAG_LEN]);

impl Tag {
    /// The bytes for the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; TAG_LEN] {
        self.0
    }

    /// Compares with a received tag in constant time.
    ///
    /// # Errors
    /// [`AuthFailed`] when they differ.
    pub fn verify(&self, received: &[u8; TAG_LEN]) -> Result<(), AuthFailed> {
        // Eight bytes at a time: every difference ends up in one word, which is then compared with
        // zero without a branch on its value.
        let mut differences = 0u64;
        for (ours, theirs) in self
            .0
            .as_chunks::<8>()
            .0
            .iter()
            .zip(received.as_chunks::<8>().0)
        {
            differences |= u64::from_be_bytes(*ours) ^ u64::from_be_bytes(*theirs);
        }
        if bool::from(differences.ct_eq(&0)) {
            Ok(())
        } else {
            Err(AuthFailed)
        }
    }
}

/// An HMAC-SHA256 key as its two states. Wiped when dropped.
#[derive(Clone)]
pub struct MacKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Drop for MacKey {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl MacKey {
    /// A key of any length; above 64 bytes it is hashed first, as RFC 2104 says.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0u8; BLOCK];
        if key.len() > BLOCK {
            for (place, byte) in block.iter_mut().zip(Sha256::digest(key)) {
                *place = byte;
            }
        } else {
            for (place, byte) in block.iter_mut().zip(key) {
                *place = *byte;
            }
        }
        let mut padded = block;
        let mut state = |pad: u8| {
            for (place, byte) in padded.iter_mut().zip(block) {
                *place = byte ^ pad;
            }
            let mut state = SHA256_START;
            compress256(&mut state, core::slice::from_ref(&padded));
            state
        };
        let this = Self {
            inner: state(0x36),
            outer: state(0x5c),
        };
        padded.zeroize();
        block.zeroize();
        this
    }

    /// Starts a message.
    #[must_use]
    #[inline]
    pub fn begin(&self) -> MacStream<'_> {
        MacStream {
            key: self,
            state: self.inner,
            block: [0; BLOCK],
            filled: 0,
            total: 0,
        }
    }

    /// The tag of `front || body`, the shape of every frame. Short messages are padded on the stack
    /// and compressed in one call.
    #[must_use]
    #[inline]
    pub fn tag_frame<const FRONT: usize>(&self, front: &[u8; FRONT], body: &[u8]) -> Tag {
        const BLOCKS: usize = 4;
        let len = FRONT.wrapping_add(body.len());
        // 0x80 and the length in bits stand behind the message.
        let used = len.wrapping_add(9).div_ceil(BLOCK);
        let mut padded = [[0u8; BLOCK]; BLOCKS];
        let fits = body.len() <= BLOCK * BLOCKS && used <= BLOCKS;
        let flat = padded.as_flattened_mut();
        let (Some((head, rest)), true) = (flat.split_first_chunk_mut::<FRONT>(), fits) else {
            return self.tag(&[front, body]);
        };
        *head = *front;
        let Some((place, tail)) = rest.split_at_mut_checked(body.len()) else {
            return self.tag(&[front, body]);
        };
        place.copy_from_slice(body);
        if let Some(mark) = tail.first_mut() {
            *mark = 0x80;
        }
        let bits = (len as u64).wrapping_add(BLOCK as u64).wrapping_mul(8);
        if let Some(last) = padded
            .get_mut(used.wrapping_sub(1))
            .and_then(|b| b.last_chunk_mut())
        {
            *last = bits.to_be_bytes();
        }
        let mut state = self.inner;
        compress256(&mut state, padded.get(..used).unwrap_or_default());
        self.outer(&state)
    }

    /// The outer hash over the inner digest.
    #[inline]
    fn outer(&self, inner: &[u32; 8]) -> Tag {
        let mut block = [0u8; BLOCK];
        let (digest, padding) = block.split_at_mut(TAG_LEN);
        for (place, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(inner) {
            *place = word.to_be_bytes();
        }
        if let [mark, .., high, low] = padding {
            *mark = 0x80;
            // (64 + 32) * 8 = 768 bits
            [*high, *low] = 768u16.to_be_bytes();
        }
        let mut state = self.outer;
        compress256(&mut state, core::slice::from_ref(&block));
        let mut tag = [0u8; TAG_LEN];
        for (place, word) in tag.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *place = word.to_be_bytes();
        }
        Tag(tag)
    }

    /// The tag of one message given in parts.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut stream = self.begin();
        for part in parts {
            stream.update(part);
        }
        stream.finish()
    }
}

/// A message being authenticated.
pub struct MacStream<'k> {
    key: &'k MacKey,
    state: [u32; 8],
    block: [u8; BLOCK],
    /// Bytes waiting in `block`; always below 64.
    filled: usize,
    /// Message bytes so far, without the padded key.
    total: u64,
}

impl MacStream<'_> {
    /// Adds bytes.
    #[inline]
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if self.filled > 0 || bytes.len() < BLOCK {
            let room = self.block.get_mut(self.filled..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (now, later) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            if let Some(room) = room.get_mut(..taken) {
                room.copy_from_slice(now);
            }
            self.filled = self.filled.wrapping_add(taken);
            bytes = later;
            if self.filled < BLOCK {
                return;
            }
            compress256(&mut self.state, core::slice::from_ref(&self.block));
            self.filled = 0;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        if let Some(room) = self.block.get_mut(..rest.len()) {
            room.copy_from_slice(rest);
        }
        self.filled = rest.len();
    }

    /// The tag of everything added.
    #[must_use]
    #[inline]
    pub fn finish(mut self) -> Tag {
        let bits = self
            .total
            .wrapping_add(BLOCK as u64)
            .wrapping_mul(8)
            .to_be_bytes();
        let mut tail = [[0u8; BLOCK]; 2];
        let two = self.filled >= BLOCK - 8;
        {
            let flat = tail.as_flattened_mut();
            if let (Some(to), Some(from)) =
                (flat.get_mut(..self.filled), self.block.get(..self.filled))
            {
                to.copy_from_slice(from);
            }
            if let Some(mark) = flat.get_mut(self.filled) {
                *mark = 0x80;
            }
            let end = if two { 2 * BLOCK } else { BLOCK };
            if let Some(length) = flat.get_mut(end.wrapping_sub(8)..end) {
                length.copy_from_slice(&bits);
            }
        }
        let [first, _] = &tail;
        compress256(
            &mut self.state,
            if two {
                &tail
            } else {
                core::slice::from_ref(first)
            },
        );

        self.key.outer(&self.state)
    }
}

/// Suite 0: CRC-32 (IEEE) of the parts in the first four bytes, zeros after it.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> Tag {
    let mut crc = crc32fast::Hasher::new();
    for part in parts {
        crc.update(part);
    }
    let mut tag = [0u8; TAG_LEN];
    if let Some(place) = tag.first_chunk_mut() {
        *place = crc.finalize().to_be_bytes();
    }
    Tag(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    fn oracle(key: &[u8], message: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    #[test]
    fn every_message_length_up_to_four_blocks_agrees_with_the_hmac_crate() {
        let message: Vec<u8> = (0u8..=255).collect();
        let key = MacKey::new(b"key");
        for len in 0..=message.len() {
            assert_eq!(
                key.tag(&[&message[..len]]).0,
                oracle(b"key", &message[..len]),
                "{len}"
            );
        }
    }

    #[test]
    fn rfc_4231_case_1() {
        let tag = MacKey::new(&[0x0b; 20]).tag(&[b"Hi There"]);
        assert_eq!(tag.0[..4], [0xb0, 0x34, 0x4c, 0x61]);
    }

    #[test]
    fn a_single_flipped_bit_does_not_verify() {
        let tag = MacKey::new(b"key").tag(&[b"message"]);
        assert_eq!(tag.verify(&tag.to_bytes()), Ok(()));
        for bit in 0..256 {
            let mut other = tag.to_bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tag.verify(&other), Err(AuthFailed));
        }
    }

    #[test]
    fn a_frames_tag_is_the_tag_of_its_parts_at_every_length() {
        let key = MacKey::new(b"key");
        let body: Vec<u8> = (0u8..=255).chain(0..=255).collect();
        for len in 0..=body.len() {
            let body = &body[..len];
            assert_eq!(
                key.tag_frame(&[9; 24], body).0,
                key.tag(&[&[9; 24], body]).0,
                "{len}"
            );
            assert_eq!(
                key.tag_frame(&[9; 16], body).0,
                key.tag(&[&[9; 16], body]).0,
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_parts_agree_with_the_hmac_crate(
            key in proptest::collection::vec(any::<u8>(), 0..200),
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..150), 0..6),
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(MacKey::new(&key).tag(&slices).0, oracle(&key, &parts.concat()));
        }
    }
}
