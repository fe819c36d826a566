//! What callers have put on the connection and the driver has not taken yet: unsealed frames in one
//! buffer, and large messages that are cut piece by piece and take turns.

use std::collections::VecDeque;

use kv_proto::{Fragmenter, FrameHead, Opcode, write_frame};

/// Large messages that are under way at one time, and their values together: half of what every
/// receiver takes [P-9.7]. Further ones wait.
const UNDER_WAY_MAX: usize = 32;
const UNDER_WAY_BYTES: usize = 16 * 1024 * 1024;

/// The end of one frame in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) end: usize,
    /// The request it belongs to.
    pub(crate) id: u32,
    /// Whether it takes a place of the outbound bound, which its writing gives back: the one frame
    /// of a request, or the last of a large one.
    pub(crate) counted: bool,
}

/// Frames in a buffer, each with its mark.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
}

impl Frames {
    /// Appends an unsealed frame.
    #[inline]
    pub(crate) fn push(&mut self, head: FrameHead, id: u32, body: Body<'_>, counted: bool) {
        write_frame(&mut self.bytes, head, body.ext, body.key, body.value);
        self.marks.push(Mark {
            end: self.bytes.len(),
            id,
            counted,
        });
    }
}

/// The parts of a frame's body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Body<'a> {
    pub(crate) ext: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> Body<'a> {
    pub(crate) const fn of_value(value: &'a [u8]) -> Self {
        Self {
            ext: &[],
            key: &[],
            value,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) frames: Frames,
    pub(crate) large: VecDeque<Large>,
    /// Frames that were taken from callers and whose bytes were not written to the transport yet,
    /// those in the driver's hands included. A large message counts once.
    pub(crate) counted: usize,
}

impl Outbox {
    #[inline]
    pub(crate) fn push_request(&mut self, head: FrameHead, id: u32, body: Body<'_>) {
        self.frames.push(head, id, body, true);
        self.counted = self.counted.saturating_add(1);
    }

    pub(crate) fn push_large(&mut self, large: Large) {
        self.large.push_back(large);
        self.counted = self.counted.saturating_add(1);
    }

    /// A frame beside the bound: CANCEL, at most one per request, and CREDIT, at most one per half
    /// window of a stream.
    pub(crate) fn push_control(&mut self, opcode: Opcode, id: u32, value: &[u8]) {
        self.frames
            .push(FrameHead::new(opcode, id), id, Body::of_value(value), false);
    }

    /// Takes out the large message whose turn it is to write a piece; it goes back behind the others
    /// unless that was its last one.
    pub(crate) fn take_large(&mut self) -> Option<Large> {
        let (mut started, mut bytes) = (0_usize, 0_usize);
        for large in self.large.iter().filter(|large| large.is_started()) {
            started = started.saturating_add(1);
            bytes = bytes.saturating_add(large.value.len());
        }
        let at = self.large.iter().position(|large| {
            large.is_started() || {
                let room = started == 0
                    || started < UNDER_WAY_MAX
                        && bytes.saturating_add(large.value.len()) <= UNDER_WAY_BYTES;
                // Those that have not begun do so in their order.
                if !room {
                    started = UNDER_WAY_MAX;
                }
                room
            }
        })?;
        self.large.remove(at)
    }

    /// Takes a large message back. `Some(started)` if it was here.
    pub(crate) fn remove_large(&mut self, id: u32) -> Option<bool> {
        let at = self
            .large
            .iter()
            .position(|large| large.head.request_id == id)?;
        let large = self.large.remove(at)?;
        self.counted = self.counted.saturating_sub(1);
        Some(large.is_started())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.marks.is_empty() && self.large.is_empty()
    }
}

/// A message whose value needs more than one frame.
#[derive(Debug)]
pub(crate) struct Large {
    pub(crate) head: FrameHead,
    ext: Box<[u8]>,
    key: Box<[u8]>,
    value: Box<[u8]>,
    pieces: Fragmenter,
}

impl Large {
    /// `pieces` is the plan for this body; `ext` has its TOTAL_LEN.
    pub(crate) fn new(head: FrameHead, body: Body<'_>, pieces: Fragmenter) -> Self {
        Self {
            head,
            ext: body.ext.into(),
            key: body.key.into(),
            value: body.value.into(),
            pieces,
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.pieces.remaining() < self.value.len()
    }

    /// Appends the next piece. True when it was the last.
    pub(crate) fn write_piece(&mut self, out: &mut Frames) -> bool {
        let Some(piece) = self.pieces.next() else {
            return true;
        };
        let (ext, key): (&[u8], &[u8]) = if piece.first {
            (&self.ext, &self.key)
        } else {
            (&[], &[])
        };
        let value = self.value.get(piece.value.clone()).unwrap_or_default();
        let head = FrameHead {
            flags: self.head.flags.with(piece.flags()),
            ..self.head
        };
        out.push(
            head,
            self.head.request_id,
            Body { ext, key, value },
            !piece.more,
        );
        !piece.more
    }
}
