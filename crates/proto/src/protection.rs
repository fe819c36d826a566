//! What protects the frames of one direction: the tag over `seq || header || body`, the cipher under
//! it, and the bookkeeping of how long one key is used. Shared by [`crate::Sealer`] and [`crate::Opener`].

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use ctr::Ctr32BE;

use crate::error::ProtocolViolation;
use crate::header::HEADER_LEN;
use crate::keys::DirectionKeys;
use crate::limits::{KEY_BYTES_PROTECTED_MAX, KEY_FRAMES_MAX};
use crate::mac::{MacKey, Tag, checksum};
use crate::suite::Suite;

/// Keys, sequence and use of one direction of a version-2 session.
pub(crate) struct Protection {
    kind: Kind,
    /// Number of the next frame; never sent, never reset.
    seq: u64,
    epoch: u32,
    /// What the current key has protected.
    frames: u64,
    bytes: u64,
}

enum Kind {
    Checksum,
    Keyed {
        keys: Box<DirectionKeys>,
        mac: MacKey,
        encrypted: bool,
    },
}

impl Protection {
    pub(crate) fn new(suite: Suite, keys: DirectionKeys) -> Self {
        let kind = match suite {
            Suite::Checksum => Kind::Checksum,
            Suite::Hmac | Suite::Encrypted => Kind::Keyed {
                mac: MacKey::new(keys.mac.as_slice()),
                keys: Box::new(keys),
                encrypted: suite == Suite::Encrypted,
            },
        };
        Self {
            kind,
            seq: 0,
            epoch: 0,
            frames: 0,
            bytes: 0,
        }
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        matches!(
            self.kind,
            Kind::Keyed {
                encrypted: true,
                ..
            }
        )
    }

    /// The tag of the frame that is next in this direction.
    #[inline]
    pub(crate) fn tag(&self, header: &[u8; HEADER_LEN], body: &[&[u8]]) -> Tag {
        match &self.kind {
            Kind::Checksum => match body {
                [one] => checksum(&[header, one]),
                [one, two] => checksum(&[header, one, two]),
                many => checksum(&[header, &many.concat()]),
            },
            Kind::Keyed { mac, .. } => {
                let mut front = [0u8; 8 + HEADER_LEN];
                let (seq, head) = front.split_at_mut(8);
                seq.copy_from_slice(&self.seq.to_be_bytes());
                head.copy_from_slice(header);
                if let [one] = body {
                    return mac.tag_frame(&front, one);
                }
                let mut stream = mac.begin();
                stream.update(&front);
                for part in body {
                    stream.update(part);
                }
                stream.finish()
            }
        }
    }

    /// Encrypts or decrypts the body of the frame that is next, in place (suite 2 only).
    pub(crate) fn apply_cipher(&self, body: &mut [u8]) {
        let Kind::Keyed {
            keys,
            encrypted: true,
            ..
        } = &self.kind
        else {
            return;
        };
        let mut block = [0u8; 16];
        let (iv, _counter) = block.split_at_mut(12);
        iv.copy_from_slice(&keys.iv);
        for (place, byte) in iv.iter_mut().skip(4).zip(self.seq.to_be_bytes()) {
            *place ^= byte;
        }
        Ctr32BE::<Aes256>::new((&*keys.cipher).into(), (&block).into()).apply_keystream(body);
    }

    /// Counts the frame that was just protected or verified.
    #[inline]
    pub(crate) fn advance(&mut self, body_len: usize) {
        self.seq = self.seq.wrapping_add(1);
        self.frames = self.frames.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(body_len as u64);
    }

    /// Whether the current key has done its work and KEY_UPDATE is due.
    #[inline]
    pub(crate) const fn is_due(&self) -> bool {
        (self.frames >= KEY_FRAMES_MAX || self.bytes >= KEY_BYTES_PROTECTED_MAX)
            && matches!(self.kind, Kind::Keyed { .. })
    }

    /// Whether the peer used one key for twice as long as it may.
    #[inline]
    pub(crate) const fn is_worn_out(&self) -> bool {
        (self.frames >= 2 * KEY_FRAMES_MAX || self.bytes >= 2 * KEY_BYTES_PROTECTED_MAX)
            && matches!(self.kind, Kind::Keyed { .. })
    }

    /// The epoch the next KEY_UPDATE begins.
    pub(crate) const fn next_epoch(&self) -> u32 {
        self.epoch.wrapping_add(1)
    }

    /// Frames of this direction so far.
    pub(crate) const fn sequence(&self) -> u64 {
        self.seq
    }

    /// Moves to the next keys; the sequence goes on.
    pub(crate) fn update(&mut self) -> Result<(), ProtocolViolation> {
        let epoch = self
            .epoch
            .checked_add(1)
            .ok_or(ProtocolViolation::KeyUpdate)?;
        let Kind::Keyed { keys, mac, .. } = &mut self.kind else {
            return Err(ProtocolViolation::KeyUpdate);
        };
        let next = keys.next(epoch);
        *mac = MacKey::new(next.mac.as_slice());
        **keys = next;
        self.epoch = epoch;
        self.frames = 0;
        self.bytes = 0;
        Ok(())
    }
}
