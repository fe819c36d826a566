//! What a connection has to send: frames are appended unsealed, sealed in order just before they
//! leave, and written with as few system calls as possible. Large values stand beside the buffer as
//! shared slices and leave vectored, uncopied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use kv_proto::{FrameHead, Sealer, write_frame, write_frame_front};
use tokio::io::AsyncWrite;

use super::pool;

/// Slices handed to one vectored write.
const SLICES_MAX: usize = 32;
/// Values that stand elsewhere are sealed until this much waits to leave.
const SEALED_AHEAD_MAX: usize = 256 * 1024;
/// Places of frames that an idle connection keeps room for: those of a run.
const KEPT_PLACES: usize = 64;
/// Bytes that have left and may stand in front of what waits.
const SENT_KEPT_MAX: usize = 64 * 1024;

/// Output of one connection.
#[derive(Default)]
pub(super) struct Outbox {
    /// The tail: what is behind every segment.
    buf: Vec<u8>,
    /// Where the frames in `buf` begin that still lack their tag, in order.
    unsealed: Vec<usize>,
    /// Shared values of such frames: the place in `unsealed`, ascending, and the value.
    detached: VecDeque<(usize, Bytes)>,
    /// Sealed pieces in front of `buf`.
    segments: VecDeque<Segment>,
    segment_bytes: usize,
    /// Bytes of the first piece that have left.
    sent: usize,
    /// Bytes of shared values in `unsealed`.
    detached_bytes: usize,
}

