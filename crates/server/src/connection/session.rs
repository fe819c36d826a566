//! The task of an open session: reads, walks, answers and writes, always both directions together.
//!
//! One hand-written future over any byte stream. A wake-up takes what came back from elsewhere, reads
//! what the socket has, walks over its frames, lets streams and large values have their turns, and
//! writes everything that is ready in one go. A peer that does not read is no longer read from once
//! its output passes the soft limit.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use kv_proto::{CloseReason, FrameHead, Limit, Opcode, Opener};
use kv_service::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::core::{Core, Intake};
use super::due;
use super::mailbox::{Finished, Signals};
use super::peer::as_u64;
use super::read_buffer::ReadBuffer;
use super::reply::FrameSink as _;
use super::request::Reject;
use super::timers::Timers;

/// Rounds of read, answer and write in one wake-up, before other connections get their turn.
const ROUNDS_MAX: usize = 16;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said GOODBYE and got everything it was owed.
    Goodbye,
    /// The server drained it.
    Drained,
    /// The client went away without GOODBYE.
    Truncated,
    /// The client broke the protocol or a limit.
    Close(CloseReason),
    /// A time limit: the peer was silent, slow to send or slow to read.
    Overdue(due::Overdue),
    /// KILL, or shed for memory.
    Killed,
    /// Its key is no longer in force.
    Revoked,
    /// The socket failed.
    Io(io::ErrorKind),
}

/// An open session over a byte stream.
pub(super) struct Session<S> {
    pub(super) stream: S,
    pub(super) input: ReadBuffer,
    pub(super) opener: Opener,
    pub(super) core: Core,
    pub(super) timers: Timers,
    /// The session is over; what is owed is still written.
    pub(super) ending: Option<End>,
    finished: Vec<Finished>,
    /// Reading pauses until then (cheap-frame budget).
    paused: Option<Instant>,
    /// Since when nothing is read because of what waits here: the peer's silence is not its own.
    pub(super) held_back: Option<Instant>,
    /// When the session was found to be over while output waited.
    pub(super) ending_since: Option<Instant>,
    /// What still waits to be written is given up.
    pub(super) abandoned: bool,
    goaway_sent: bool,
    goodbye_sent: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(stream: S, input: ReadBuffer, opener: Opener, core: Core) -> Self {
        let timers = Timers::new(core.instant);
        Self {
            stream,
            input,
            opener,
            core,
            timers,
            ending: None,
            finished: Vec::new(),
            paused: None,
            held_back: None,
            ending_since: None,
            abandoned: false,
            goaway_sent: false,
            goodbye_sent: false,
        }
    }

    /// Takes signals and finished work.
    fn take_mail(&mut self, cx: &Context<'_>) {
        let mailbox = std::sync::Arc::clone(&self.core.peer.mailbox);
        let Signals {
            drain,
            kill,
            recheck,
        } = mailbox.take(cx, &mut self.finished);
        let mut finished = std::mem::take(&mut self.finished);
        for done in finished.drain(..) {
            self.core.on_finished(done);
        }
        if finished.capacity() <= 64 {
            self.finished = finished;
        }
        if kill {
            self.ending.get_or_insert(End::Killed);
        }
        if recheck {
            mailbox.signal(|signals| signals.recheck = false);
            self.recheck();
        }
        if drain && !self.goaway_sent {
            self.goaway();
        }
    }

    /// Who may do what changed.
    fn recheck(&mut self) {
        let peer = &self.core.peer;
        let shared = &self.core.shared;
        let held = match &peer.key {
            Some(key) => shared.keys.renew(key).map(|entry| entry.permissions),
            // A session that was granted something and is granted nothing now is over too.
            None => Some(shared.live().auth.without_key(&peer.identity))
                .filter(|granted| !granted.is_empty() || self.core.permissions.is_empty()),
        };
        match held {
            Some(permissions) => self.core.permissions = permissions,
            None => {
                let text = "the identity of this session is no longer accepted";
                let reject = Reject::new(kv_proto::ErrorCode::AuthFailed, text);
                super::reply::error(&mut self.core.egress, 0, &reject);
                self.ending.get_or_insert(End::Revoked);
            }
        }
    }

