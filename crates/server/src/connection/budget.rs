//! The cheap-frame budget: frames that cost the server work and bring nothing (PING, CANCEL, CREDIT,
//! refused requests) draw points; useful bytes and time bring them back. An empty budget pauses
//! reading, so that the flood costs its sender.

use std::time::Duration;

use tokio::time::Instant;

/// Points that return per millisecond: ten cheap frames.
const POINTS_PER_MS: i64 = 2_560;

/// Points of one connection. They can be owed: the frames of one read are handled together, and what
/// they cost beyond the budget is paid by the pause behind them.
pub(super) struct CheapBudget {
    points: i64,
    full: i64,
    cost: i64,
    refilled: Instant,
}

impl CheapBudget {
    pub(super) fn new(full: usize, cost: usize, now: Instant) -> Self {
        let full = points(full);
        let cost = points(cost);
        Self {
            points: full,
            full,
            cost,
            refilled: now,
        }
    }

    /// A frame that brought nothing.
    pub(super) fn charge(&mut self) {
        self.points = self.points.saturating_sub(self.cost);
    }

    /// Bytes that brought something.
    #[inline]
    pub(super) fn refill(&mut self, useful_bytes: usize) {
        if self.points < self.full {
            let bytes = points(useful_bytes);
            self.points = self.points.saturating_add(bytes).min(self.full);
        }
    }

    /// Until when reading pauses; `None` while there are points.
    pub(super) fn paused_until(&mut self, now: Instant) -> Option<Instant> {
        if self.points >= self.full {
            // Time before the budget was touched earns nothing.
            self.refilled = now;
            return None;
        }
        let elapsed = now.saturating_duration_since(self.refilled);
        let ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        self.points = self
            .points
            .saturating_add(ms.saturating_mul(POINTS_PER_MS))
            .min(self.full);
        if ms > 0 {
            self.refilled = now;
        }
        let missing = u64::try_from(self.cost.saturating_sub(self.points)).unwrap_or(0);
        let wait = missing.div_ceil(POINTS_PER_MS.unsigned_abs());
        (missing > 0).then(|| now + Duration::from_millis(wait))
    }
}

fn points(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_cheap_frames_pause_reading_and_time_or_work_resumes_it() {
        let start = Instant::now();
        let mut budget = CheapBudget::new(25_600, 256, start);
        for _ in 0..100 {
            assert_eq!(budget.paused_until(start), None);
            budget.charge();
        }
        assert_eq!(
            budget.paused_until(start),
            Some(start + Duration::from_millis(1))
        );
        assert_eq!(budget.paused_until(start + Duration::from_millis(1)), None);
        for _ in 0..10 {
            budget.charge();
        }
        assert!(
            budget
                .paused_until(start + Duration::from_millis(1))
                .is_some()
        );
        budget.refill(256);
        assert_eq!(budget.paused_until(start + Duration::from_millis(1)), None);
    }

    #[test]
    fn what_one_read_costs_beyond_the_budget_is_paid_by_the_pause() {
        let start = Instant::now();
        let mut budget = CheapBudget::new(25_600, 256, start);
        // A long silence earns no more than a full budget.
        let now = start + Duration::from_secs(3_600);
        assert_eq!(budget.paused_until(now), None);
        for _ in 0..400 {
            budget.charge();
        }
        let until = budget.paused_until(now).unwrap();
        assert_eq!(until, now + Duration::from_millis(31));
        assert!(
            budget
                .paused_until(until - Duration::from_millis(1))
                .is_some()
        );
        assert_eq!(budget.paused_until(until), None);
    }
}
