//! `tokio-util`'s `Encoder` and `Decoder` over [`KvMessage`], for people who want `Framed`.
//!
//! A thin skin over [`Opener`] and [`Sealer`]: it owns both halves of a session, turns verified
//! frames into owned messages and back, and decides nothing. Continuation, compression and the state
//! of requests are the caller's, with the other parts of this crate.
//!
//! # Example
//!
//! ```
//! use bytes::BytesMut;
//! use kv_proto::{KvCodec, KvMessage, Opcode};
//! use tokio_util::codec::{Decoder, Encoder};
//!
//! # fn main() -> Result<(), kv_proto::CodecError> {
//! let key = [7; 32];
//! let mut client = KvCodec::version_1_client(&key);
//! let mut server = KvCodec::version_1_server(&key);
//!
//! let mut wire = BytesMut::new();
//! let get = KvMessage::new(Opcode::Get, 1, "greeting", "").version_1();
//! client.encode(get.clone(), &mut wire)?;
//! assert_eq!(server.decode(&mut wire)?, Some(get));
//!
//! let ok = KvMessage::new(Opcode::Ok, 1, "", "hello").version_1();
//! server.encode(ok, &mut wire)?;
//! let reply = client.decode(&mut wire)?.expect("one whole frame");
//! assert_eq!(reply.value, "hello");
//! # Ok(())
//! # }
//! ```

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::error::{CloseReason, DecodeError, DecodeKind};
use crate::handshake::Established;
use crate::header::{HEADER_LEN, Header, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::limits::FRAME_BYTES_DEFAULT;
use crate::mac::TAG_LEN;
use crate::message::{KvMessage, MessageError};
use crate::opcode::Opcode;
use crate::open::Opener;
use crate::seal::Sealer;

/// Frames up to this size are copied out of the read buffer, so that a small value does not keep a
/// large buffer alive; longer ones share it.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// What went wrong between a byte stream and its messages. The connection is over, but for
/// [`CodecError::Message`].
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The received bytes ended the connection.
    #[error(transparent)]
    Close(#[from] CloseReason),
    /// The stream failed.
    #[error("the stream failed")]
    Io(#[from] io::Error),
    /// A message cannot be sent; nothing was written and the session goes on.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// Both halves of one session, as a codec for `Framed`.
///
/// KEY_UPDATE messages move the keys on their way through, in both directions.
pub struct KvCodec {
    opener: Opener,
    sealer: Sealer,
    version: u8,
    frame_bytes_max: u32,
    closed: Option<CloseReason>,
}

impl KvCodec {
    /// The client's side of a version-1 connection.
    #[must_use]
    pub fn version_1_client(key: &[u8]) -> Self {
        let opener = Opener::version_1_client(key, FRAME_BYTES_DEFAULT);
        Self::new(
            opener,
            Sealer::version_1(key),
            VERSION_1,
            FRAME_BYTES_DEFAULT,
        )
    }

    /// The server's side of a version-1 connection: request ids must ascend.
    #[must_use]
    pub fn version_1_server(key: &[u8]) -> Self {
        let opener = Opener::version_1_server(key, FRAME_BYTES_DEFAULT);
        Self::new(
            opener,
            Sealer::version_1(key),
            VERSION_1,
            FRAME_BYTES_DEFAULT,
        )
    }

    /// Either side of a version-2 session, after its handshake. The server's first message must be
    /// READY.
    #[must_use]
    pub fn version_2(session: Established) -> Self {
        let max = session.limits.frame_bytes_max;
        Self::new(session.opener, session.sealer, VERSION_2, max)
    }

    const fn new(opener: Opener, sealer: Sealer, version: u8, frame_bytes_max: u32) -> Self {
        Self {
            opener,
            sealer,
            version,
            frame_bytes_max,
            closed: None,
        }
    }

    /// The sending half: whether KEY_UPDATE is due, and whether values have to be copied.
    #[must_use]
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Gives the halves back, for code that goes on without `Framed`.
    #[must_use]
    pub fn into_parts(self) -> (Opener, Sealer) {
        (self.opener, self.sealer)
    }

    fn take(&mut self, src: &mut BytesMut) -> Result<Option<KvMessage>, CloseReason> {
        let mut input: &mut [u8] = src;
        let Some(frame) = self.opener.next(&mut input)? else {
            return Ok(None);
        };
        let (header, len) = (*frame.header(), frame.wire_len());
        let frame = if len <= COPY_BYTES_MAX {
            let copy = Bytes::copy_from_slice(src.get(..len).unwrap_or_default());
            src.advance(len.min(src.len()));
            copy
        } else {
            src.split_to(len.min(src.len())).freeze()
        };
        let cut = DecodeError::new("frame", 0, DecodeKind::Truncated);
        Ok(Some(message(&header, &frame).ok_or(cut)?))
    }
}

/// Splits a whole frame that the session has verified and decrypted; `None` if it is not as long as
/// its header says.
fn message(header: &Header, frame: &Bytes) -> Option<KvMessage> {
    let tag = frame.get(HEADER_LEN..)?.first_chunk::<TAG_LEN>()?;
    let mut body = frame.slice(PREFIX_LEN..);
    let mut take = |len: usize| (len <= body.len()).then(|| body.split_to(len));
    Some(KvMessage {
        version: header.version,
        opcode: header.opcode,
        request_id: header.request_id,
        flags: header.flags,
        ext: take(usize::from(header.ext_len))?,
        key: take(usize::from(header.key_len))?,
        value: take(usize::try_from(header.value_len).ok()?)?,
        tag: *tag,
    })
}

impl Encoder<KvMessage> for KvCodec {
    type Error = CodecError;

    fn encode(&mut self, message: KvMessage, dst: &mut BytesMut) -> Result<(), CodecError> {
        if message.version != self.version {
            return Err(MessageError::WrongVersion(message.version).into());
        }
        let header = message.header(self.frame_bytes_max)?;
        if let Ok(opcode @ (Opcode::KeyUpdate | Opcode::ServerKeyUpdate)) =
            Opcode::try_from(message.opcode)
        {
            let mut frame = Vec::with_capacity(PREFIX_LEN.saturating_add(4));
            self.sealer
                .update_keys(&mut frame, opcode)
                .map_err(CloseReason::from)?;
            dst.extend_from_slice(&frame);
            return Ok(());
        }
        let start = dst.len();
        dst.reserve(PREFIX_LEN.saturating_add(message.body_len()));
        dst.extend_from_slice(&header.to_bytes());
        dst.extend_from_slice(&[0; TAG_LEN]);
        dst.extend_from_slice(&message.ext);
        dst.extend_from_slice(&message.key);
        dst.extend_from_slice(&message.value);
        self.sealer.seal(dst, start);
        Ok(())
    }
}

impl Decoder for KvCodec {
    type Item = KvMessage;
    type Error = CodecError;

    /// Never reserves: the buffer grows with bytes received, not with a declared length.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<KvMessage>, CodecError> {
        if let Some(reason) = self.closed {
            return Err(reason.into());
        }
        self.take(src).map_err(|reason| {
            self.closed = Some(reason);
            reason.into()
        })
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<KvMessage>, CodecError> {
        match self.decode(src)? {
            None if !src.is_empty() => Err(CodecError::Truncated),
            message => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests;
