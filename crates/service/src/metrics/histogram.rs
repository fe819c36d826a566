//! A log-linear histogram of durations: eight steps per doubling, so that every value is known within
//! 12.5 %.
//!
//! Owns buckets and their bounds. Does not read clocks. Invariant: the bounds that are exported
//! (25 µs, doubled up to 10 s) are bounds of buckets, so that exported counts are exact.

use std::sync::atomic::{AtomicU64, Ordering};

/// Steps per doubling, as a power of two.
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;

/// A unit is 25 µs / 1024: a power of two below the first exported bound, about 24.4 ns.
const UNITS_PER_FIRST_BOUND: u64 = 1024;
const FIRST_BOUND_NANOS: u64 = 25_000;

/// Doublings above the first, linear octave: the last bucket begins above 25 s.
const OCTAVES: usize = 28;
const BUCKETS: usize = STEPS * (OCTAVES + 1);

/// How many finite bounds are exported: 25 µs doubled nineteen times is 13 s.
pub(super) const BOUNDS: usize = 20;

/// Counts of durations.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_nanos: AtomicU64::new(0),
        }
    }

    /// Counts `n` durations of `nanos` each: two relaxed additions.
    #[inline]
    pub(super) fn record(&self, nanos: u64, n: u64) {
        if let Some(count) = self.counts.get(bucket(nanos)) {
            count.fetch_add(n, Ordering::Relaxed);
        }
        self.sum_nanos
            .fetch_add(nanos.saturating_mul(n), Ordering::Relaxed);
    }
}

/// The bucket of a duration. A bucket holds what is above its lower bound and up to its upper one,
/// as `le` means it.
#[inline]
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(1 << 50);
    let units = (nanos * UNITS_PER_FIRST_BOUND).div_ceil(FIRST_BOUND_NANOS);
    let above = units.saturating_sub(1);
    let octave = (u64::BITS - above.leading_zeros()).saturating_sub(STEP_BITS);
    let (octave, step) = if octave == 0 {
        (0, above)
    } else {
        (octave, (above >> (octave - 1)) & (STEPS as u64 - 1))
    };
    // Both are small by construction; the clamp keeps what is beyond in the last bucket.
    let index = u64::from(octave) * STEPS as u64 + step;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The upper bound of a bucket in nanoseconds.
fn upper_nanos(bucket: usize) -> u64 {
    let (octave, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    let units = match octave {
        0 => step + 1,
        octave => (STEPS as u64 + step + 1) << (octave - 1),
    };
    units * FIRST_BOUND_NANOS / UNITS_PER_FIRST_BOUND
}

/// The sum of several histograms at one moment.
#[derive(Clone, Debug)]
pub struct Durations {
    counts: Vec<u64>,
    sum_nanos: u64,
}

impl Durations {
    pub(super) fn empty() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            sum_nanos: 0,
        }
    }

    pub(super) fn add(&mut self, other: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.sum_nanos = self
            .sum_nanos
            .wrapping_add(other.sum_nanos.load(Ordering::Relaxed));
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        nanos_to_seconds(self.sum_nanos)
    }

    /// The duration, in nanoseconds and within 12.5 %, that the share `q` of all stays at or below;
    /// `None` while there are none.
    #[must_use]
    pub fn quantile_nanos(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "q is clamped, so the rank lies between 1 and the count"
        )]
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(upper_nanos(bucket));
            }
        }
        Some(upper_nanos(BUCKETS - 1))
    }

    /// Upper bounds in seconds with the counts between them; the last bound is infinite.
    pub(super) fn exported(&self) -> Vec<(f64, u64)> {
        let mut buckets = Vec::with_capacity(BOUNDS + 1);
        let mut rest = self.counts.as_slice();
        for bound in 0..BOUNDS {
            let octaves = if bound == 0 { first_octaves() } else { 1 };
            let (these, others) = rest
                .split_at_checked(octaves * STEPS)
                .unwrap_or((rest, &[]));
            rest = others;
            let nanos = FIRST_BOUND_NANOS << bound;
            buckets.push((nanos_to_seconds(nanos), these.iter().sum()));
        }
        buckets.push((f64::INFINITY, rest.iter().sum()));
        buckets
    }
}

/// How many octaves lie below the first exported bound.
const fn first_octaves() -> usize {
    (UNITS_PER_FIRST_BOUND.ilog2() - STEP_BITS + 1) as usize
}

fn nanos_to_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn durations(nanos: &[u64]) -> Durations {
        let histogram = Histogram::new();
        for nanos in nanos {
            histogram.record(*nanos, 1);
        }
        let mut sum = Durations::empty();
        sum.add(&histogram);
        sum
    }

    #[test]
    fn exported_bounds_are_exact_on_both_sides() {
        for bound in 0..BOUNDS {
            let nanos = FIRST_BOUND_NANOS << bound;
            let at = durations(&[nanos]).exported();
            assert_eq!(at[bound].1, 1, "{nanos} ns is at most its bound");
            assert!((at[bound].0 - nanos as f64 / 1e9).abs() < 1e-12);
            let past = durations(&[nanos + 1]).exported();
            assert_eq!(past[bound + 1].1, 1, "{nanos} ns + 1 is above");
        }
        assert_eq!(durations(&[0]).exported()[0].1, 1);
        assert_eq!(durations(&[u64::MAX]).exported()[BOUNDS].1, 1);
    }

    #[test]
    fn quantiles_of_nothing_and_of_one() {
        assert_eq!(durations(&[]).quantile_nanos(0.5), None);
        let one = durations(&[1_000_000]);
        for q in [0.0, 0.5, 1.0, f64::NAN] {
            let found = one.quantile_nanos(q).unwrap();
            assert!((1_000_000..=1_125_000).contains(&found), "{found}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket(nanos in 0_u64..30_000_000_000) {
            let bucket = bucket(nanos);
            prop_assert!(nanos <= upper_nanos(bucket) + 1);
            if bucket > 0 {
                prop_assert!(nanos >= upper_nanos(bucket - 1));
            }
        }

        #[test]
        fn buckets_grow_with_the_duration(a in any::<u64>(), b in any::<u64>()) {
            let (small, large) = (a.min(b), a.max(b));
            prop_assert!(bucket(small) <= bucket(large));
        }

        #[test]
        fn quantiles_are_within_an_eighth(mut all in prop::collection::vec(1_000_u64..10_000_000_000, 1..200), q in 0.0..1.0_f64) {
            let found = durations(&all).quantile_nanos(q).unwrap();
            all.sort_unstable();
            let below = |value: u64| all.iter().filter(|v| **v <= value).count() as f64;
            let exact = all.iter().copied().find(|v| below(*v) >= q * all.len() as f64).unwrap();
            prop_assert!(found + 1 >= exact && found <= exact + exact / 8 + 50, "{found} {exact}");
        }
    }
}