enum Segment {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// Appends a frame whose value is copied.
    #[inline]
    pub(super) fn frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: &[u8]) {
        self.prepare();
        let start = write_frame(&mut self.buf, head, ext, key, value);
        self.unsealed.push(start);
    }

    /// Appends a frame whose value leaves from where it is.
    pub(super) fn frame_shared(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Bytes) {
        self.prepare();
        let start = write_frame_front(&mut self.buf, head, ext, key, value.len());
        self.detached_bytes += value.len();
        self.detached.push_back((self.unsealed.len(), value));
        self.unsealed.push(start);
    }

    fn prepare(&mut self) {
        if self.buf.capacity() == 0 {
            self.buf = pool::take_output();
        }
    }

    /// How much is there, to undo what a panicking handler began.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.buf.len(), self.unsealed.len())
    }

    /// Forgets the frames appended since `mark`; nothing may have been sealed in between.
    pub(super) fn truncate(&mut self, mark: (usize, usize)) {
        self.buf.truncate(mark.0);
        self.unsealed.truncate(mark.1);
        while self
            .detached
            .back()
            .is_some_and(|(index, _)| *index >= mark.1)
        {
            let dropped = self.detached.pop_back();
            self.detached_bytes -= dropped.map_or(0, |(_, value)| value.len());
        }
    }

    /// Seals what was appended so far, or of large values as many as shall leave next: call it before
    /// each [`Outbox::poll_flush`]. `sealer` must be the one of this connection: the order here
    /// is the order on the wire.
    pub(super) fn seal(&mut self, sealer: &mut Sealer) {
        if self.unsealed.is_empty() {
            return;
        }
        if !self.detached.is_empty() {
            return self.seal_detached(sealer);
        }
        let ends = self
            .unsealed
            .iter()
            .copied()
            .skip(1)
            .chain([self.buf.len()]);
        for (start, end) in self.unsealed.iter().zip(ends) {
            if let Some(front) = self.buf.get_mut(..end) {
                sealer.seal(front, *start);
            }
        }
        self.unsealed.clear();
    }

    /// As [`Outbox::seal`] where some values stand elsewhere: the buffer moves into segments around
    /// them, until enough is sealed to keep the socket busy. The rest is sealed when that has left, so
    /// that the kernel copies values while the cache still has them and the peer verifies the first
    /// ones while the next ones are signed.
    fn seal_detached(&mut self, sealer: &mut Sealer) {
        let mut buf = std::mem::take(&mut self.buf);
        let mut unsealed = std::mem::take(&mut self.unsealed);
        let (mut from, mut done) = (0, 0);
        for (index, start) in unsealed.iter().enumerate() {
            if self.segment_bytes >= SEALED_AHEAD_MAX {
                break;
            }
            done = index + 1;
            let end = unsealed.get(index + 1).copied().unwrap_or(buf.len());
            let Some(front) = buf.get_mut(..end) else {
                continue;
            };
            if self.detached.front().is_none_or(|(at, _)| *at != index) {
                sealer.seal(front, *start);
                continue;
            }
            let Some((_, value)) = self.detached.pop_front() else {
                continue;
            };
            self.detached_bytes -= value.len();
            // Only suite 2 refuses, and its values are never detached.
            let sealed = sealer.seal_detached(front, *start, &value);
            debug_assert!(sealed.is_ok());
            self.push(Segment::Owned(
                buf.get(from..end).unwrap_or_default().to_vec(),
            ));
            self.push(Segment::Shared(value));
            from = end;
        }
        // What is not sealed keeps its order behind the segments.
        unsealed.drain(..done);
        for start in &mut unsealed {
            *start = start.saturating_sub(from);
        }
        for (index, _) in &mut self.detached {
            *index = index.saturating_sub(done);
        }
        self.unsealed = unsealed;
        self.buf
            .extend_from_slice(buf.get(from..).unwrap_or_default());
        pool::give_output(buf);
    }

    fn push(&mut self, segment: Segment) {
        let len = segment.as_slice().len();
        if len > 0 {
            self.segment_bytes += len;
            self.segments.push_back(segment);
        }
    }

    /// Bytes that have not left, sealed or not.
    pub(super) fn len(&self) -> usize {
        self.segment_bytes + self.buf.len() + self.detached_bytes - self.sent
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every frame is sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.unsealed.is_empty()
    }

    /// Whether something sealed waits. While frames lack their tag, what is sealed is in segments.
    fn may_write(&self) -> bool {
        if self.is_sealed() {
            !self.is_empty()
        } else {
            !self.segments.is_empty()
        }
    }

    /// Memory held: what waits, and room that is not used.
    pub(super) fn held_bytes(&self) -> usize {
        self.segment_bytes + self.buf.capacity() + self.detached_bytes
    }

    /// Writes until everything sealed has left or the socket takes no more. Returns the bytes that
    /// left; `Pending` when none did and some wait.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut total = 0;
        while self.may_write() {
            let written = match self.poll_write(cx, stream) {
                Poll::Ready(written) => written?,
                Poll::Pending if total > 0 => break,
                Poll::Pending => return Poll::Pending,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            total += written;
            self.advance(written);
        }
        Poll::Ready(Ok(total))
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.segments.is_empty() {
            return stream.poll_write(cx, self.buf.get(self.sent..).unwrap_or_default());
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let tail = self.is_sealed().then_some(self.buf.as_slice());
        let pieces = self.segments.iter().map(Segment::as_slice).chain(tail);
        let mut used = 0;
        for (index, (place, piece)) in slices.iter_mut().zip(pieces).enumerate() {
            let from = if index == 0 { self.sent } else { 0 };
            *place = IoSlice::new(piece.get(from..).unwrap_or_default());
            used = index + 1;
        }
        let slices = slices.get(..used).unwrap_or_default();
        let written = ready!(stream.poll_write_vectored(cx, slices))?;
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, written: usize) {
        self.sent += written;
        while let Some(front) = self.segments.front() {
            let len = front.as_slice().len();
            if self.sent < len {
                return;
            }
            self.sent -= len;
            self.segment_bytes -= len;
            self.segments.pop_front();
        }
        if self.sent == self.buf.len() {
            self.sent = 0;
            self.buf.clear();
        } else if self.sent >= SENT_KEPT_MAX && self.sent >= self.buf.len() / 2 {
            self.forget_sent();
        }
    }

    /// Drops what has left from the front of the tail. A peer that always leaves something waiting
    /// would have all it ever got kept otherwise. Moves no more bytes than have left since the last
    /// time.
    fn forget_sent(&mut self) {
        self.buf.drain(..self.sent);
        for start in &mut self.unsealed {
            *start = start.saturating_sub(self.sent);
        }
        self.sent = 0;
    }

    /// The tail buffer, for frames that seal themselves (KEY_UPDATE). Everything must be sealed.
    pub(super) fn sealed_tail(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.unsealed.is_empty());
        self.prepare();
        &mut self.buf
    }

    /// Gives the memory back when nothing waits.
    pub(super) fn release_if_empty(&mut self) {
        if self.is_empty() {
            if self.buf.capacity() > 0 {
                pool::give_output(std::mem::take(&mut self.buf));
            }
            if self.unsealed.capacity() > KEPT_PLACES {
                self.unsealed = Vec::new();
            }
            self.detached = VecDeque::new();
            self.segments = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_proto::{Opcode, Opener, Schedule, Secret, Suite, Transport};

    fn keys(suite: Suite) -> (Sealer, Opener) {
        let schedule = Schedule::new(
            &Secret::new(&[1; 32]),
            &[0; 32],
            &Transport::Plain,
            suite,
            [0; 32],
        );
        (
            Sealer::version_2(suite, schedule.server_to_client()),
            Opener::version_2(suite, schedule.server_to_client(), 1 << 20),
        )
    }

    #[tokio::test]
    async fn copied_and_shared_values_leave_in_order_through_a_narrow_pipe() {
        let (mut sealer, mut opener) = keys(Suite::Hmac);
        let mut outbox = Outbox::default();
        let value = |id: u32| vec![u8::try_from(id).unwrap(); usize::try_from(id).unwrap() * 999];
        for id in 1..40u32 {
            let head = FrameHead::new(Opcode::Ok, id);
            if id % 3 == 0 {
                outbox.frame_shared(head, &[], &[], Bytes::from(value(id)));
            } else {
                outbox.frame(head, &[], &[], &value(id));
            }
            if id % 7 == 0 {
                outbox.seal(&mut sealer);
            }
        }
        outbox.seal(&mut sealer);
        let expected = outbox.len();
        let (mut near, mut far) = tokio::io::duplex(777);
        let reader = async {
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut bytes)
                .await
                .unwrap();
            bytes
        };
        let writer = async {
            while !outbox.is_empty() {
                outbox.seal(&mut sealer);
                std::future::poll_fn(|cx| outbox.poll_flush(cx, &mut near))
                    .await
                    .unwrap();
            }
            drop(near);
        };
        let (mut bytes, ()) = tokio::join!(reader, writer);
        assert_eq!(bytes.len(), expected);
        let mut input = bytes.as_mut_slice();
        for id in 1..40u32 {
            let frame = opener.next(&mut input).unwrap().unwrap();
            assert_eq!(
                (frame.request_id(), frame.value()),
                (id, value(id).as_slice())
            );
        }
        assert!(input.is_empty());
        outbox.release_if_empty();
    }

    /// Large values are signed as they leave, not all of them before the first.
    #[test]
    fn large_values_are_sealed_a_little_ahead_of_the_socket() {
        let (mut sealer, mut opener) = keys(Suite::Hmac);
        let mut outbox = Outbox::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let value = Bytes::from(vec![7; 100_000]);
        for id in 1..=20 {
            let head = FrameHead::new(Opcode::Ok, id);
            outbox.frame_shared(head, &[], &[], value.clone());
            outbox.frame(head, &[], &[], b"between");
        }
        let (expected, mut bytes) = (outbox.len(), Vec::new());
        while !outbox.is_empty() {
            let before = outbox.len();
            outbox.seal(&mut sealer);
            assert_eq!(outbox.len(), before);
            assert!(outbox.segment_bytes < SEALED_AHEAD_MAX + 101_000);
            let mut socket = Gulp(&mut bytes);
            let left = outbox.poll_flush(&mut cx, &mut socket);
            assert!(matches!(left, Poll::Ready(Ok(left)) if left > 0));
        }
        assert_eq!(bytes.len(), expected);
        let mut input = bytes.as_mut_slice();
        for id in 1..=20 {
            for len in [value.len(), 7] {
                let frame = opener.next(&mut input).unwrap().unwrap();
                assert_eq!((frame.request_id(), frame.value().len()), (id, len));
            }
        }
        assert!(input.is_empty());
    }

    /// Takes everything.
    struct Gulp<'b>(&'b mut Vec<u8>);

    impl AsyncWrite for Gulp<'_> {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().0.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Takes so many bytes at each write.
    struct Sip(usize);

    impl AsyncWrite for Sip {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match std::mem::take(&mut self.0).min(bytes.len()) {
                0 => Poll::Pending,
                taken => Poll::Ready(Ok(taken)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// R1: a peer that reads, and never all of it.
    #[test]
    fn what_has_left_is_not_kept_while_something_always_waits() {
        let (mut sealer, _) = keys(Suite::Hmac);
        let mut outbox = Outbox::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let value = [7; 10_000];
        outbox.frame(FrameHead::new(Opcode::Ok, 1), &[], &[], &value);
        for id in 2..2_000 {
            let before = outbox.len();
            outbox.frame(FrameHead::new(Opcode::Ok, id), &[], &[], &value);
            outbox.seal(&mut sealer);
            let added = outbox.len() - before;
            let left = outbox.poll_flush(&mut cx, &mut Sip(added));
            assert!(matches!(left, Poll::Ready(Ok(left)) if left == added));
        }
        assert!(outbox.len() < 20_000 && !outbox.is_empty());
        assert!(outbox.held_bytes() < 512 * 1024, "{}", outbox.held_bytes());
    }

    #[test]
    fn truncating_forgets_frames_and_their_shared_values() {
        let mut outbox = Outbox::default();
        outbox.frame(FrameHead::new(Opcode::Ok, 1), &[], &[], b"kept");
        let (mark, len) = (outbox.mark(), outbox.len());
        outbox.frame_shared(
            FrameHead::new(Opcode::Ok, 2),
            &[],
            &[],
            Bytes::from(vec![0; 50_000]),
        );
        outbox.frame(FrameHead::new(Opcode::Ok, 3), &[], &[], b"gone");
        outbox.truncate(mark);
        assert_eq!((outbox.mark(), outbox.len()), (mark, len));
    }
}