    fn goaway(&mut self) {
        self.goaway_sent = true;
        if self.core.intake == Intake::Open {
            self.core.intake = Intake::Draining;
        }
        if !self.core.version_1 {
            let mut value = self.core.last_request_id.to_be_bytes().to_vec();
            value.extend_from_slice(b"the server is shutting down");
            let head = FrameHead::new(Opcode::Goaway, 0);
            self.core
                .egress
                .frame(head, &[], &[], Value::Inline(&value));
        }
        // Behind GOAWAY, so that the client knows why and goes on elsewhere.
        self.core.expire_streams();
    }

    /// Whether the socket may be read from.
    fn may_read(&mut self) -> bool {
        if self.ending.is_some() || self.core.intake == Intake::Ended {
            return false;
        }
        self.paused = self.core.budget.paused_until(self.core.instant);
        let backed_up = self.core.is_backed_up();
        if backed_up != self.held_back.is_some() {
            self.hold_back(backed_up);
        }
        self.paused.is_none() && !backed_up
    }

    /// Notes that reading stops or goes on. For the time in between the peer had no chance to say
    /// anything, so its time limits move by as much.
    fn hold_back(&mut self, begins: bool) {
        let now = self.core.instant;
        if begins {
            self.core.recorder.stalled();
            self.held_back = Some(now);
        } else if let Some(since) = self.held_back.take() {
            let held = now.saturating_duration_since(since);
            self.timers.postpone(held);
            let ms = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
            self.core.assembler.postpone(ms);
        }
    }

