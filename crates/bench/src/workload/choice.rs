//! Which keys are asked for how often.

use serde::{Deserialize, Serialize};

use super::Rng;

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// All alike.
    Uniform,
    /// The rank r with weight 1 / r^exponent; the exponent is above 0.
    Zipf(f64),
}

/// A set of keys, numbered from 0, and the way they are chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    count: u64,
    zipf: Option<Zipf>,
}

impl Keys {
    pub(super) fn new(count: u64, choice: Choice) -> Self {
        let zipf = match choice {
            Choice::Uniform => None,
            Choice::Zipf(exponent) => Some(Zipf::new(count, exponent)),
        };
        Self { count, zipf }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    #[inline]
    pub(super) fn sample(&self, rng: &mut Rng) -> u64 {
        match &self.zipf {
            None => rng.below(self.count),
            Some(zipf) => zipf.sample(rng),
        }
    }
}

/// Rejection-inversion sampling (Hörmann and Derflinger 1996): a draw from the continuous envelope
/// h(x) = x^-e, rounded, and rejected in the few cases in which the envelope is above the bar.
#[derive(Clone, Copy, Debug)]
struct Zipf {
    exponent: f64,
    count: f64,
    /// H(1.5) - h(1) and H(count + 0.5), between which the draw is even.
    low: f64,
    high: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut this = Self {
            exponent,
            count: count as f64,
            low: 0.0,
            high: 0.0,
        };
        this.low = this.integral(1.5) - 1.0;
        this.high = this.integral(this.count + 0.5);
        this
    }

    /// H, an antiderivative of h.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let power = (1.0 - self.exponent) * log;
        if power.abs() < 1e-8 {
            log * (1.0 + power / 2.0)
        } else {
            power.exp_m1() / (1.0 - self.exponent)
        }
    }

    /// The inverse of H.
    fn inverse(&self, y: f64) -> f64 {
        let scaled = y * (1.0 - self.exponent);
        if scaled.abs() < 1e-8 {
            (y * (1.0 - scaled / 2.0)).exp()
        } else {
            (scaled.ln_1p() / (1.0 - self.exponent)).exp()
        }
    }

    fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let y = self.low + rng.unit() * (self.high - self.low);
            let rank = self.inverse(y).round().clamp(1.0, self.count);
            if y >= self.integral(rank + 0.5) - rank.powf(-self.exponent) {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a whole number between 1 and the count"
                )]
                return rank as u64 - 1;
            }
        }
    }
}
