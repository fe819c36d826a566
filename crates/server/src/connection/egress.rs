//! Replies on their way out: what is copied, what is shared, what is cut into frames that take turns.

use std::collections::VecDeque;

use bytes::Bytes;
use kv_proto::{
    CutLimits, ErrorBody, ErrorCode, Flags, Fragmenter, FrameHead, Opcode, PREFIX_LEN, TakeTurns,
    compress, ext_tag,
};
use kv_service::Value;

use super::outbox::Outbox;
use super::reply::FrameSink;

/// A value above this is not copied into the output buffer, where the suite allows it.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// Cut messages are fed into the outbox up to this: enough to keep a socket busy, little enough that
/// a small reply behind them leaves soon.
const FEED_BYTES: usize = 256 * 1024;
/// A value below this is never worth compressing.
const COMPRESSED_BYTES_MIN: usize = 256;

/// A message that does not fit one frame, or waits for such a one.
pub(super) struct Outgoing {
    head: FrameHead,
    ext: Vec<u8>,
    key: Bytes,
    value: Bytes,
}

/// The output of a connection: the outbox and the large messages that feed it.
pub(super) struct Egress {
    pub(super) out: Outbox,
    turns: TakeTurns<Outgoing>,
    /// Messages of requests of which an earlier one is still leaving in pieces: nothing of a request
    /// may go between those [P-9.4].
    behind: VecDeque<Outgoing>,
    behind_bytes: usize,
    cut: CutLimits,
    /// Suite 2: a value has to be in the frame to be encrypted.
    copy: bool,
    version_1: bool,
    lz4: bool,
}

impl Egress {
    pub(super) fn new(cut: CutLimits, copy: bool, version_1: bool, lz4: bool) -> Self {
        Self {
            out: Outbox::default(),
            turns: TakeTurns::new(),
            behind: VecDeque::new(),
            behind_bytes: 0,
            cut,
            copy,
            version_1,
            lz4,
        }
    }

    /// Moves pieces of large messages into the outbox while there is room. Whether it moved any.
    pub(super) fn feed(&mut self) -> bool {
        let mut fed = false;
        while !self.turns.is_empty() && self.out.len() < FEED_BYTES {
            let (out, copy) = (&mut self.out, self.copy);
            let last = self.turns.turn(|message, piece| {
                let head = FrameHead {
                    flags: message.head.flags.with(piece.flags()),
                    ..message.head
                };
                let value = message.value.slice(piece.value.clone());
                let (ext, key) = if piece.first {
                    (message.ext.as_slice(), message.key.as_ref())
                } else {
                    (&[][..], &[][..])
                };
                if copy {
                    out.frame(head, ext, key, &value);
                } else {
                    out.frame_shared(head, ext, key, value);
                }
                (!piece.more).then_some(head.request_id)
            });
            fed |= last.is_some();
            if let Some(Some(request_id)) = last {
                self.follow(request_id);
            }
        }
        fed
    }

    /// The last piece of a message has gone: sends what waited for it, up to the next message in
    /// pieces.
    fn follow(&mut self, request_id: u32) {
        while !self.is_leaving(request_id)
            && let Some(at) = self
                .behind
                .iter()
                .position(|message| message.head.request_id == request_id)
            && let Some(next) = self.behind.remove(at)
        {
            self.behind_bytes -= next.value.len() + PREFIX_LEN;
            self.send(next.head, &next.ext, &next.key, Value::Shared(&next.value));
        }
    }

    /// Whether a message of this request is leaving in pieces.
    fn is_leaving(&self, request_id: u32) -> bool {
        self.turns
            .any(|message| message.head.request_id == request_id)
    }

    /// Whether nothing waits to leave.
    pub(super) fn is_idle(&self) -> bool {
        self.turns.is_empty() && self.out.is_empty()
    }

    /// Memory held by what waits. A value that the store shares counts here too: it may be gone from
    /// there.
    pub(super) fn held_bytes(&self) -> usize {
        self.out
            .held_bytes()
            .saturating_add(self.turns.remaining())
            .saturating_add(self.behind_bytes)
    }

    /// Bytes that wait, in the outbox and behind it.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.out
            .len()
            .saturating_add(self.turns.remaining())
            .saturating_add(self.behind_bytes)
    }

    /// Version 1 has no extensions and no continuation, and its ERR is text that begins with the
    /// code's name [P-4.12].
    fn frame_version_1(&mut self, head: FrameHead, value: &[u8]) {
        let text = |code: ErrorCode, message: &str| format!("{}: {message}", code.name());
        let opcode = Opcode::Err;
        if value.len() > self.cut.frame_bytes_max {
            let text = text(ErrorCode::TooLarge, "the value does not fit one frame");
            let head = FrameHead { opcode, ..head };
            return self.out.frame(head, &[], &[], text.as_bytes());
        }
        match ErrorBody::decode(value) {
            Ok(body) if head.opcode == opcode => {
                let code = body.known().unwrap_or(ErrorCode::Internal);
                let text = text(code, body.message);
                self.out.frame(head, &[], &[], text.as_bytes());
            }
            _ => self.out.frame(head, &[], &[], value),
        }
    }

    /// Only messages that may be continued may be compressed [P-9.9].
    fn compressed(&self, opcode: Opcode, value: Value<'_>) -> Option<Bytes> {
        let worth = self.lz4 && value.len() >= COMPRESSED_BYTES_MIN && opcode.info().continued;
        worth
            .then(|| compress(value.as_slice()))
            .flatten()
            .map(Bytes::from)
    }

    fn send(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Value<'_>) {
        if !self.turns.is_empty() && self.is_leaving(head.request_id) {
            self.behind_bytes += value.len() + PREFIX_LEN;
            return self.behind.push_back(Outgoing {
                head,
                ext: ext.to_vec(),
                key: Bytes::copy_from_slice(key),
                value: value.to_bytes(),
            });
        }
        if value.len() <= COPIED_BYTES_MAX {
            return self.out.frame(head, ext, key, value.as_slice());
        }
        let head_len = ext.len().saturating_add(key.len());
        let Ok(fragmenter) = Fragmenter::new(head_len, value.len(), &self.cut) else {
            // The entry was written under these limits, so only a smaller limit since then is here.
            return super::reply::error(
                self,
                head.request_id,
                &super::request::Reject::new(
                    ErrorCode::TooLarge,
                    "the value exceeds this session's message limit",
                ),
            );
        };
        match fragmenter.total_len() {
            None if self.copy => self.out.frame(head, ext, key, value.as_slice()),
            None => self.out.frame_shared(head, ext, key, value.to_bytes()),
            Some(total) => {
                let mut ext = ext.to_vec();
                ext.extend_from_slice(&[ext_tag::TOTAL_LEN, 4]);
                ext.extend_from_slice(&total.to_be_bytes());
                let key = Bytes::copy_from_slice(key);
                self.turns.push(
                    fragmenter,
                    Outgoing {
                        head,
                        ext,
                        key,
                        value: value.to_bytes(),
                    },
                );
            }
        }
    }
}

impl FrameSink for Egress {
    #[inline]
    fn frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Value<'_>) {
        if self.version_1 {
            return self.frame_version_1(head, value.as_slice());
        }
        match self.compressed(head.opcode, value) {
            Some(bytes) => {
                let head = FrameHead {
                    flags: head.flags.with(Flags::COMPRESSED),
                    ..head
                };
                self.send(head, ext, key, Value::Shared(&bytes));
            }
            None => self.send(head, ext, key, value),
        }
    }
}
