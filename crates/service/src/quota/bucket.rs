//! A token bucket in one number: the generic cell rate algorithm.
//!
//! The number is the time at which the bucket will be full again. Reads no clock: `now` is passed in,
//! in nanoseconds from any fixed moment. Invariant: over any span of time no more than
//! `burst + rate × span` requests are allowed, also from many threads at once.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a bucket lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds one request costs.
    cost_nanos: u64,
    /// Nanoseconds the bucket holds.
    burst_nanos: u64,
}

impl Quota {
    /// `events` in `per`, of which `burst` may come at once.
    ///
    /// Rates above one event per nanosecond are one event per nanosecond.
    #[must_use]
    pub fn new(events: NonZeroU32, per: Duration, burst: NonZeroU32) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let cost_nanos = (per / u64::from(events.get())).max(1);
        Self {
            cost_nanos,
            burst_nanos: cost_nanos.saturating_mul(burst.get().into()),
        }
    }
}

/// The state of one bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it is full again.
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes up to `wanted` tokens at `now`. Gives how many were there, and, when that is fewer, how
    /// many nanoseconds until the next one.
    #[inline]
    pub(super) fn take(&self, quota: Quota, now: u64, wanted: u32) -> (u32, u64) {
        let mut granted = 0;
        let mut wait = 0;
        let step = |full_at: u64| {
            let from = full_at.max(now);
            let free = quota.burst_nanos.saturating_sub(from - now);
            let whole = free / quota.cost_nanos;
            granted = u32::try_from(whole).unwrap_or(u32::MAX).min(wanted);
            wait = if granted < wanted {
                // The next token exists once the bucket is less full by what is missing of it.
                quota.cost_nanos - free % quota.cost_nanos
            } else {
                0
            };
            let cost = quota.cost_nanos.saturating_mul(granted.into());
            (granted > 0).then(|| from.saturating_add(cost))
        };
        // Relaxed: the number guards no other memory.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        (granted, wait)
    }

    /// Gives tokens back that were taken and not used.
    pub(super) fn give_back(&self, quota: Quota, tokens: u32) {
        let back = quota.cost_nanos.saturating_mul(tokens.into());
        let step = |full_at: u64| Some(full_at.saturating_sub(back));
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// Whether it is as good as new.
    pub(super) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(events: u32, burst: u32) -> Quota {
        let number = |n| NonZeroU32::new(n).unwrap();
        Quota::new(number(events), Duration::from_secs(1), number(burst))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (bucket, quota) = (Bucket::default(), quota(10, 3));
        assert_eq!(bucket.take(quota, 0, 5), (3, SECOND / 10));
        assert_eq!(bucket.take(quota, SECOND / 10 - 1, 1), (0, 1));
        assert_eq!(bucket.take(quota, SECOND / 10, 1), (1, 0));
        assert!(!bucket.is_full(SECOND / 10));
        assert!(bucket.is_full(SECOND));
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let (bucket, quota) = (Bucket::default(), quota(1, 2));
        assert_eq!(bucket.take(quota, 5, 2).0, 2);
        bucket.give_back(quota, 1);
        assert_eq!(bucket.take(quota, 5, 2).0, 1);
    }

    proptest! {
        /// The bound that matters: from any moment on, never more than burst + rate × time.
        #[test]
        fn no_schedule_gets_more_than_its_share(
            events in 1_u32..1000,
            burst in 1_u32..50,
            steps in prop::collection::vec((0_u64..SECOND / 10, 1_u32..20), 1..200),
        ) {
            let (bucket, quota) = (Bucket::default(), quota(events, burst));
            let mut now = 7;
            let mut granted: Vec<(u64, u64)> = Vec::new();
            for (pause, wanted) in steps {
                now += pause;
                granted.push((now, bucket.take(quota, now, wanted).0.into()));
            }
            for (index, (from, _)) in granted.iter().enumerate() {
                let sum: u64 = granted[index..].iter().map(|(_, n)| n).sum();
                let allowed = u64::from(burst) + (now - from) / quota.cost_nanos + 1;
                prop_assert!(sum <= allowed, "{sum} > {allowed}");
            }
        }

        /// The answer "come back then" is neither early nor late.
        #[test]
        fn after_the_wait_there_is_a_token_and_before_there_is_none(
            events in 1_u32..1000,
            burst in 1_u32..50,
            pauses in prop::collection::vec(0_u64..SECOND / 50, 0..100),
        ) {
            let (bucket, quota) = (Bucket::default(), quota(events, burst));
            let mut now = 0;
            for pause in pauses {
                now += pause;
                let (granted, wait) = bucket.take(quota, now, 1);
                if granted == 0 {
                    prop_assert!(wait > 0);
                    prop_assert_eq!(bucket.take(quota, now + wait - 1, 1).0, 0);
                    prop_assert_eq!(bucket.take(quota, now + wait, 1).0, 1);
                    now += wait;
                }
            }
        }

        /// A clock that goes back neither panics nor gives tokens away.
        #[test]
        fn time_may_go_back(times in prop::collection::vec(any::<u64>(), 1..50)) {
            let (bucket, quota) = (Bucket::default(), quota(1, 1));
            for now in times {
                bucket.take(quota, now, 3);
            }
        }
    }
}
