//! The driver's input: a read buffer that grows with received bytes, the walk over the frames in it,
//! and their translation into what the link delivers. Nothing of a frame is used before its tag was
//! verified.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use kv_proto::{
    Assembler, Assembly, CloseReason, DecodeError, DecodeKind, Direction, Extensions, Flags,
    Fragment, Frame, Limit, Opcode, Opener, ProtocolViolation, UnknownOpcode, limits,
};
use tokio::io::{AsyncRead, ReadBuf};

use super::write::Writer;
use crate::error::Error;
use crate::link::deliver::Incoming;
use crate::reply::{Item, Meta, Reply, server_error};
use crate::unpack::Unpacker;

/// Size of the buffer between large frames: a burst of several hundred small answers.
const BUFFER_BYTES: usize = 32 * 1024;

pub(crate) struct Reader {
    opener: Opener,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    assembler: Assembler,
    unpacker: Unpacker,
    /// Whether the buffer may have whole frames that were not walked over.
    more: bool,
    /// What was found and not delivered yet.
    pub(crate) incoming: Vec<Incoming>,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes arrived.
    Some,
    /// There are none at present.
    Pending,
    /// There will be none.
    End,
}

impl Reader {
    /// `early` is what followed the handshake's last frame.
    pub(crate) fn new(opener: Opener, unpacker: Unpacker, early: &[u8]) -> Self {
        let mut bytes = vec![0; BUFFER_BYTES.max(early.len())];
        for (place, byte) in bytes.iter_mut().zip(early) {
            *place = *byte;
        }
        Self {
            opener,
            bytes,
            start: 0,
            end: early.len(),
            assembler: Assembler::new(unpacker.assembler_limits()),
            unpacker,
            more: !early.is_empty(),
            incoming: Vec::new(),
        }
    }

    /// Reads once, unless there is something left of the last time.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> io::Result<Read> {
        if self.more {
            return Ok(Read::Some);
        }
        self.poll_read(io, cx)
    }

    /// Reads once, as much as there is room for.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> io::Result<Read> {
        self.make_room();
        let Some(room) = self
            .bytes
            .get_mut(self.end..)
            .filter(|room| !room.is_empty())
        else {
            return Ok(Read::Some);
        };
        let mut buffer = ReadBuf::new(room);
        match Pin::new(io).poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(Read::Pending),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Ok(Read::End),
            Poll::Ready(Ok(())) => {
                self.end = self.end.saturating_add(buffer.filled().len());
                Ok(Read::Some)
            }
        }
    }

    /// Walks over the whole frames in the buffer, `share` of them at most.
    pub(crate) fn walk(
        &mut self,
        share: usize,
        now_ms: u64,
        writer: &mut Writer,
    ) -> Result<(), CloseReason> {
        self.more = false;
        let Some(mut input) = self.bytes.get_mut(self.start..self.end) else {
            return Ok(());
        };
        let mut intake = Intake {
            assembler: &mut self.assembler,
            unpacker: &self.unpacker,
            incoming: &mut self.incoming,
            writer,
            now_ms,
        };
        let result = loop {
            if intake.incoming.len() >= share {
                self.more = true;
                break Ok(());
            }
            match self.opener.next(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(reason) = intake.accept(&frame) {
                        break Err(reason);
                    }
                }
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
            }
        };
        let left = input.len();
        self.start = self.end.saturating_sub(left);
        result
    }

    /// When continued messages under way are overdue.
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.assembler.next_deadline().unwrap_or(u64::MAX)
    }

    /// Whether a continued message is overdue: a server that stalls in the middle of one.
    pub(crate) fn is_overdue(&mut self, now_ms: u64) -> bool {
        !self.assembler.is_empty() && self.assembler.expire(now_ms).is_some()
    }

    /// Moves a partial frame to the front, lets the buffer grow as far as that frame needs, and gives
    /// memory back after a large one.
    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > BUFFER_BYTES {
                self.bytes.truncate(BUFFER_BYTES);
                self.bytes.shrink_to_fit();
            }
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        if self.end < self.bytes.len() {
            return;
        }
        let held = self.bytes.get(..self.end).unwrap_or_default();
        let wanted = self.opener.wanted(held).unwrap_or(BUFFER_BYTES);
        let doubled = self.bytes.len().saturating_mul(2);
        self.bytes
            .resize(doubled.min(wanted).max(self.bytes.len()), 0);
    }
}

/// What one frame is translated with.
struct Intake<'a> {
    assembler: &'a mut Assembler,
    unpacker: &'a Unpacker,
    incoming: &'a mut Vec<Incoming>,
    writer: &'a mut Writer,
    now_ms: u64,
}

/// A whole message, from one frame or from many.
struct Message<'a> {
    id: u32,
    ext: &'a [u8],
    key: &'a [u8],
    value: Value<'a>,
    flags: Flags,
}

