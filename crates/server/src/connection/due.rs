//! What is due when: keep-alive, incomplete frames, unread output, deadlines, key age.

use std::time::Duration;

use kv_proto::{FrameHead, Opcode, limits::KEY_AGE_MS_MAX};
use kv_service::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::core::Intake;
use super::reply::FrameSink as _;
use super::session::{End, Session};

/// Which time limit the peer passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// No sign of life.
    Silent,
    /// A frame was not complete in time.
    SlowFrame,
    /// A continued message was not complete in time.
    SlowMessage,
    /// It does not read.
    NotReading,
}

/// How long a session whose key was revoked may take to be told so.
const REVOKED: Duration = Duration::from_millis(500);

/// The earliest time at which something may be due.
pub(super) fn next<S>(session: &Session<S>, paused: Option<Instant>) -> Instant {
    let limits = &session.core.shared.config.limits;
    let timers = &session.timers;
    let mut next = timers.keys_since + Duration::from_millis(KEY_AGE_MS_MAX);
    let mut earlier = |at: Option<Instant>| {
        if let Some(at) = at {
            next = next.min(at);
        }
    };
    if session.ending.is_some() {
        earlier(farewell_ends(session));
        return next;
    }
    earlier(paused);
    if listens(session) {
        earlier(Some(timers.received + next_silence(session)));
        earlier(
            timers
                .frame_began
                .map(|began| began + frame_check(limits, began, session.core.instant)),
        );
        if let Some(ms) = session.core.assembler.next_deadline() {
            earlier(Some(session.core.peer.since + Duration::from_millis(ms)));
        }
    }
    if !session.core.egress.out.is_empty() {
        earlier(Some(timers.sent + limits.output_stall_timeout));
    }
    earlier(session.core.inflight.next_deadline());
    earlier(session.core.streams.next_deadline());
    earlier(session.core.durability.next_deadline());
    next
}

/// At which silence something is done next: a PING, or the end.
fn next_silence<S>(session: &Session<S>) -> Duration {
    let limits = &session.core.shared.config.limits;
    let intervals = if session.core.version_1 {
        // It has no PING.
        misses(limits)
    } else {
        misses(limits).min(session.timers.pinged + 1)
    };
    limits.keep_alive_interval.saturating_mul(intervals)
}

fn misses(limits: &crate::config::Limits) -> u32 {
    u32::try_from(limits.keep_alive_misses.get()).unwrap_or(u32::MAX)
}

/// Whether what the peer says would be heard; if not, its silence is no fault.
fn listens<S>(session: &Session<S>) -> bool {
    session.held_back.is_none() && session.core.intake != Intake::Ended
}

/// Until when a session that is over may write what it still owes.
fn farewell_ends<S>(session: &Session<S>) -> Option<Instant> {
    let since = session.ending_since?;
    if matches!(session.ending, Some(End::Revoked)) {
        return Some(since + REVOKED);
    }
    let limits = &session.core.shared.config.limits;
    Some(since.max(session.timers.sent) + limits.output_stall_timeout)
}

/// When an incomplete frame is looked at next: at its deadline, then once per window of the least
/// rate.
fn frame_check(limits: &crate::config::Limits, began: Instant, now: Instant) -> Duration {
    let elapsed = now.saturating_duration_since(began);
    if elapsed < limits.frame_timeout {
        limits.frame_timeout
    } else {
        elapsed + limits.receive_rate_window
    }
}

/// Handles what is due.
pub(super) fn handle<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Session<S>) {
    let now = session.core.instant;
    if session.ending.is_some() {
        session.abandoned |= farewell_ends(session).is_some_and(|ends| ends <= now);
        return;
    }
    if let Some(overdue) = overdue(session, now) {
        session.ending = Some(End::Overdue(overdue));
        return;
    }
    let silence = now.saturating_duration_since(session.timers.received);
    let due = next_silence(session);
    if silence >= due && listens(session) && !session.core.version_1 {
        session.timers.pinged += 1;
        let head = FrameHead::new(Opcode::ServerPing, 0);
        session
            .core
            .egress
            .frame(head, &[], &[], Value::Inline(&[]));
    }
}

fn overdue<S>(session: &mut Session<S>, now: Instant) -> Option<Overdue> {
    let limits = &session.core.shared.config.limits;
    let timers = &session.timers;
    let stalled = now.saturating_duration_since(timers.sent) >= limits.output_stall_timeout;
    if stalled && !session.core.egress.out.is_empty() {
        return Some(Overdue::NotReading);
    }
    if !listens(session) {
        return None;
    }
    let silence = now.saturating_duration_since(timers.received);
    if silence >= limits.keep_alive_interval.saturating_mul(misses(limits)) {
        return Some(Overdue::Silent);
    }
    if let Some(began) = timers.frame_began {
        let elapsed = now.saturating_duration_since(began);
        let expected = elapsed.as_secs_f64() * as_f64(limits.min_receive_rate_bytes.get());
        if elapsed >= limits.frame_timeout && as_f64(session.input.len()) < expected {
            return Some(Overdue::SlowFrame);
        }
    }
    let ms = session.core.monotonic_ms();
    session
        .core
        .assembler
        .expire(ms)
        .map(|_| Overdue::SlowMessage)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate is compared, not counted"
)]
const fn as_f64(n: usize) -> f64 {
    n as f64
}