    /// Reads once and walks over what is there. Whether anything came.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.may_read() {
            return false;
        }
        let opener = &self.opener;
        let wanted = |front: &[u8]| opener.wanted(front);
        match self.input.poll_fill(cx, &mut self.stream, wanted) {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                if self.core.version_1 {
                    // Version 1 has no GOODBYE: half a close is one.
                    self.core.intake = Intake::Ended;
                } else {
                    self.ending = Some(End::Truncated);
                }
                true
            }
            Poll::Ready(Ok(count)) => {
                self.timers.on_received(self.core.instant);
                let bytes = as_u64(count);
                self.core.peer.note_received(bytes);
                self.core.recorder.received(bytes);
                self.walk();
                true
            }
            Poll::Ready(Err(error)) => {
                self.ending = Some(End::Io(error.kind()));
                true
            }
        }
    }

    /// Walks over the frames that are complete.
    pub(super) fn walk(&mut self) {
        let soft = self.core.shared.config.limits.output_soft_bytes.get();
        match self.core.walk(&mut self.opener, self.input.unread(), soft) {
            Ok(consumed) => {
                self.input.consume(consumed);
                let partial = self.input.len() > 0;
                if !partial {
                    self.timers.frame_began = None;
                } else if consumed > 0 || self.timers.frame_began.is_none() {
                    self.timers.frame_began = Some(self.core.instant);
                }
            }
            Err(reason) => self.refused(reason),
        }
    }

    fn refused(&mut self, reason: CloseReason) {
        // [P-4.8]; everything else closes without a word.
        let replayed = matches!(
            reason,
            CloseReason::Violation(kv_proto::ProtocolViolation::Replayed)
        );
        if self.core.version_1 && replayed {
            let reject = Reject::argument("a request id must be greater than all before it");
            super::reply::error(&mut self.core.egress, 0, &reject);
        }
        self.ending.get_or_insert(End::Close(reason));
    }

    /// Seals and writes what is ready. `Some` when bytes left.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.ending.is_none() {
            self.core.egress.feed();
        }
        self.core.egress.out.seal(&mut self.core.sealer);
        self.update_keys();
        if self.core.egress.out.is_empty() {
            return false;
        }
        match self.core.egress.out.poll_flush(cx, &mut self.stream) {
            Poll::Ready(Ok(count)) => {
                self.timers.sent = self.core.instant;
                let bytes = as_u64(count);
                self.core.peer.note_sent(bytes);
                self.core.recorder.sent(bytes);
                count > 0
            }
            Poll::Ready(Err(error)) => {
                self.ending = Some(End::Io(error.kind()));
                false
            }
            Poll::Pending => false,
        }
    }

    fn update_keys(&mut self) {
        let age = self
            .core
            .instant
            .saturating_duration_since(self.timers.keys_since);
        let old = age.as_millis() >= u128::from(kv_proto::limits::KEY_AGE_MS_MAX);
        // Behind what is sealed already, and in front of nothing that is not.
        let at_rest = self.core.egress.out.is_sealed();
        if at_rest && (self.core.sealer.key_update_due() || old) {
            self.timers.keys_since = self.core.instant;
            let out = self.core.egress.out.sealed_tail();
            // Version 1 and suite 0 have no keys to move; nothing is written then.
            let moved = self.core.sealer.update_keys(out, Opcode::ServerKeyUpdate);
            tracing::trace!(
                conn_id = self.core.peer.id,
                moved = moved.is_ok(),
                "key update"
            );
        }
    }

    /// When nothing is owed any more: GOODBYE, once.
    fn conclude(&mut self) {
        let done = self.core.intake != Intake::Open && self.ending.is_none();
        if done && self.core.is_settled() && !self.goodbye_sent {
            self.goodbye_sent = true;
            if !self.core.version_1 {
                let head = FrameHead::new(Opcode::ServerGoodbye, 0);
                self.core.egress.frame(head, &[], &[], Value::Inline(&[]));
            }
            let client = self.core.intake == Intake::Ended;
            self.ending = Some(if client { End::Goodbye } else { End::Drained });
        }
    }

    /// Output that nobody reads has an end, whatever made it.
    fn check_output(&mut self) {
        let hard = self.core.shared.config.limits.output_hard_bytes.get();
        if self.core.egress.out.len() > hard {
            self.ending
                .get_or_insert(End::Close(CloseReason::Limit(Limit::OutboundBytes)));
        }
    }

    /// Whether the session's future is done: nothing more can or will be written.
    fn is_over(&self) -> bool {
        match &self.ending {
            None => false,
            Some(_) if self.abandoned => true,
            Some(End::Io(_) | End::Truncated | End::Overdue(_) | End::Killed) => true,
            Some(End::Close(_)) => !self.core.version_1 || self.core.egress.out.is_empty(),
            Some(End::Goodbye | End::Drained | End::Revoked) => self.core.egress.out.is_empty(),
        }
    }

    /// The stream, without what the session held.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Gives buffers back, for the time after the session.
    pub(super) fn release(&mut self) {
        self.input.release_if_empty();
        self.core.egress.out.release_if_empty();
    }

    fn rest(&mut self, cx: &mut Context<'_>) {
        self.release();
        if !self.core.account(self.input.capacity()) && self.ending.is_none() {
            self.ending = Some(End::Killed);
            cx.waker().wake_by_ref();
        }
        if self.ending.is_some() {
            self.ending_since.get_or_insert(self.core.instant);
        }
        let next = due::next(self, self.paused);
        self.timers.arm(cx, self.core.instant, next);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Session<S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        this.core.tick();
        if this.core.egress.out.is_empty() {
            // What waits from now on began to wait now.
            this.timers.sent = this.core.instant;
        }
        this.take_mail(cx);
        if this.timers.is_due(this.core.instant) {
            due::handle(this);
        }
        for _ in 0..ROUNDS_MAX {
            if this.ending.is_none() {
                this.core.release_held();
            }
            let mut progress = this.read(cx);
            if this.input.len() > 0 && !progress && this.may_read() {
                // Input was left while the output had no room.
                let before = this.input.len();
                this.walk();
                progress = this.input.len() != before;
            }
            if this.ending.is_none() {
                progress |= this.core.advance_streams();
                this.core.expire_requests();
                this.conclude();
            }
            progress |= this.write(cx);
            this.check_output();
            this.core.finish_round();
            if this.is_over() {
                return Poll::Ready(this.ending.take().unwrap_or(End::Truncated));
            }
            if !progress && this.ending.is_none() && this.core.await_durable(cx) {
                continue;
            }
            if !progress {
                // TLS may hold back what was written.
                if let Poll::Ready(Err(error)) = Pin::new(&mut this.stream).poll_flush(cx) {
                    return Poll::Ready(End::Io(error.kind()));
                }
                this.rest(cx);
                return Poll::Pending;
            }
        }
        this.rest(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
