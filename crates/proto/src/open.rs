//! Receiving: walks over the complete frames at the front of a read buffer, in the order of trust:
//! length bound, tag, header meaning, decryption. What comes out is a [`Frame`]; nothing else has
//! accessors for its contents.

use crate::error::{AuthFailed, CloseReason, DecodeError, DecodeKind, ProtocolViolation};
use crate::header::{Flags, HEADER_LEN, Header, MAGIC, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::keys::DirectionKeys;
use crate::mac::{MacKey, TAG_LEN};
use crate::opcode::{Opcode, OpcodeByte};
use crate::protection::Protection;
use crate::suite::Suite;

/// A frame whose tag verified and whose body is decrypted, borrowed from the read buffer.
#[derive(Debug)]
pub struct Frame<'b> {
    header: Header,
    ext: &'b [u8],
    key: &'b [u8],
    value: &'b [u8],
}

impl<'b> Frame<'b> {
    /// The command byte; may be one that this release does not know.
    #[must_use]
    pub const fn opcode(&self) -> OpcodeByte {
        self.header.opcode
    }

    /// The header's fields.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The exchange; 0 is the connection itself.
    #[must_use]
    pub const fn request_id(&self) -> u32 {
        self.header.request_id
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.header.flags
    }

    /// The extension block, undecoded.
    #[must_use]
    pub const fn ext(&self) -> &'b [u8] {
        self.ext
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'b [u8] {
        self.key
    }

    /// The value, or the piece of it that this frame carries.
    #[must_use]
    pub const fn value(&self) -> &'b [u8] {
        self.value
    }

    /// Bytes of the whole frame on the wire.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        PREFIX_LEN
            .saturating_add(self.ext.len())
            .saturating_add(self.key.len())
            .saturating_add(self.value.len())
    }
}

/// The receiving half of a connection's protection.
pub struct Opener {
    mode: Mode,
    /// Bound of a frame's body, checked before anything else.
    frame_bytes_max: u32,
}

enum Mode {
    /// The last request id; every next one must be greater.
    V1 {
        key: MacKey,
        last_id: u32,
        /// Replies repeat the request's id in any order; only a server checks that they ascend.
        ascending: bool,
        /// The bound from the first verified frame on, where another one holds for that frame.
        proven_bytes_max: Option<u32>,
    },
    V2(Protection),
}

impl Opener {
    /// Version 1 at the server: ids must ascend.
    #[must_use]
    pub fn version_1_server(key: &[u8], frame_bytes_max: u32) -> Self {
        let mode = Mode::V1 {
            key: MacKey::new(key),
            last_id: 0,
            ascending: true,
            proven_bytes_max: None,
        };
        Self {
            mode,
            frame_bytes_max,
        }
    }

    /// Version 1 at the client.
    #[must_use]
    pub fn version_1_client(key: &[u8], frame_bytes_max: u32) -> Self {
        let mode = Mode::V1 {
            key: MacKey::new(key),
            last_id: 0,
            ascending: false,
            proven_bytes_max: None,
        };
        Self {
            mode,
            frame_bytes_max,
        }
    }

    /// Version 2, from the first frame under session keys on.
    #[must_use]
    pub fn version_2(suite: Suite, keys: DirectionKeys, frame_bytes_max: u32) -> Self {
        Self {
            mode: Mode::V2(Protection::new(suite, keys)),
            frame_bytes_max,
        }
    }

    /// Sets the bound of a frame's body, once the session's limits are in force.
    pub const fn set_frame_bytes_max(&mut self, max: u32) {
        self.frame_bytes_max = max;
    }

    /// In version 1, bounds the first frame by `max`: until its tag has verified, the peer has proven
    /// nothing [P-4.13].
    pub(crate) const fn limit_first_frame(&mut self, max: u32) {
        if let Mode::V1 {
            proven_bytes_max, ..
        } = &mut self.mode
            && max < self.frame_bytes_max
        {
            *proven_bytes_max = Some(self.frame_bytes_max);
            self.frame_bytes_max = max;
        }
    }

