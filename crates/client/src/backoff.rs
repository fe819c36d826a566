//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Exponential delays with jitter: the first attempt at once, the next after a random time between
/// half of `first` and `first`, each further one twice as long, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// Delays from `first` to `max`. A `max` below `first` counts as `first`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        let max = if max.as_nanos() < first.as_nanos() {
            first
        } else {
            max
        };
        Self { first, max }
    }

    /// How long a connection has to last for the delays to begin anew.
    pub(crate) const fn stable_after(self) -> Duration {
        self.max
    }

    /// The delay before attempt number `attempt`, counted from 0.
    pub(crate) fn delay(self, attempt: u32) -> Duration {
        let Some(doublings) = attempt.checked_sub(1) else {
            return Duration::ZERO;
        };
        self.jittered(doublings, random_u32())
    }

    fn jittered(self, doublings: u32, random: u32) -> Duration {
        let full = 2u32
            .checked_pow(doublings)
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(self.max, |delay| delay.min(self.max));
        let half = full / 2;
        half.saturating_add(half.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

impl Default for Backoff {
    /// 20 ms to 5 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// Without a random source the delay is the longest of its range.
fn random_u32() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once() {
        assert_eq!(Backoff::default().delay(0), Duration::ZERO);
    }

    #[test]
    fn delays_double_up_to_the_maximum_within_their_jitter() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (doublings, full) in [(0, 100), (1, 200), (3, 800), (4, 1_000), (40, 1_000)] {
            let full = Duration::from_millis(full);
            assert_eq!(backoff.jittered(doublings, 0), full / 2);
            assert_eq!(backoff.jittered(doublings, u32::MAX), full);
        }
    }
}
