//! The one task that owns a connection's socket and its session keys.
//!
//! Each wake-up writes what callers have gathered, reads what has arrived, and meets the callers once
//! under the link's lock. Reads and writes always advance together: a full transport never keeps
//! answers from being read. After waking callers the driver lets them run before it looks again, so
//! that what they ask next leaves in one write.
//!
//! It ends when the connection does, and closes the link in every case, also when it is dropped.

mod read;
mod timers;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kv_proto::limits::PING_AFTER_MS_DEFAULT;
use kv_proto::{Established, Opener, Sealer, Suite};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::link::{Link, Loss, Phase, State, Wakes};
use read::{Read, Reader};
pub(crate) use timers::millis;
use timers::{Silence, Timers};
use write::Writer;

/// Rounds of reading and writing before other tasks get their turn.
const ROUNDS_PER_POLL: usize = 16;
/// At most half of what is in flight is delivered at a time, so that the server has the other half to
/// work on while callers run: with one batch of all, the two ends wait for each other. Batches are
/// not made smaller than this for it.
const SHARE_MIN: usize = 16;

pub(crate) struct Driver<S> {
    link: Arc<Link>,
    io: S,
    reader: Reader,
    writer: Writer,
    timers: Timers,
    wakes: Wakes,
    /// Counted frames that were written and not reported to the link yet.
    frames_written: usize,
    /// Answers to deliver before callers get their turn.
    share: usize,
    now_ms: u64,
}

/// What to do after meeting the callers.
enum Next {
    /// There is more to write or to read.
    Round,
    /// Callers were woken.
    Yield,
    /// Nothing to do until someone wakes the driver.
    Sleep,
}

/// The two ends of an established session and what was read beyond its handshake.
pub(crate) struct Ends {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
    pub(crate) early: Vec<u8>,
}

