//! The fixed front of a frame: 16 bytes of header and 32 bytes of tag.
//!
//! [`Header::parse`] reads fields and checks the magic only; whether the frame is bounded, authentic
//! and legal is decided by its readers, in that order.

use crate::error::{CloseReason, Limit};
use crate::mac::TAG_LEN;
use crate::opcode::OpcodeByte;

/// Bytes of the header.
pub const HEADER_LEN: usize = 16;
/// Bytes in front of a frame's body: header and tag.
pub const PREFIX_LEN: usize = HEADER_LEN + TAG_LEN;
/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = [0xCA, 0xFE];
/// The small protocol: one static key, no session.
pub const VERSION_1: u8 = 1;
/// The session protocol.
pub const VERSION_2: u8 = 2;

const _: () = assert!(PREFIX_LEN == 48);

/// The flag bits of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The value is compressed.
    pub const COMPRESSED: Self = Self(1);
    /// The body is encrypted.
    pub const ENCRYPTED: Self = Self(2);
    /// More frames of this message follow.
    pub const MORE: Self = Self(4);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a bit without meaning is set.
    #[must_use]
    pub const fn has_reserved(self) -> bool {
        self.0 & !(Self::COMPRESSED.0 | Self::ENCRYPTED.0 | Self::MORE.0) != 0
    }
}

/// The header's fields as they stand on the wire. Nothing in it is believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol version.
    pub version: u8,
    /// Command.
    pub opcode: OpcodeByte,
    /// Exchange this frame belongs to; 0 is the connection itself.
    pub request_id: u32,
    /// Flag bits.
    pub flags: Flags,
    /// Bytes of extension block in front of the key.
    pub ext_len: u8,
    /// Bytes of key.
    pub key_len: u16,
    /// Bytes of value.
    pub value_len: u32,
}

impl Header {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`CloseReason::NotThisProtocol`] when the magic is another.
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, CloseReason> {
        let &[
            m0,
            m1,
            version,
            opcode,
            r0,
            r1,
            r2,
            r3,
            flags,
            ext_len,
            k0,
            k1,
            v0,
            v1,
            v2,
            v3,
        ] = bytes;
        if m0 != MAGIC[0] || m1 != MAGIC[1] {
            return Err(CloseReason::NotThisProtocol);
        }
        Ok(Self {
            version,
            opcode: OpcodeByte(opcode),
            request_id: u32::from_be_bytes([r0, r1, r2, r3]),
            flags: Flags(flags),
            ext_len,
            key_len: u16::from_be_bytes([k0, k1]),
            value_len: u32::from_be_bytes([v0, v1, v2, v3]),
        })
    }

    /// The header as on the wire.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let [r0, r1, r2, r3] = self.request_id.to_be_bytes();
        let [k0, k1] = self.key_len.to_be_bytes();
        let [v0, v1, v2, v3] = self.value_len.to_be_bytes();
        [
            MAGIC[0],
            MAGIC[1],
            self.version,
            self.opcode.0,
            r0,
            r1,
            r2,
            r3,
            self.flags.0,
            self.ext_len,
            k0,
            k1,
            v0,
            v1,
            v2,
            v3,
        ]
    }

    /// Bytes of extension block, key and value as declared; at most 4 GiB and 65 KiB.
    #[must_use]
    pub const fn body_len(&self) -> u64 {
        // u8 + u16 + u32 cannot overflow u64.
        (self.ext_len as u64)
            .wrapping_add(self.key_len as u64)
            .wrapping_add(self.value_len as u64)
    }

    /// The declared body length, if it is within `max`: the only way to a length that is used.
    ///
    /// # Errors
    /// [`CloseReason::Limit`] with [`Limit::FrameBytes`].
    pub fn bounded_body_len(&self, max: u32) -> Result<BodyLen, CloseReason> {
        let len = self.body_len();
        if len > u64::from(max) {
            return Err(CloseReason::Limit(Limit::FrameBytes));
        }
        usize::try_from(len)
            .map(BodyLen)
            .map_err(|_| CloseReason::Limit(Limit::FrameBytes))
    }
}

/// A body length that was compared with the limit in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyLen(usize);

impl BodyLen {
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_opcode_and_flag_pairs_round_trip() {
        for opcode in 0..=u8::MAX {
            for flags in 0..=u8::MAX {
                let header = Header {
                    version: VERSION_2,
                    opcode: OpcodeByte(opcode),
                    request_id: 0x0102_0304,
                    flags: Flags(flags),
                    ext_len: 5,
                    key_len: 0x0607,
                    value_len: 0x0809_0a0b,
                };
                assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
                assert_eq!(header.flags.has_reserved(), flags > 7);
            }
        }
    }

    #[test]
    fn another_magic_is_another_protocol() {
        let mut bytes = [0; HEADER_LEN];
        assert_eq!(Header::parse(&bytes), Err(CloseReason::NotThisProtocol));
        bytes[0] = 0xCA;
        assert_eq!(Header::parse(&bytes), Err(CloseReason::NotThisProtocol));
        bytes[1] = 0xFE;
        assert!(Header::parse(&bytes).is_ok());
    }

    #[test]
    fn the_length_bound_holds_at_the_limit_and_fails_one_past_it() {
        let header = |value_len| Header {
            version: VERSION_2,
            opcode: OpcodeByte(2),
            request_id: 1,
            flags: Flags::NONE,
            ext_len: 10,
            key_len: 20,
            value_len,
        };
        assert_eq!(
            header(970).bounded_body_len(1_000).map(BodyLen::get),
            Ok(1_000)
        );
        assert_eq!(
            header(971).bounded_body_len(1_000),
            Err(CloseReason::Limit(Limit::FrameBytes))
        );
        assert_eq!(
            header(u32::MAX).bounded_body_len(u32::MAX),
            Err(CloseReason::Limit(Limit::FrameBytes))
        );
    }
}
