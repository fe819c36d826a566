//! One frame as an owned value with every field of its header, for people who want objects instead
//! of borrowed views. The server and the client do not use it on their hot paths.

use core::fmt;

use bytes::Bytes;

use crate::ext::{ExtError, ExtSet, Extensions};
use crate::header::{Flags, Header, VERSION_1, VERSION_2};
use crate::mac::TAG_LEN;
use crate::opcode::OpcodeByte;

/// One frame: header, tag and body.
///
/// Messages compare equal when everything but the tag is equal: the tag follows from the rest, the
/// session and the place in it.
#[derive(Clone)]
pub struct KvMessage {
    /// Protocol version.
    pub version: u8,
    /// Command; may be one that this release does not know.
    pub opcode: OpcodeByte,
    /// Exchange; 0 is the connection itself.
    pub request_id: u32,
    /// Flags. ENCRYPTED is set and cleared by the session, whatever stands here.
    pub flags: Flags,
    /// Extension block as on the wire, undecoded; empty in version 1.
    pub ext: Bytes,
    /// Key.
    pub key: Bytes,
    /// Value, or the piece of it that this frame carries; decrypted, not decompressed.
    pub value: Bytes,
    /// The tag that verified this frame when it was received. What stands here when a message is
    /// sent is ignored: the session makes the tag.
    pub tag: [u8; TAG_LEN],
}

/// Why a message cannot be a frame. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The extension block is longer than 255 bytes.
    #[error("extension block of more than 255 bytes")]
    ExtTooLong,
    /// The body exceeds the frame limit: cut it with a `Fragmenter`.
    #[error("frame body of {len} bytes, the limit is {max}")]
    FrameTooLong {
        /// Bytes of extension block, key and value.
        len: usize,
        /// The limit in force.
        max: usize,
    },
    /// The key is longer than 65,535 bytes.
    #[error("key of more than 65,535 bytes")]
    KeyTooLong,
    /// Flags or extensions in version 1, or flag bits without meaning.
    #[error("flags or extensions that this version does not have")]
    NotInThisVersion,
    /// Another version than the session speaks.
    #[error("version {0} is not the version of this session")]
    WrongVersion(u8),
}

impl KvMessage {
    /// A version-2 message without extensions and flags.
    #[must_use]
    pub fn new(
        opcode: impl Into<OpcodeByte>,
        request_id: u32,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Self {
        Self {
            version: VERSION_2,
            opcode: opcode.into(),
            request_id,
            flags: Flags::NONE,
            ext: Bytes::new(),
            key: key.into(),
            value: value.into(),
            tag: [0; TAG_LEN],
        }
    }

    /// The same message in version 1.
    #[must_use]
    pub fn version_1(self) -> Self {
        Self {
            version: VERSION_1,
            ..self
        }
    }

    /// The same message with these extensions.
    #[must_use]
    pub fn with_extensions(self, extensions: &Extensions<'_>) -> Self {
        let ext = Bytes::copy_from_slice(extensions.encode().as_bytes());
        Self { ext, ..self }
    }

    /// Decodes the extension block; `allowed` as in [`Extensions::decode`].
    ///
    /// # Errors
    /// [`ExtError`].
    pub fn extensions(&self, allowed: ExtSet) -> Result<Extensions<'_>, ExtError> {
        Extensions::decode(&self.ext, allowed)
    }

