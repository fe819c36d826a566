//! The times of a connection: one timer that is armed for the earliest of them and moved rarely.
//!
//! Reading and writing only note when they happened. When the timer fires, what is due is decided
//! from the notes, and it is armed again; an active connection does not touch it.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Notes and timer of one connection.
pub(super) struct Timers {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
    /// Last time bytes came.
    pub(super) received: Instant,
    /// Last time bytes left, or began to wait.
    pub(super) sent: Instant,
    /// When the incomplete frame at the front of the input began, and how much of it was there.
    pub(super) frame_began: Option<Instant>,
    /// Last PING without a sign of life since.
    pub(super) pinged: u32,
    /// When the current sending keys came into force.
    pub(super) keys_since: Instant,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        // Far enough that the first arming moves it.
        let armed = now + Duration::from_secs(86_400 * 365);
        Self {
            sleep: Box::pin(sleep_until(armed)),
            armed,
            received: now,
            sent: now,
            frame_began: None,
            pinged: 0,
            keys_since: now,
        }
    }

    /// Notes received bytes.
    #[inline]
    pub(super) fn on_received(&mut self, now: Instant) {
        self.received = now;
        self.pinged = 0;
    }

    /// Makes sure the task wakes at `next` or earlier.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>, now: Instant, next: Instant) {
        if next < self.armed || self.armed <= now {
            self.armed = next;
            self.sleep.as_mut().reset(next);
            // Registers the waker; it is not over yet, or the task wakes at once.
            if self.sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Whether the armed time has come: time to look what is due.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.armed <= now
    }
}