impl Ends {
    pub(crate) fn of(established: Established, early: Vec<u8>) -> Self {
        Self {
            opener: established.opener,
            sealer: established.sealer,
            early,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(link: Arc<Link>, io: S, ends: Ends, close_after: Duration) -> Self {
        let session = &link.session;
        let unpacker = link.unpacker();
        let ping_after = session.limits.ping_after_ms.min(PING_AFTER_MS_DEFAULT);
        let epoch = link.epoch;
        Self {
            reader: Reader::new(ends.opener, unpacker, &ends.early),
            writer: Writer::new(ends.sealer, session.suite != Suite::Checksum),
            timers: Timers::new(epoch, Duration::from_millis(ping_after.into()), close_after),
            link,
            io,
            wakes: Wakes::default(),
            frames_written: 0,
            share: SHARE_MIN,
            now_ms: 0,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Result<Next, Loss> {
        let mut moved = self.write(cx)?;
        let read = self
            .reader
            .poll_fill(&mut self.io, cx)
            .map_err(|_| Loss::Transport)?;
        if read == Read::Some {
            self.timers.heard(self.now_ms);
            let walked = self.reader.walk(self.share, self.now_ms, &mut self.writer);
            if let Err(reason) = walked {
                // What came before the frame that was refused is good.
                self.exchange(false, cx)?;
                return Err(reason.into());
            }
            moved = true;
        }
        let next = self.exchange(!moved, cx)?;
        if read == Read::End {
            return Err(Loss::Transport);
        }
        // What was just taken leaves before callers get their turn: the server works meanwhile.
        self.write(cx)?;
        Ok(next)
    }

    /// Writes what the transport takes. Whether something moved.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Loss> {
        if !self.writer.has_work() {
            return Ok(false);
        }
        let progress = self
            .writer
            .poll_write(&mut self.io, cx)
            .map_err(|_| Loss::Transport)?;
        self.frames_written = self.frames_written.saturating_add(progress.frames);
        Ok(progress.moved)
    }

    /// Meets the callers: hands over what arrived, reports what was written, takes what they want to
    /// send; and goes to sleep if nothing of that happened.
    fn exchange(&mut self, idle: bool, cx: &mut Context<'_>) -> Result<Next, Loss> {
        let mut guard = self.link.lock();
        let state = &mut *guard;
        state.now_ms = self.now_ms;
        let mut result = Ok(());
        for incoming in self.reader.incoming.drain(..) {
            result = result.and_then(|()| state.deliver(incoming, &mut self.wakes));
        }
        if self.frames_written > 0 {
            state.outbox.counted = state.outbox.counted.saturating_sub(self.frames_written);
            self.frames_written = 0;
            state.grant(&mut self.wakes);
        }
        if self.now_ms >= state.earliest_ms {
            result = result.and_then(|()| state.sweep(&mut self.wakes));
        }
        let mut taken = false;
        if !self.writer.is_busy() && result.is_ok() {
            self.writer.take(&mut state.outbox, self.now_ms);
            farewell(state, &mut self.writer, &mut self.timers, self.now_ms);
            taken = !self.writer.batch.bytes.is_empty();
        }
        let woken = self.wakes.len() > 0;
        let next = match (woken, idle && !taken) {
            (true, _) => Next::Yield,
            (false, false) => Next::Round,
            (false, true) => {
                state.driver = Some(cx.waker().clone());
                Next::Sleep
            }
        };
        self.share = state.slots.live().div_ceil(2).max(SHARE_MIN);
        let earliest_ms = state.earliest_ms.min(self.reader.deadline_ms());
        drop(guard);
        self.wakes.wake();
        result?;
        if taken {
            self.writer.seal();
        }
        let passed = self.timers.poll_arm(earliest_ms, self.now_ms, cx);
        Ok(if passed && matches!(next, Next::Sleep) {
            Next::Yield
        } else {
            next
        })
    }

    /// What the clock asks for, once per wake-up.
    fn on_time(&mut self) -> Result<(), Loss> {
        self.now_ms = {
            let mut state = self.link.lock();
            state.driver = None;
            state.read_clock();
            state.now_ms
        };
        match self.timers.silence(self.now_ms) {
            Silence::Fine => {}
            Silence::Ping => self.writer.ping(),
            Silence::Gone => return Err(Loss::Transport),
        }
        if self.timers.is_over(self.now_ms) {
            return Err(Loss::Local);
        }
        if self.reader.is_overdue(self.now_ms) {
            return Err(Loss::Transport);
        }
        Ok(())
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Result<(), Loss> {
        self.on_time()?;
        for _ in 0..ROUNDS_PER_POLL {
            match self.round(cx)? {
                Next::Round => {}
                Next::Yield => break,
                Next::Sleep => return Ok(()),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

/// Moves towards the end when the phase asks for it, and puts GOODBYE behind the last batch.
fn farewell(state: &mut State, writer: &mut Writer, timers: &mut Timers, now_ms: u64) {
    match state.phase {
        Phase::Open | Phase::Closed(_) => return,
        Phase::Draining if state.slots.live() > 0 => return,
        Phase::Draining => state.phase = Phase::Leaving,
        Phase::Leaving | Phase::Gone => {}
    }
    timers.closing(now_ms);
    if matches!(state.phase, Phase::Leaving) && state.outbox.is_empty() {
        state.phase = Phase::Gone;
        writer.goodbye();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.run(cx) {
            Ok(()) => Poll::Pending,
            Err(loss) => {
                tracing::debug!(?loss, "connection over");
                this.close(loss);
                // A farewell on the transport, as far as it can be said without waiting.
                let _ = Pin::new(&mut this.io).poll_shutdown(cx);
                Poll::Ready(())
            }
        }
    }
}

impl<S> Driver<S> {
    fn close(&mut self, loss: Loss) {
        self.link.lock().close(
            loss,
            &self.writer.batch,
            self.writer.written,
            &mut self.wakes,
        );
        self.wakes.wake();
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        // The runtime ends, or a poll panicked: nobody may wait for this connection any more.
        self.close(Loss::Transport);
    }
}
