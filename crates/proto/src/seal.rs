//! Sending: frames are written unsealed at the end of an output buffer and sealed in place.

use crate::error::ProtocolViolation;
use crate::header::{Flags, HEADER_LEN, Header, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::keys::DirectionKeys;
use crate::mac::{MacKey, TAG_LEN, Tag};
use crate::opcode::{Opcode, OpcodeByte};
use crate::protection::Protection;
use crate::suite::Suite;

/// What a frame says, apart from its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Command.
    pub opcode: Opcode,
    /// Exchange; 0 is the connection itself.
    pub request_id: u32,
    /// COMPRESSED and MORE; ENCRYPTED is set by [`Sealer::seal`].
    pub flags: Flags,
}

impl FrameHead {
    /// A frame without flags.
    #[must_use]
    pub const fn new(opcode: Opcode, request_id: u32) -> Self {
        Self {
            opcode,
            request_id,
            flags: Flags::NONE,
        }
    }
}

/// Appends an unsealed frame: header, room for the tag, extension block, key, value. Returns where it
/// starts, for [`Sealer::seal`]. `ext` is at most 255 and `key` at most 65,535 bytes; what is longer
/// is a mistake of the caller and cut (debug builds assert).
#[inline]
pub fn write_frame(
    out: &mut Vec<u8>,
    head: FrameHead,
    ext: &[u8],
    key: &[u8],
    value: &[u8],
) -> usize {
    let start = write_frame_front(out, head, ext, key, value.len());
    out.extend_from_slice(value);
    start
}

/// As [`write_frame`] for a value that follows elsewhere: it is not copied into `out`, but its length
/// stands in the header. Seal it with [`Sealer::seal_detached`].
#[inline]
pub fn write_frame_front(
    out: &mut Vec<u8>,
    head: FrameHead,
    ext: &[u8],
    key: &[u8],
    value_len: usize,
) -> usize {
    debug_assert!(u8::try_from(ext.len()).is_ok() && u16::try_from(key.len()).is_ok());
    let ext_len = u8::try_from(ext.len()).unwrap_or(u8::MAX);
    let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let header = Header {
        version: VERSION_2,
        opcode: OpcodeByte::from(head.opcode),
        request_id: head.request_id,
        flags: head.flags,
        ext_len,
        key_len,
        value_len: u32::try_from(value_len).unwrap_or(u32::MAX),
    };
    let start = out.len();
    let mut prefix = [0u8; PREFIX_LEN];
    if let Some(place) = prefix.first_chunk_mut() {
        *place = header.to_bytes();
    }
    out.extend_from_slice(&prefix);
    out.extend_from_slice(ext.get(..usize::from(ext_len)).unwrap_or(ext));
    out.extend_from_slice(key.get(..usize::from(key_len)).unwrap_or(key));
    start
}

/// The sending half of a connection's protection. Frames must leave in the order they were sealed.
pub struct Sealer {
    mode: Mode,
}

enum Mode {
    V1(MacKey),
    V2(Protection),
}

impl Sealer {
    /// Version 1: one static key, no sequence.
    #[must_use]
    pub fn version_1(key: &[u8]) -> Self {
        Self {
            mode: Mode::V1(MacKey::new(key)),
        }
    }

    /// Version 2, from the first frame under session keys on.
    #[must_use]
    pub fn version_2(suite: Suite, keys: DirectionKeys) -> Self {
        Self {
            mode: Mode::V2(Protection::new(suite, keys)),
        }
    }

    /// Seals the one frame that begins at `start` and ends with the buffer: version, flags,
    /// encryption and tag. Does nothing to a range that is shorter than a frame's prefix.
    #[inline]
    pub fn seal(&mut self, out: &mut [u8], start: usize) {
        if let Some(frame) = out.get_mut(start..) {
            self.seal_frame(frame, &[]);
        }
    }

    /// Seals a frame whose value stands elsewhere (suites 0 and 1; in suite 2 the value has to be
    /// encrypted and must be written into the frame).
    ///
    /// # Errors
    /// [`ProtocolViolation::EncryptedFlag`] in suite 2: nothing was changed.
    pub fn seal_detached(
        &mut self,
        out: &mut [u8],
        start: usize,
        value: &[u8],
    ) -> Result<(), ProtocolViolation> {
        if self.must_copy_values() {
            return Err(ProtocolViolation::EncryptedFlag);
        }
        if let Some(frame) = out.get_mut(start..) {
            self.seal_frame(frame, value);
        }
        Ok(())
    }

    /// Whether values have to be written into the frame (suite 2).
    #[must_use]
    pub const fn must_copy_values(&self) -> bool {
        match &self.mode {
            Mode::V1(_) => false,
            Mode::V2(protection) => protection.is_encrypted(),
        }
    }

    #[inline]
    fn seal_frame(&mut self, frame: &mut [u8], detached: &[u8]) {
        let Some((header, rest)) = frame.split_first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        let Some((place, body)) = rest.split_first_chunk_mut::<TAG_LEN>() else {
            return;
        };
        let tag: Tag = match &mut self.mode {
            Mode::V1(key) => {
                let [_, _, version, ..] = header;
                *version = VERSION_1;
                key.tag(&[header, body, detached])
            }
            Mode::V2(protection) => {
                if protection.is_encrypted() {
                    let [_, _, _, _, _, _, _, _, flags, ..] = header;
                    *flags |= Flags::ENCRYPTED.0;
                    protection.apply_cipher(body);
                }
                let tag = if detached.is_empty() {
                    protection.tag(header, &[body])
                } else {
                    protection.tag(header, &[body, detached])
                };
                protection.advance(body.len().saturating_add(detached.len()));
                tag
            }
        };
        *place = tag.to_bytes();
    }

    /// Whether KEY_UPDATE is due because of what the current key has protected. The caller has the
    /// clock and adds the hour of [`crate::limits::KEY_AGE_MS_MAX`].
    #[must_use]
    #[inline]
    pub const fn key_update_due(&self) -> bool {
        match &self.mode {
            Mode::V1(_) => false,
            Mode::V2(protection) => protection.is_due(),
        }
    }

    /// Appends a sealed KEY_UPDATE (or SERVER_KEY_UPDATE) and moves to the next keys.
    ///
    /// # Errors
    /// [`ProtocolViolation::KeyUpdate`] in version 1 and suite 0, which have no keys to move, and
    /// after 2^32 - 1 updates.
    pub fn update_keys(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
    ) -> Result<(), ProtocolViolation> {
        let Mode::V2(protection) = &mut self.mode else {
            return Err(ProtocolViolation::KeyUpdate);
        };
        let before = out.len();
        let epoch = protection.next_epoch();
        let start = write_frame(
            out,
            FrameHead::new(opcode, 0),
            &[],
            &[],
            &epoch.to_be_bytes(),
        );
        self.seal(out, start);
        let Mode::V2(protection) = &mut self.mode else {
            return Ok(());
        };
        protection.update().inspect_err(|_| out.truncate(before))
    }

    /// Frames sealed so far in a version-2 session.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match &self.mode {
            Mode::V1(_) => 0,
            Mode::V2(protection) => protection.sequence(),
        }
    }
}
