//! The cheap-frame budget: frames that cost the server work and bring nothing (PING, CANCEL, CREDIT,
//! refused requests) draw points; useful bytes and time bring them back. An empty budget pauses
//! reading, so that the flood costs its sender.

use std::time::Duration;

use tokio::time::Instant;

/// Points that return per millisecond: ten cheap frames.
const POINTS_PER_MS: u64 = 2_560;

/// Points of one connection.
pub(super) struct CheapBudget {
    points: u64,
    full: u64,
    cost: u64,
    refilled: Instant,
}

impl CheapBudget {
    pub(super) fn new(full: usize, cost: usize, now: Instant) -> Self {
        let full = u64::try_from(full).unwrap_or(u64::MAX);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
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
            let bytes = u64::try_from(useful_bytes).unwrap_or(u64::MAX);
            self.points = self.points.saturating_add(bytes).min(self.full);
        }
    }

    /// Until when reading pauses; `None` while there are points.
    pub(super) fn paused_until(&mut self, now: Instant) -> Option<Instant> {
        if self.points >= self.cost {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.refilled);
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.points = self
            .points
            .saturating_add(ms.saturating_mul(POINTS_PER_MS))
            .min(self.full);
        if ms > 0 {
            self.refilled = now;
        }
        (self.points < self.cost).then(|| now + Duration::from_millis(1))
    }
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
}
