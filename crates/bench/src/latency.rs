//! Latencies, and the percentiles that the number of samples bears.
//!
//! Invariant: a percentile is told only when at least [`BEYOND`] samples lie beyond it; a p99.9 of a
//! hundred samples would be their maximum under another name.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Samples that must lie beyond a percentile.
pub(crate) const BEYOND: f64 = 10.0;
const HIGHEST_NS: u64 = 120_000_000_000;
const DIGITS: u8 = 3;

/// Latencies of one run, in nanoseconds, with three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is told of them, in microseconds. `None`: not enough samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// How many samples there were.
    pub samples: u64,
    /// Half are at most this.
    pub p50: Option<f64>,
    /// 95 in 100 are at most this.
    pub p95: Option<f64>,
    /// 99 in 100 are at most this.
    pub p99: Option<f64>,
    /// 999 in 1,000 are at most this.
    pub p999: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// Does not happen with these bounds.
    pub(crate) fn new() -> Result<Self> {
        let histogram =
            Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).context("the histogram's bounds")?;
        Ok(Self(histogram))
    }

    /// Notes one, at most two minutes.
    #[inline]
    pub(crate) fn record_ns(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Adds another one's.
    ///
    /// # Errors
    /// Does not happen: all have the same bounds.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).context("adding latencies")
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentile in microseconds, `quantile` between 0 and 1; `None` without enough samples.
    #[must_use]
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let beyond = self.count() as f64 * (1.0 - quantile);
        // The product of decimals that have no exact binary form must not fall short by rounding.
        (beyond + 1e-6 >= BEYOND).then(|| us(self.0.value_at_quantile(quantile)))
    }

    /// All percentiles that are told.
    #[must_use]
    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles {
            samples: self.count(),
            p50: self.quantile_us(0.50),
            p95: self.quantile_us(0.95),
            p99: self.quantile_us(0.99),
            p999: self.quantile_us(0.999),
            max: (self.count() > 0).then(|| us(self.0.max())),
        }
    }

    /// Points of the distribution for a plot: quantile and microseconds, as far as the samples bear.
    #[must_use]
    pub(crate) fn distribution(&self) -> Vec<(f64, f64)> {
        let steps = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995];
        let tail = [0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999];
        steps
            .into_iter()
            .chain(tail)
            .filter_map(|quantile| Some((quantile, self.quantile_us(quantile)?)))
            .collect()
    }
}

fn us(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u64) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        for n in 1..=count {
            latencies.record_ns(n * 1_000);
        }
        latencies
    }

    #[test]
    fn a_percentile_without_ten_samples_beyond_it_is_refused() {
        for (samples, told) in [
            (0, [false; 4]),
            (19, [false; 4]),
            (20, [true, false, false, false]),
            (199, [true, false, false, false]),
            (200, [true, true, false, false]),
            (999, [true, true, false, false]),
            (1_000, [true, true, true, false]),
            (9_999, [true, true, true, false]),
            (10_000, [true; 4]),
        ] {
            let p = of(samples).percentiles();
            let found = [p.p50, p.p95, p.p99, p.p999].map(|p| p.is_some());
            assert_eq!(found, told, "{samples} samples");
            assert_eq!(p.max.is_some(), samples > 0);
        }
    }

    #[test]
    fn percentiles_are_right_within_three_digits() {
        let p = of(100_000).percentiles();
        for (found, expected) in [
            (p.p50, 50_000.0),
            (p.p95, 95_000.0),
            (p.p99, 99_000.0),
            (p.p999, 99_900.0),
            (p.max, 100_000.0),
        ] {
            let found = found.unwrap();
            assert!(
                (found - expected).abs() / expected < 0.001,
                "{found}, not {expected}"
            );
        }
    }

    #[test]
    fn what_is_longer_than_the_scale_counts_as_its_end() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record_ns(u64::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentiles().max.unwrap() >= 120_000_000.0);
    }

    #[test]
    fn a_distribution_never_falls() {
        let points = of(50_000).distribution();
        assert!(points.len() > 8);
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }
}
