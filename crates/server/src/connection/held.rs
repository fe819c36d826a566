//! Replies that may not leave yet, because what they say is not durable.
//!
//! Owns these replies, in the order of what they depend on, with their bytes, ids and deadlines. It
//! does not know what is durable: the caller says how far the store has come, and exactly what
//! depends on nothing behind that comes out, the smallest position first, unchanged.

mod ids;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem::size_of;

use bytes::Bytes;
use kv_proto::{ErrorCode, FrameHead, Opcode};
use kv_service::{INLINE_VALUE_BYTES_MAX, Position, Value};
use tokio::time::Instant;

use super::reply::FrameSink;
use super::wakes::Place;
use ids::Ids;

/// A store of replies that grew beyond this is freed instead of kept for the next connection.
const KEPT_REPLIES: usize = 256;
const KEPT_BYTES: usize = 64 * 1024;
/// Stores kept per thread: as many connections as wait at one moment, few of them for long.
const KEPT_MAX: usize = 64;
/// Bytes of replies that have left and may stand between those that wait.
const GAPS_MIN: usize = 4 * 1024;

/// What a reply says, for the metrics and for the case that it never may be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// `None` is success.
    pub(super) code: Option<ErrorCode>,
    /// It says that there is no entry.
    pub(super) missing: bool,
    /// The request changed something.
    pub(super) applied: bool,
}

impl Answered {
    /// ERR, with nothing changed.
    pub(super) const fn refused(code: ErrorCode) -> Self {
        Self {
            code: Some(code),
            missing: false,
            applied: false,
        }
    }
}

/// Whose reply it is, and what it waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    pub(super) opcode: Opcode,
    pub(super) request_id: u32,
    /// It may leave once everything up to here is durable.
    pub(super) after: Position,
    /// When its request came.
    pub(super) since: Instant,
    pub(super) deadline: Option<Instant>,
}

/// One reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) note: Note,
    pub(super) answered: Answered,
    /// Its client does not want it any more.
    pub(super) cancelled: bool,
    frame: Framed,
    /// In the order of arrival.
    number: u64,
}

/// A frame's body in the arena: extensions, key and value, unless that is shared.
#[derive(Debug)]
struct Framed {
    head: FrameHead,
    start: usize,
    ext_len: u8,
    key_len: u16,
    value_len: u32,
    shared: Option<Box<Bytes>>,
}

impl Framed {
    /// Bytes in the arena.
    fn len(&self) -> usize {
        usize::from(self.ext_len) + usize::from(self.key_len) + as_usize(self.value_len)
    }

    fn shared_len(&self) -> usize {
        self.shared.as_ref().map_or(0, |value| value.len())
    }
}

fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A reply as it was written.
pub(super) struct Body<'h> {
    pub(super) head: FrameHead,
    pub(super) ext: &'h [u8],
    pub(super) key: &'h [u8],
    pub(super) value: Value<'h>,
}

/// In the order of release.
#[derive(Debug)]
struct Early(Reply);

impl Early {
    const fn order(&self) -> (Position, u64) {
        (self.0.note.after, self.0.number)
    }
}

