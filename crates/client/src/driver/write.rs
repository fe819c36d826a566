//! The driver's output: takes what callers have gathered, seals it in order, writes it in one go.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use kv_proto::{CloseReason, FrameHead, Limit, Opcode, Sealer, limits};
use tokio::io::AsyncWrite;

use crate::link::outbox::{Body, Frames, Outbox};

/// Pieces of large messages that go into one batch: what a small frame may have to wait for.
const PIECES_PER_BATCH: usize = 4;
/// Server PINGs whose PONG could not be written yet.
const PONGS_MAX: usize = 16;
/// A buffer above this size is given back when a batch used little of it.
const KEEP_BYTES: usize = 256 * 1024;

pub(crate) struct Writer {
    sealer: Sealer,
    /// The batch being written, sealed.
    pub(crate) batch: Frames,
    pub(crate) written: usize,
    /// The first mark of the batch that is not written as a whole.
    next_mark: usize,
    pongs: VecDeque<Vec<u8>>,
    ping_due: bool,
    /// GOODBYE was taken into a batch: no frame may follow it.
    finished: bool,
    /// The transport may hold written bytes back until it is flushed, as TLS does.
    flush_due: bool,
    /// When the present key came into use; `u64::MAX` in a suite without keys.
    key_since_ms: u64,
}

impl Writer {
    pub(crate) fn new(sealer: Sealer, has_keys: bool) -> Self {
        Self {
            sealer,
            batch: Frames::default(),
            written: 0,
            next_mark: 0,
            pongs: VecDeque::new(),
            ping_due: false,
            finished: false,
            flush_due: false,
            key_since_ms: if has_keys { 0 } else { u64::MAX },
        }
    }

    /// Whether a batch is under way.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.written < self.batch.bytes.len()
    }

    /// Whether the transport has something to do.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.is_busy() || self.flush_due
    }

    /// Answers a PING of the server, before everything else that waits.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
        if self.finished {
            return Ok(());
        }
        if self.pongs.len() >= PONGS_MAX {
            return Err(CloseReason::Limit(Limit::CheapFrames));
        }
        self.pongs.push_back(payload.to_vec());
        Ok(())
    }

    /// Asks the server for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.ping_due = true;
    }

    /// Takes the next batch out of the outbox. Only between two batches; the caller holds the lock.
    pub(crate) fn take(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.reset();
        if self.has_urgent(now_ms) {
            self.take_urgent(now_ms);
            let shift = self.batch.bytes.len();
            self.batch.bytes.extend_from_slice(&outbox.frames.bytes);
            let moved = outbox.frames.marks.drain(..).map(|mut mark| {
                mark.end = mark.end.saturating_add(shift);
                mark
            });
            self.batch.marks.extend(moved);
            outbox.frames.bytes.clear();
        } else {
            std::mem::swap(&mut self.batch, &mut outbox.frames);
        }
        for _ in 0..PIECES_PER_BATCH.min(outbox.large.len()) {
            if let Some(mut large) = outbox.take_large()
                && !large.write_piece(&mut self.batch)
            {
                outbox.large.push_back(large);
            }
        }
    }

    /// Ends the batch with GOODBYE, after which nothing may follow.
    pub(crate) fn goodbye(&mut self) {
        self.finished = true;
        self.batch.push(
            FrameHead::new(Opcode::Goodbye, 0),
            0,
            Body::default(),
            false,
        );
    }

    /// Seals the batch that [`Writer::take`] has gathered.
    #[inline]
    pub(crate) fn seal(&mut self) {
        let mut start = self.written;
        for mark in &self.batch.marks {
            if let Some(frames) = self.batch.bytes.get_mut(..mark.end) {
                self.sealer.seal(frames, start);
            }
            start = mark.end;
        }
        self.written = 0;
    }

    /// Writes until the batch is out or the transport is full. The number of counted frames whose
    /// bytes are out as a whole since the last call, and whether something moved.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> io::Result<Progress> {
        let mut progress = Progress::default();
        while let Some(rest) = self
            .batch
            .bytes
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.written = self.written.saturating_add(count);
                    self.flush_due = true;
                    progress.moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.flush_due
            && let Poll::Ready(flushed) = Pin::new(&mut *io).poll_flush(cx)
        {
            flushed?;
            self.flush_due = false;
        }
        while let Some(mark) = self.batch.marks.get(self.next_mark)
            && mark.end <= self.written
        {
            self.next_mark = self.next_mark.saturating_add(1);
            progress.frames = progress.frames.saturating_add(usize::from(mark.counted));
        }
        Ok(progress)
    }

    fn reset(&mut self) {
        let used = self.batch.bytes.len();
        self.batch.bytes.clear();
        self.batch.marks.clear();
        if self.batch.bytes.capacity() > KEEP_BYTES && used < KEEP_BYTES {
            self.batch.bytes.shrink_to(KEEP_BYTES);
        }
        self.written = 0;
        self.next_mark = 0;
    }

    const fn key_is_old(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.key_since_ms) >= limits::KEY_AGE_MS_MAX
    }

    fn has_urgent(&self, now_ms: u64) -> bool {
        let due = self.ping_due
            || !self.pongs.is_empty()
            || self.sealer.key_update_due()
            || self.key_is_old(now_ms);
        due && !self.finished
    }

    /// KEY_UPDATE is sealed as it is written, so it comes first: `written` stands behind it until
    /// the rest of the batch is sealed.
    fn take_urgent(&mut self, now_ms: u64) {
        if self.sealer.key_update_due() || self.key_is_old(now_ms) {
            // It fails only after 2^32 updates; the server then ends the worn session.
            let _ = self
                .sealer
                .update_keys(&mut self.batch.bytes, Opcode::KeyUpdate);
            self.key_since_ms = now_ms;
        }
        self.written = self.batch.bytes.len();
        for payload in self.pongs.drain(..) {
            let head = FrameHead::new(Opcode::Pong, 0);
            self.batch.push(head, 0, Body::of_value(&payload), false);
        }
        if std::mem::take(&mut self.ping_due) {
            self.batch
                .push(FrameHead::new(Opcode::Ping, 0), 0, Body::default(), false);
        }
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) moved: bool,
    pub(crate) frames: usize,
}
