//! Bytes received and not yet walked.
//!
//! Owns the memory of one connection's input. It grows with bytes that have arrived, at most to what
//! the frame at its front needs and was allowed, and goes back to the thread's pool when nothing is
//! left in it, so that an idle connection holds none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::pool;

/// Input of one connection. `start..end` holds what was received and not consumed.
#[derive(Default)]
pub(super) struct ReadBuffer {
    /// Always initialised over its whole length, so that a read needs no clearing.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// Reads what the socket has, at most the room there is. `Ready(Ok(0))` is the end of the stream.
    /// `wanted` says how many bytes the frame at the front needs in all; it is asked when the buffer is
    /// full of it.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        wanted: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(wanted);
        let Some(room) = self.bytes.get_mut(self.end..) else {
            return Poll::Ready(Ok(0));
        };
        let mut room = ReadBuf::new(room);
        std::task::ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    fn make_room(&mut self, wanted: impl FnOnce(&[u8]) -> Option<usize>) {
        if self.bytes.is_empty() {
            self.bytes = pool::take_input();
        }
        if self.end < self.bytes.len() {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else {
            // Full of one incomplete frame: double, since as much has arrived, and not beyond it.
            let len = self.bytes.len();
            let needed = wanted(&self.bytes).filter(|&needed| needed > len);
            let doubled = len.saturating_mul(2);
            let len = needed.map_or(doubled, |needed| needed.min(doubled));
            self.bytes.reserve_exact(len - self.bytes.len());
            self.bytes.resize(len, 0);
        }
    }

    /// What was received and not consumed.
    pub(super) fn unread(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How much that is.
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Moves past bytes that were walked.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives the memory back when nothing is in it.
    pub(super) fn release_if_empty(&mut self) {
        if self.start == self.end && !self.bytes.is_empty() {
            pool::give_input(std::mem::take(&mut self.bytes));
            self.start = 0;
            self.end = 0;
        }
    }

    /// Memory held.
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn fill(buffer: &mut ReadBuffer, mut source: &[u8]) -> usize {
        std::future::poll_fn(|cx| buffer.poll_fill(cx, &mut source, |_| None))
            .await
            .unwrap()
    }

    /// P5: a frame just above a power of two does not get twice its size.
    #[tokio::test]
    async fn it_does_not_grow_beyond_the_frame_at_its_front() {
        let frame = 64 * 1024 + 48;
        let bytes = vec![7u8; 1 << 20];
        let mut buffer = ReadBuffer::default();
        while buffer.len() < frame {
            let mut source = bytes.as_slice();
            let read =
                std::future::poll_fn(|cx| buffer.poll_fill(cx, &mut source, |_| Some(frame)));
            assert!(read.await.unwrap() > 0);
        }
        assert_eq!((buffer.len(), buffer.capacity()), (frame, frame));
    }

    #[tokio::test]
    async fn it_grows_only_when_what_it_has_is_full_of_one_frame() {
        let mut buffer = ReadBuffer::default();
        let bytes = vec![7u8; 100 * 1024];
        assert_eq!(fill(&mut buffer, &bytes).await, pool::INPUT_BYTES);
        assert_eq!(buffer.capacity(), pool::INPUT_BYTES);
        assert_eq!(fill(&mut buffer, &bytes).await, pool::INPUT_BYTES);
        assert_eq!(buffer.unread().len(), 2 * pool::INPUT_BYTES);
        buffer.consume(2 * pool::INPUT_BYTES - 10);
        assert_eq!(fill(&mut buffer, &bytes).await, 2 * pool::INPUT_BYTES - 10);
        buffer.consume(usize::MAX);
        buffer.release_if_empty();
        assert_eq!(buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_zero_bytes() {
        let mut buffer = ReadBuffer::default();
        assert_eq!(fill(&mut buffer, &[]).await, 0);
        let mut rest = Vec::new();
        (&b""[..]).read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