    /// Bytes of extension block, key and value.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.ext
            .len()
            .saturating_add(self.key.len())
            .saturating_add(self.value.len())
    }

    /// The header that goes before this body, without ENCRYPTED.
    ///
    /// # Errors
    /// [`MessageError`] when a part does not fit its length field, the body exceeds
    /// `frame_bytes_max`, or the version does not have what the message uses.
    pub fn header(&self, frame_bytes_max: u32) -> Result<Header, MessageError> {
        let flags = Flags(self.flags.0 & !Flags::ENCRYPTED.0);
        let old = self.version == VERSION_1;
        if flags.has_reserved() || (old && (flags != Flags::NONE || !self.ext.is_empty())) {
            return Err(MessageError::NotInThisVersion);
        }
        let max = usize::try_from(frame_bytes_max).unwrap_or(usize::MAX);
        let len = self.body_len();
        if len > max {
            return Err(MessageError::FrameTooLong { len, max });
        }
        Ok(Header {
            version: self.version,
            opcode: self.opcode,
            request_id: self.request_id,
            flags,
            ext_len: u8::try_from(self.ext.len()).map_err(|_| MessageError::ExtTooLong)?,
            key_len: u16::try_from(self.key.len()).map_err(|_| MessageError::KeyTooLong)?,
            value_len: u32::try_from(self.value.len())
                .map_err(|_| MessageError::FrameTooLong { len, max })?,
        })
    }
}

impl PartialEq for KvMessage {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.opcode == other.opcode
            && self.request_id == other.request_id
            && self.flags == other.flags
            && self.ext == other.ext
            && self.key == other.key
            && self.value == other.value
    }
}

impl Eq for KvMessage {}

impl fmt::Debug for KvMessage {
    /// Lengths instead of contents: keys and values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvMessage")
            .field("version", &self.version)
            .field("opcode", &self.opcode)
            .field("request_id", &self.request_id)
            .field("flags", &self.flags)
            .field("ext_len", &self.ext.len())
            .field("key_len", &self.key.len())
            .field("value_len", &self.value.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcode::Opcode;

    const MAX: u32 = 1024 * 1024;

    #[test]
    fn every_field_of_the_header_is_there() {
        let message = KvMessage {
            flags: Flags::MORE,
            ext: Bytes::from_static(b"abc"),
            ..KvMessage::new(Opcode::Set, 7, "key", "value")
        };
        let header = message.header(MAX).unwrap();
        assert_eq!(
            header,
            Header {
                version: VERSION_2,
                opcode: Opcode::Set.into(),
                request_id: 7,
                flags: Flags::MORE,
                ext_len: 3,
                key_len: 3,
                value_len: 5,
            }
        );
        assert_eq!(message.body_len(), 11);
    }

    #[test]
    fn a_body_at_the_limit_is_a_frame_and_one_byte_more_is_not() {
        let message = KvMessage::new(Opcode::Set, 7, "key", "value");
        assert!(message.header(8).is_ok());
        assert_eq!(
            message.header(7),
            Err(MessageError::FrameTooLong { len: 8, max: 7 })
        );
    }

    #[test]
    fn parts_that_their_length_field_cannot_count_are_refused() {
        let key = |len| KvMessage::new(Opcode::Get, 7, vec![0; len], "");
        assert!(key(65_535).header(MAX).is_ok());
        assert_eq!(key(65_536).header(MAX), Err(MessageError::KeyTooLong));
        let ext = |len| KvMessage {
            ext: vec![0; len].into(),
            ..key(1)
        };
        assert!(ext(255).header(MAX).is_ok());
        assert_eq!(ext(256).header(MAX), Err(MessageError::ExtTooLong));
    }

    #[test]
    fn version_1_has_neither_flags_nor_extensions() {
        let message = KvMessage::new(Opcode::Get, 7, "k", "").version_1();
        assert!(message.header(MAX).is_ok());
        let flagged = KvMessage {
            flags: Flags::MORE,
            ..message.clone()
        };
        assert_eq!(flagged.header(MAX), Err(MessageError::NotInThisVersion));
        let extended = message.with_extensions(&Extensions {
            ttl_ms: Some(1),
            ..Extensions::default()
        });
        assert_eq!(extended.header(MAX), Err(MessageError::NotInThisVersion));
        let reserved = KvMessage {
            flags: Flags(8),
            ..KvMessage::new(Opcode::Get, 7, "k", "")
        };
        assert_eq!(reserved.header(MAX), Err(MessageError::NotInThisVersion));
    }

    #[test]
    fn contents_are_not_printed() {
        let message = KvMessage::new(Opcode::Set, 7, "secret-key", "secret-value");
        let printed = format!("{message:?}");
        assert!(
            printed.contains("SET") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
