//! The time of a call, and the mark below which it never falls.
//!
//! Owns no clock: the caller reads one and passes it in.

use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds since the Unix epoch: one reading per wake-up, passed in by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(u64);

impl Now {
    /// The given number of milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// The time `ms` milliseconds after this one; stays at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// The latest time an engine was told; an entry that has expired once stays expired when the
/// caller's clock goes back.
#[derive(Debug, Default)]
pub(crate) struct HighWater(AtomicU64);

impl HighWater {
    /// The latest time seen.
    pub(crate) fn latest(&self) -> Now {
        Now(self.0.load(Ordering::Relaxed))
    }

    /// The later of `now` and every time seen before.
    pub(crate) fn advance(&self, now: Now) -> Now {
        // Relaxed: the mark is a number by itself and orders no other memory.
        let seen = self.0.load(Ordering::Relaxed);
        if now.0 <= seen {
            return Now(seen);
        }
        Now(self.0.fetch_max(now.0, Ordering::Relaxed).max(now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_never_falls() {
        let mark = HighWater::default();
        assert_eq!(mark.advance(Now(5)), Now(5));
        assert_eq!(mark.advance(Now(3)), Now(5));
        assert_eq!(mark.advance(Now(9)), Now(9));
    }

    #[test]
    fn adding_to_the_end_of_time_stays_there() {
        assert_eq!(Now(u64::MAX - 1).plus_ms(10), Now(u64::MAX));
    }
}