    /// Takes the next whole frame off the front of `input`, which then stands behind it. `None`: the
    /// frame is not complete; [`Opener::wanted`] says how many bytes it needs.
    ///
    /// # Errors
    /// [`CloseReason`]: the connection is over. A frame that is refused changes nothing.
    #[inline]
    pub fn next<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Frame<'b>>, CloseReason> {
        let Some((header, body_len)) = peek(input, self.frame_bytes_max)? else {
            return Ok(None);
        };
        let buffer = core::mem::take(input);
        let Some((frame, rest)) = buffer.split_at_mut_checked(PREFIX_LEN.saturating_add(body_len))
        else {
            // `peek` saw the whole frame.
            return Ok(None);
        };
        *input = rest;
        self.open(header, frame).map(Some)
    }

    /// Bytes the frame at the front of `input` needs in all, if its header is there: how far to let
    /// the read buffer grow. Never above the frame limit.
    #[must_use]
    pub fn wanted(&self, input: &[u8]) -> Option<usize> {
        let header = Header::parse(input.first_chunk()?).ok()?;
        let body = header.bounded_body_len(self.frame_bytes_max).ok()?;
        Some(PREFIX_LEN.saturating_add(body.get()))
    }

    #[inline]
    fn open<'b>(&mut self, header: Header, frame: &'b mut [u8]) -> Result<Frame<'b>, CloseReason> {
        let (raw, rest) = frame
            .split_first_chunk_mut::<HEADER_LEN>()
            .ok_or(CloseReason::Auth(AuthFailed))?;
        let (tag, body) = rest
            .split_first_chunk_mut::<TAG_LEN>()
            .ok_or(CloseReason::Auth(AuthFailed))?;
        match &mut self.mode {
            Mode::V1 {
                key,
                last_id,
                ascending,
                proven_bytes_max,
            } => {
                key.tag(&[raw, body]).verify(tag)?;
                check_version_1(&header)?;
                if *ascending {
                    if header.request_id <= *last_id {
                        return Err(ProtocolViolation::Replayed.into());
                    }
                    *last_id = header.request_id;
                }
                if let Some(max) = proven_bytes_max.take() {
                    self.frame_bytes_max = max;
                }
            }
            Mode::V2(protection) => {
                protection.tag(raw, &[body]).verify(tag)?;
                check_version_2(&header, protection)?;
                protection.apply_cipher(body);
                protection.advance(body.len());
            }
        }
        let (ext, rest) =
            body.split_at_checked(usize::from(header.ext_len))
                .ok_or(DecodeError::new(
                    "extension block",
                    0,
                    DecodeKind::Truncated,
                ))?;
        let (key, value) = rest
            .split_at_checked(usize::from(header.key_len))
            .ok_or(DecodeError::new("key", 0, DecodeKind::Truncated))?;
        let opened = Frame {
            header,
            ext,
            key,
            value,
        };
        if matches!(
            Opcode::try_from(header.opcode),
            Ok(Opcode::KeyUpdate | Opcode::ServerKeyUpdate)
        ) {
            self.on_key_update(&opened)?;
        }
        Ok(opened)
    }

    fn on_key_update(&mut self, frame: &Frame<'_>) -> Result<(), CloseReason> {
        let Mode::V2(protection) = &mut self.mode else {
            return Err(ProtocolViolation::KeyUpdate.into());
        };
        let fits = frame.request_id() == 0
            && frame.key.is_empty()
            && frame.ext.is_empty()
            && frame.value == protection.next_epoch().to_be_bytes();
        if !fits {
            return Err(ProtocolViolation::KeyUpdate.into());
        }
        Ok(protection.update()?)
    }

    /// Frames opened so far in a version-2 session.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match &self.mode {
            Mode::V1 { .. } => 0,
            Mode::V2(protection) => protection.sequence(),
        }
    }
}

/// The header and body length of the frame at the front, if it is there as a whole and within `max`.
#[inline]
pub(crate) fn peek(input: &[u8], max: u32) -> Result<Option<(Header, usize)>, CloseReason> {
    let Some(raw) = input.first_chunk::<HEADER_LEN>() else {
        let differs = input.iter().zip(MAGIC).any(|(&byte, magic)| byte != magic);
        return if differs {
            Err(CloseReason::NotThisProtocol)
        } else {
            Ok(None)
        };
    };
    let header = Header::parse(raw)?;
    let body = header.bounded_body_len(max)?;
    if input.len() < PREFIX_LEN.saturating_add(body.get()) {
        return Ok(None);
    }
    Ok(Some((header, body.get())))
}

fn check_version_1(header: &Header) -> Result<(), CloseReason> {
    if header.version != VERSION_1 {
        return Err(ProtocolViolation::WrongVersion.into());
    }
    if header.flags != Flags::NONE || header.ext_len != 0 {
        return Err(DecodeError::new("version 1 header", 8, DecodeKind::Reserved).into());
    }
    Ok(())
}

#[inline]
fn check_version_2(header: &Header, protection: &Protection) -> Result<(), CloseReason> {
    if header.version != VERSION_2 {
        return Err(ProtocolViolation::WrongVersion.into());
    }
    if header.flags.has_reserved() {
        return Err(ProtocolViolation::ReservedFlags.into());
    }
    if header.flags.contains(Flags::ENCRYPTED) != protection.is_encrypted() {
        return Err(ProtocolViolation::EncryptedFlag.into());
    }
    if protection.is_worn_out() {
        return Err(ProtocolViolation::KeyWornOut.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
