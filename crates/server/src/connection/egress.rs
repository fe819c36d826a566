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
/// Messages in pieces that are under way at one time, and their values together: half of what every
/// receiver takes [P-9.7]. Further ones wait, however many the peer asked for at once.
const UNDER_WAY_MAX: usize = 32;
const UNDER_WAY_BYTES: usize = 16 * 1024 * 1024;
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
    /// Length of the values in `turns`.
    under_way_bytes: usize,
    /// Messages that wait: for their turn to begin, or for an earlier one of the same request that is
    /// still leaving in pieces, between which nothing of that request may go [P-9.4].
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
            under_way_bytes: 0,
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
                (!piece.more).then_some(message.value.len())
            });
            fed |= last.is_some();
            if let Some(Some(len)) = last {
                self.under_way_bytes -= len;
                self.follow();
            }
        }
        fed
    }

    /// The last piece of a message has gone: sends what waited for that, in order. A message without
    /// room lets those behind it pass only if they need none.
    fn follow(&mut self) {
        let (mut at, mut room) = (0, true);
        while let Some(message) = self.behind.get(at) {
            let head = message.head;
            let cut = self.cut(&message.ext, &message.key, message.value.len());
            room &= cut.is_none() || self.has_room(message.value.len());
            let follows = self.is_leaving(head.request_id)
                || self.is_behind(head.request_id, at)
                || (cut.is_some() && !room);
            if follows {
                at += 1;
                continue;
            }
            if let Some(next) = self.behind.remove(at) {
                self.behind_bytes -= next.value.len() + PREFIX_LEN;
                self.put(head, &next.ext, &next.key, Value::Shared(&next.value), cut);
            }
        }
    }

    /// Whether one more message in pieces, of this length, may be under way.
    fn has_room(&self, len: usize) -> bool {
        self.turns.is_empty()
            || self.turns.len() < UNDER_WAY_MAX
                && self.under_way_bytes.saturating_add(len) <= UNDER_WAY_BYTES
    }

    /// Whether one of the first so many messages that wait is of this request.
    fn is_behind(&self, request_id: u32, first: usize) -> bool {
        self.behind
            .iter()
            .take(first)
            .any(|message| message.head.request_id == request_id)
    }

    /// How a message is cut, if it does not fit one frame. `Err` is one that may not be sent at all.
    fn cut(&self, ext: &[u8], key: &[u8], len: usize) -> Option<Result<Fragmenter, ()>> {
        if len <= COPIED_BYTES_MAX {
            return None;
        }
        let head_len = ext.len().saturating_add(key.len());
        match Fragmenter::new(head_len, len, &self.cut) {
            Ok(fragmenter) if fragmenter.total_len().is_none() => None,
            Ok(fragmenter) => Some(Ok(fragmenter)),
            Err(_) => Some(Err(())),
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
        let cut = self.cut(ext, key, value.len());
        if !self.turns.is_empty() {
            let follows = self.is_leaving(head.request_id)
                || self.is_behind(head.request_id, self.behind.len());
            if follows || cut.is_some() && (!self.behind.is_empty() || !self.has_room(value.len()))
            {
                self.behind_bytes += value.len() + PREFIX_LEN;
                return self.behind.push_back(Outgoing {
                    head,
                    ext: ext.to_vec(),
                    key: Bytes::copy_from_slice(key),
                    value: value.to_bytes(),
                });
            }
        }
        self.put(head, ext, key, value, cut);
    }

    fn put(
        &mut self,
        head: FrameHead,
        ext: &[u8],
        key: &[u8],
        value: Value<'_>,
        cut: Option<Result<Fragmenter, ()>>,
    ) {
        match cut {
            None if self.copy || value.len() <= COPIED_BYTES_MAX => {
                self.out.frame(head, ext, key, value.as_slice());
            }
            None => self.out.frame_shared(head, ext, key, value.to_bytes()),
            Some(Ok(fragmenter)) => {
                let total = fragmenter.total_len().unwrap_or_default();
                let mut ext = ext.to_vec();
                ext.extend_from_slice(&[ext_tag::TOTAL_LEN, 4]);
                ext.extend_from_slice(&total.to_be_bytes());
                self.under_way_bytes += value.len();
                let message = Outgoing {
                    head,
                    ext,
                    key: Bytes::copy_from_slice(key),
                    value: value.to_bytes(),
                };
                self.turns.push(fragmenter, message);
            }
            // The entry was written under these limits, so only a smaller limit since then is here.
            Some(Err(())) => super::reply::error(
                self,
                head.request_id,
                &super::request::Reject::new(
                    ErrorCode::TooLarge,
                    "the value exceeds this session's message limit",
                ),
            ),
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
