//! Compression as this session agreed on it: which values go out compressed, and what comes of
//! those that come in.

use bytes::Bytes;
use kv_proto::{
    AssemblerLimits, Capabilities, CloseReason, Opcode, ProtocolViolation, compress, decompress,
};

use crate::error::Error;

/// Shorter values go as they are: an LZ4 block of them is seldom smaller.
const COMPRESS_BYTES_MIN: usize = 512;
/// What this side holds of answers that come in pieces. A server has to fear the peer that asks for
/// memory; here the caller asked for the values.
const RETAINED_BYTES_MAX: usize = 512 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacker {
    pub(crate) capabilities: Capabilities,
    pub(crate) message_bytes_max: usize,
    pub(crate) in_flight_max: usize,
}

impl Unpacker {
    /// The compressed form of a value, where that was agreed on and is smaller.
    pub(crate) fn pack(&self, opcode: Opcode, value: &[u8]) -> Option<Vec<u8>> {
        let fits = self.capabilities.contains(Capabilities::LZ4)
            && opcode.info().continued
            && value.len() >= COMPRESS_BYTES_MIN;
        if fits { compress(value) } else { None }
    }

    /// The value that came compressed. The inner error is the call's alone.
    pub(crate) fn unpack(
        &self,
        opcode: Opcode,
        value: &[u8],
    ) -> Result<Result<Bytes, Error>, CloseReason> {
        if !opcode.info().continued || !self.capabilities.contains(Capabilities::LZ4) {
            return Err(ProtocolViolation::CompressedUnasked.into());
        }
        let unpacked = decompress(value, self.message_bytes_max);
        Ok(unpacked
            .map(Bytes::from)
            .map_err(|_| Error::unusable("its compression is damaged")))
    }

    /// The bounds on answers that come in pieces.
    pub(crate) fn assembler_limits(&self) -> AssemblerLimits {
        AssemblerLimits {
            messages_max: self.in_flight_max,
            retained_bytes_max: RETAINED_BYTES_MAX,
            ..AssemblerLimits::with_message_bytes_max(self.message_bytes_max)
        }
    }
}