enum Value<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Value<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    #[inline]
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Intake<'_> {
    #[inline]
    fn accept(&mut self, frame: &Frame<'_>) -> Result<(), CloseReason> {
        let opcode =
            Opcode::try_from(frame.opcode()).map_err(|UnknownOpcode(byte)| DecodeError {
                what: "opcode",
                offset: 3,
                kind: DecodeKind::Unknown(byte),
            })?;
        if opcode.direction() != Direction::ToClient {
            return Err(ProtocolViolation::WrongDirection.into());
        }
        let id = frame.request_id();
        let continued = frame.flags().contains(Flags::MORE)
            || (!self.assembler.is_empty() && id != 0 && self.assembler.contains(id));
        if continued {
            return self.assemble(opcode, frame);
        }
        self.message(
            opcode,
            Message {
                id,
                ext: frame.ext(),
                key: frame.key(),
                value: Value::Borrowed(frame.value()),
                flags: frame.flags(),
            },
        )
    }

    fn assemble(&mut self, opcode: Opcode, frame: &Frame<'_>) -> Result<(), CloseReason> {
        let info = opcode.info();
        if !info.continued {
            return Err(ProtocolViolation::Continuation.into());
        }
        let ext = Extensions::decode(frame.ext(), info.ext)
            .map_err(|_| CloseReason::Violation(ProtocolViolation::Continuation))?;
        let fragment = Fragment {
            request_id: frame.request_id(),
            opcode: frame.opcode(),
            flags: Flags(frame.flags().0 & !Flags::MORE.0),
            more: frame.flags().contains(Flags::MORE),
            total_len: ext.total_len,
            ext: frame.ext(),
            key: frame.key(),
            value: frame.value(),
        };
        match self.assembler.accept(self.now_ms, &fragment) {
            Ok(Assembly::Complete(whole)) => self.message(
                opcode,
                Message {
                    id: whole.request_id,
                    ext: &whole.ext,
                    key: &whole.key,
                    value: Value::Owned(whole.value),
                    flags: whole.flags,
                },
            ),
            Ok(Assembly::Pending) => Ok(()),
            // The last piece of one that was too large: the id is free from here on.
            Ok(Assembly::Swallowed) if opcode == Opcode::Ok => {
                let error = Error::unusable("it is larger than this client takes");
                self.incoming
                    .push(Incoming::Reply(fragment.request_id, Reply::Err(error)));
                Ok(())
            }
            Ok(Assembly::Swallowed) => Err(CloseReason::Limit(Limit::MessageBytes)),
            Err(error) => error.close_reason().map_or(Ok(()), Err),
        }
    }

    #[inline]
    fn message(&mut self, opcode: Opcode, mut message: Message<'_>) -> Result<(), CloseReason> {
        let id = message.id;
        if message.flags.contains(Flags::COMPRESSED) {
            match self.unpacker.unpack(opcode, message.value.as_slice())? {
                Ok(value) => message.value = Value::Owned(value),
                Err(error) => {
                    self.incoming.push(Incoming::Reply(id, Reply::Err(error)));
                    return Ok(());
                }
            }
        }
        let incoming = match opcode {
            Opcode::Ok => {
                let meta = Meta::decode(message.ext, opcode.info().ext)?;
                Incoming::Reply(id, Reply::Ok(message.value.into_bytes(), meta))
            }
            Opcode::NotFound => Incoming::Reply(id, Reply::NotFound),
            Opcode::End => Incoming::Reply(id, Reply::End),
            Opcode::Err => {
                let error = server_error(message.ext, message.key, message.value.as_slice())?;
                if id == 0 {
                    Incoming::Farewell(error)
                } else {
                    Incoming::Reply(id, Reply::Err(error))
                }
            }
            Opcode::Item => Incoming::Item(
                id,
                Item {
                    key: Bytes::copy_from_slice(message.key),
                    meta: Meta::decode(message.ext, opcode.info().ext)?,
                    value: message.value.into_bytes(),
                },
            ),
            // `Opener` has moved to the next keys by itself; notices are for subscribers.
            Opcode::ServerKeyUpdate | Opcode::Notice => return Ok(()),
            _ => return self.control(opcode, &message),
        };
        self.incoming.push(incoming);
        Ok(())
    }

    fn control(&mut self, opcode: Opcode, message: &Message<'_>) -> Result<(), CloseReason> {
        if message.id != 0 {
            return Err(ProtocolViolation::RequestId.into());
        }
        let value = message.value.as_slice();
        match opcode {
            Opcode::ServerPing if value.len() <= limits::PING_BYTES_MAX => {
                self.writer.pong(value)?
            }
            Opcode::ServerPong => {
                if let Ok(id) = value.try_into() {
                    self.incoming.push(Incoming::Pong(u32::from_be_bytes(id)));
                }
            }
            Opcode::Goaway => self.incoming.push(Incoming::Goaway),
            Opcode::ServerGoodbye => self.incoming.push(Incoming::Goodbye),
            // WELCOME and READY have their place in the handshake.
            _ => return Err(ProtocolViolation::UnexpectedFrame.into()),
        }
        Ok(())
    }
}