impl PartialEq for Early {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Early {}

impl PartialOrd for Early {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Early {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// The replies one connection holds.
#[derive(Default)]
pub(super) struct Held {
    /// Those that depend on no less than all before them: almost all.
    queue: VecDeque<Reply>,
    /// The others: reads of what was written some time ago.
    early: BinaryHeap<Reverse<Early>>,
    /// The bodies of both, with gaps.
    arena: Vec<u8>,
    /// Bytes of `arena` that are no gaps.
    live: usize,
    /// Bytes of values that stand elsewhere.
    shared: usize,
    next: u64,
    ids: Ids,
    /// No deadline is before this.
    deadline: Option<Instant>,
    /// The ids of those that are cancelled.
    cancelled: Vec<u32>,
    /// Where the connection waits to be woken.
    pub(super) place: Option<Place>,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "they go in and out in their boxes")]
    static KEPT: RefCell<Vec<Box<Held>>> = const { RefCell::new(Vec::new()) };
}

impl Held {
    /// An empty store, usually one with room.
    pub(super) fn take() -> Box<Self> {
        KEPT.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Gives an empty store back.
    pub(super) fn give(mut held: Box<Self>) {
        held.place = None;
        let small = held.queue.capacity() <= KEPT_REPLIES
            && held.early.capacity() <= KEPT_REPLIES
            && held.arena.capacity() <= KEPT_BYTES;
        if small && held.is_empty() {
            KEPT.with_borrow_mut(|kept| {
                if kept.len() < KEPT_MAX {
                    kept.push(held);
                }
            });
        }
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.early.len()
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.early.is_empty()
    }

    /// Bytes of output that wait here.
    pub(super) const fn bytes(&self) -> usize {
        self.live + self.shared
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        (self.queue.capacity() + self.early.capacity()) * size_of::<Reply>()
            + self.arena.capacity()
            + self.ids.held_bytes()
            + self.shared
            + size_of::<Self>()
    }

    /// No reply to a request with a higher id than this is held; 0 when none is.
    pub(super) const fn highest_id(&self) -> u32 {
        self.ids.highest()
    }

    /// Whether the reply to a request with this id is held.
    #[inline]
    pub(super) fn contains(&self, request_id: u32) -> bool {
        self.ids.contains(request_id)
    }

    /// The smallest position that something waits for.
    pub(super) fn first(&self) -> Option<Position> {
        let queued = self.queue.front().map(|reply| reply.note.after);
        let early = self.early.peek().map(|Reverse(early)| early.0.note.after);
        match (queued, early) {
            (Some(queued), Some(early)) => Some(queued.min(early)),
            (queued, early) => queued.or(early),
        }
    }

    /// Holds the reply that `write` writes: exactly one frame.
    #[inline]
    pub(super) fn push(&mut self, note: Note, write: impl FnOnce(&mut dyn FrameSink) -> Answered) {
        let start = self.arena.len();
        let mut staging = Staging {
            arena: &mut self.arena,
            frame: None,
        };
        let answered = write(&mut staging);
        let Some(frame) = staging.frame else {
            debug_assert!(false, "a reply is a frame");
            self.arena.truncate(start);
            return;
        };
        self.live += frame.len();
        self.shared += frame.shared_len();
        self.ids.insert(note.request_id);
        if let Some(deadline) = note.deadline {
            self.deadline = Some(self.deadline.map_or(deadline, |at| at.min(deadline)));
        }
        let reply = Reply {
            note,
            answered,
            cancelled: false,
            frame,
            number: self.next,
        };
        self.next += 1;
        match self.queue.back() {
            Some(last) if last.note.after > note.after => self.early.push(Reverse(Early(reply))),
            _ => self.queue.push_back(reply),
        }
    }

    /// Gives everything that depends on nothing behind `through` to `send`, in the order of what it
    /// depends on. How many that were.
    pub(super) fn release(
        &mut self,
        through: Position,
        mut send: impl FnMut(&Reply, Body<'_>),
    ) -> usize {
        let mut released = 0_usize;
        while let Some(mut reply) = self.pop(through) {
            released += 1;
            self.ids.remove(reply.note.request_id);
            if !self.cancelled.is_empty() {
                reply.cancelled = self.forget_cancelled(reply.note.request_id);
            }
            send(&reply, self.body(&reply.frame));
            self.live -= reply.frame.len();
            self.shared -= reply.frame.shared_len();
        }
        if released > 0 {
            self.tidy();
        }
        released
    }

    fn pop(&mut self, through: Position) -> Option<Reply> {
        let front = self.queue.front();
        if let Some(Reverse(early)) = self.early.peek()
            && front.is_none_or(|front| early.order() < (front.note.after, front.number))
        {
            let ready = early.0.note.after <= through;
            let popped = ready.then(|| self.early.pop()).flatten();
            return popped.map(|Reverse(Early(reply))| reply);
        }
        let ready = front?.note.after <= through;
        ready.then(|| self.queue.pop_front()).flatten()
    }

    fn body<'h>(&'h self, frame: &'h Framed) -> Body<'h> {
        let bytes = self.arena.get(frame.start..).unwrap_or_default();
        let (ext, rest) = split(bytes, usize::from(frame.ext_len));
        let (key, rest) = split(rest, usize::from(frame.key_len));
        let (value, _) = split(rest, as_usize(frame.value_len));
        Body {
            head: frame.head,
            ext,
            key,
            value: match &frame.shared {
                Some(value) => Value::Shared(value),
                None => Value::Inline(value),
            },
        }
    }

    /// After some have gone.
    fn tidy(&mut self) {
        if self.is_empty() {
            debug_assert!(self.live == 0 && self.shared == 0 && self.cancelled.is_empty());
            self.arena.clear();
            self.cancelled = Vec::new();
            self.deadline = None;
            return;
        }
        if self.arena.len() - self.live > self.live.max(GAPS_MIN) {
            self.pack();
        }
    }

    /// Closes the gaps. Moves no more bytes than have left since the last time.
    fn pack(&mut self) {
        let mut packed = Vec::with_capacity(2 * self.live);
        let arena = &self.arena;
        let mut move_frame = |frame: &mut Framed| {
            let start = packed.len();
            let end = frame.start + frame.len();
            packed.extend_from_slice(arena.get(frame.start..end).unwrap_or_default());
            frame.start = start;
        };
        for reply in &mut self.queue {
            move_frame(&mut reply.frame);
        }
        let mut early = std::mem::take(&mut self.early).into_vec();
        for Reverse(Early(reply)) in &mut early {
            move_frame(&mut reply.frame);
        }
        self.early = early.into();
        self.arena = packed;
    }

    /// CANCEL: the reply of this request is not wanted any more. Whether it is held and was wanted.
    pub(super) fn cancel(&mut self, request_id: u32) -> bool {
        let first = self.contains(request_id) && !self.cancelled.contains(&request_id);
        if first {
            self.cancelled.push(request_id);
        }
        first
    }

    fn forget_cancelled(&mut self, request_id: u32) -> bool {
        let at = self.cancelled.iter().position(|&id| id == request_id);
        at.map(|at| self.cancelled.swap_remove(at)).is_some()
    }

    /// When to look for deadlines that are over.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Drops the replies whose deadline is over; those that are cancelled have none.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Note, Answered)> {
        let mut over = Vec::new();
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return over;
        }
        let mut next: Option<Instant> = None;
        let (mut live, mut shared) = (0, 0);
        let (cancelled, ids) = (&self.cancelled, &mut self.ids);
        let mut keep = |reply: &Reply| {
            let deadline = reply.note.deadline;
            let Some(deadline) = deadline.filter(|_| !cancelled.contains(&reply.note.request_id))
            else {
                return true;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                return true;
            }
            live += reply.frame.len();
            shared += reply.frame.shared_len();
            ids.remove(reply.note.request_id);
            over.push((reply.note, reply.answered));
            false
        };
        self.queue.retain(&mut keep);
        self.early.retain(|Reverse(Early(reply))| keep(reply));
        self.deadline = next;
        self.live -= live;
        self.shared -= shared;
        if !over.is_empty() {
            self.tidy();
        }
        over
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// Takes the one frame of a reply.
struct Staging<'h> {
    arena: &'h mut Vec<u8>,
    frame: Option<Framed>,
}

impl FrameSink for Staging<'_> {
    #[inline]
    fn frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Value<'_>) {
        debug_assert!(self.frame.is_none(), "a reply is one frame");
        let start = self.arena.len();
        self.arena.extend_from_slice(ext);
        self.arena.extend_from_slice(key);
        let shared = match value {
            Value::Shared(value) if value.len() > INLINE_VALUE_BYTES_MAX => {
                Some(Box::new(Bytes::clone(value)))
            }
            value => {
                self.arena.extend_from_slice(value.as_slice());
                None
            }
        };
        let copied = if shared.is_some() { 0 } else { value.len() };
        self.frame = Some(Framed {
            head,
            start,
            ext_len: u8::try_from(ext.len()).unwrap_or(u8::MAX),
            key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
            value_len: u32::try_from(copied).unwrap_or(u32::MAX),
            shared,
        });
    }
}

#[cfg(test)]
mod tests;
