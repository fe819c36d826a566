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

    /// Moves what the peer is held to by a time in which nothing was read from it.
    pub(super) fn postpone(&mut self, held: Duration) {
        self.received += held;
        self.frame_began = self.frame_began.map(|began| began + held);
    }

    /// Makes sure the task wakes at `next` or earlier.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>, now: Instant, next: Instant) {
        if next < self.armed || self.armed <= now {
            self.armed = next;
            self.sleep.as_mut().reset(next);
            // Registers the waker; it is not over yet, or the task wakes at once. Outside of the
            // task's budget: a timer that was not asked because the budget was used up would never
            // wake anybody, since it is asked once.
            let sleep = std::pin::pin!(tokio::task::unconstrained(self.sleep.as_mut()));
            if sleep.poll(cx).is_ready() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    #[tokio::test(start_paused = true)]
    async fn it_fires_also_when_it_was_armed_with_the_tasks_budget_used_up() {
        let began = Instant::now();
        let due = began + Duration::from_secs(1);
        let mut timers = Timers::new(began);
        let mut polls = 0;
        let fired = std::future::poll_fn(move |cx| {
            let now = Instant::now();
            if timers.is_due(now) {
                return Poll::Ready(now);
            }
            polls += 1;
            if polls == 1 {
                // As a poll that read and wrote until it had to yield.
                let used_up = (0..1_000).any(|_| {
                    std::pin::pin!(tokio::task::consume_budget())
                        .poll(cx)
                        .is_pending()
                });
                assert!(used_up);
            }
            timers.arm(cx, now, due);
            Poll::Pending
        });
        let mut task = tokio::task::JoinSet::new();
        task.spawn(fired);
        let waited = tokio::time::timeout(Duration::from_secs(60), task.join_next()).await;
        let at = waited.unwrap().unwrap().unwrap();
        assert!(at >= due && at < due + Duration::from_millis(10));
    }
}
