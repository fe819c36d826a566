//! The minimum rate: consecutive windows over all messages under way.
//!
//! An idle timer alone is defeated by one fragment just before it fires. The rate is judged over
//! the connection and not per message, so that a sender that interleaves many messages over a slow
//! line is not punished for taking turns; a single message that stalls has its own progress limit.

use super::AssemblerLimits;

/// The window under way. The first begins with the first fragment of the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateWindow {
    begun_ms: u64,
    bytes: u64,
}

impl RateWindow {
    pub(super) const fn new(now_ms: u64) -> Self {
        Self {
            begun_ms: now_ms,
            bytes: 0,
        }
    }

    pub(super) fn with(self, len: usize) -> Self {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        Self {
            bytes: self.bytes.saturating_add(len),
            ..self
        }
    }

    pub(super) const fn postponed(self, ms: u64) -> Self {
        Self {
            begun_ms: self.begun_ms.saturating_add(ms),
            ..self
        }
    }

    /// The window of `now_ms`; `None` if a window that has ended brought too little.
    pub(super) fn rolled(self, now_ms: u64, limits: &AssemblerLimits) -> Option<Self> {
        let end_ms = self.begun_ms.saturating_add(limits.rate_window_ms);
        if now_ms < end_ms {
            return Some(self);
        }
        (now_ms < self.deadline(limits)).then_some(Self {
            begun_ms: end_ms,
            bytes: 0,
        })
    }

    /// When the rate is too low if nothing further comes.
    pub(super) fn deadline(self, limits: &AssemblerLimits) -> u64 {
        let end_ms = self.begun_ms.saturating_add(limits.rate_window_ms);
        if self.bytes < limits.window_bytes_min() {
            end_ms
        } else {
            end_ms.saturating_add(limits.rate_window_ms)
        }
    }
}
