//! The driver's one timer: the earliest of request deadlines, keep-alive, continued answers and the
//! end of a farewell. Requests have no timer of their own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// PINGs that stay unanswered before the server counts as gone.
const PINGS_MISSED_MAX: u32 = 2;

pub(crate) struct Timers {
    epoch: Instant,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` is set to.
    armed_ms: u64,
    ping_after_ms: u64,
    /// When the server has been silent for too long.
    ping_at_ms: u64,
    pings_missed: u32,
    close_after_ms: u64,
    /// When a farewell is over, answered or not.
    close_at_ms: u64,
}

/// What silence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Fine,
    Ping,
    Gone,
}

impl Timers {
    pub(crate) fn new(epoch: Instant, ping_after: Duration, close_after: Duration) -> Self {
        let ping_after_ms = millis(ping_after).max(1);
        Self {
            epoch,
            sleep: Box::pin(sleep_until(epoch)),
            armed_ms: 0,
            ping_after_ms,
            ping_at_ms: ping_after_ms,
            pings_missed: 0,
            close_after_ms: millis(close_after),
            close_at_ms: u64::MAX,
        }
    }

    /// The server was heard of.
    #[inline]
    pub(crate) fn heard(&mut self, now_ms: u64) {
        self.pings_missed = 0;
        self.ping_at_ms = now_ms.saturating_add(self.ping_after_ms);
    }

    pub(crate) fn silence(&mut self, now_ms: u64) -> Silence {
        if now_ms < self.ping_at_ms {
            return Silence::Fine;
        }
        if self.pings_missed >= PINGS_MISSED_MAX {
            return Silence::Gone;
        }
        self.pings_missed = self.pings_missed.saturating_add(1);
        self.ping_at_ms = now_ms.saturating_add(self.ping_after_ms);
        Silence::Ping
    }

    /// Starts the time of a farewell.
    pub(crate) fn closing(&mut self, now_ms: u64) {
        if self.close_at_ms == u64::MAX {
            self.close_at_ms = now_ms.saturating_add(self.close_after_ms);
        }
    }

    pub(crate) const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.close_at_ms
    }

    /// Sets the timer to the earliest deadline. True: one has passed already.
    #[inline]
    pub(crate) fn poll_arm(&mut self, others_ms: u64, now_ms: u64, cx: &mut Context<'_>) -> bool {
        let next_ms = others_ms.min(self.ping_at_ms).min(self.close_at_ms);
        if next_ms == self.armed_ms && now_ms < next_ms {
            return false;
        }
        self.armed_ms = next_ms;
        let at = self.epoch.checked_add(Duration::from_millis(next_ms));
        self.sleep.as_mut().reset(at.unwrap_or(self.epoch));
        matches!(self.sleep.as_mut().poll(cx), Poll::Ready(()))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
