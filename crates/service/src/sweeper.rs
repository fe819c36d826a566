//! How much expiry work to do at a time.
//!
//! Owns the size of a step; the server owns the task that takes one now and then. A store full of
//! expired entries is swept in larger steps, one with few in small ones.

use kv_store::Now;

use crate::keyspace::Service;

/// Entries looked at in the smallest step: some tens of microseconds.
pub const SWEEP_STEP_MIN: usize = 256;

/// Entries looked at in the largest step: a few milliseconds, in many short holds of a lock.
pub const SWEEP_STEP_MAX: usize = 16 * 1024;

/// Sweeps a service in steps that follow what is found.
#[derive(Debug)]
pub struct Sweeper {
    budget: usize,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Entries removed.
    pub removed: usize,
    /// Whether so many had expired that the next step should follow soon, after giving others a
    /// turn.
    pub soon: bool,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self {
            budget: SWEEP_STEP_MIN,
        }
    }
}

impl Sweeper {
    /// One bounded step.
    pub fn step(&mut self, service: &Service, now: Now) -> Swept {
        let removed = service.sweep(now, self.budget);
        // A quarter of what was looked at: the store holds much that nobody can see.
        let soon = removed > self.budget / 4;
        let next = if soon {
            self.budget * 2
        } else {
            self.budget / 2
        };
        self.budget = next.clamp(SWEEP_STEP_MIN, SWEEP_STEP_MAX);
        Swept { removed, soon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_store::{Condition, Expiry, MemoryConfig, MemoryEngine, Op, Outcome, Value};
    use std::sync::Arc;

    #[test]
    fn steps_grow_while_much_has_expired_and_shrink_again() {
        let service = Service::new(Arc::new(MemoryEngine::new(MemoryConfig::default())));
        let now = service.now();
        for n in 0..100_000_u64 {
            let set = Op::Set {
                key: &n.to_be_bytes(),
                value: Value::Inline(b"value"),
                content_type: 0,
                expiry: Expiry::At(now.plus_ms(1).unix_ms()),
                condition: Condition::Always,
                previous: false,
            };
            service.run(
                now,
                &[set],
                &mut |_: usize, _: Outcome<'_>, _: kv_store::Position| {},
            );
        }
        let mut sweeper = Sweeper::default();
        let idle = Swept {
            removed: 0,
            soon: false,
        };
        assert_eq!(sweeper.step(&service, now), idle);
        let later = now.plus_ms(1);
        let mut steps = Vec::new();
        while service.stats().keys > 0 {
            steps.push(sweeper.step(&service, later));
        }
        assert!(steps.iter().all(|step| step.removed <= SWEEP_STEP_MAX));
        assert_eq!(
            steps.iter().map(|step| step.removed).sum::<usize>(),
            100_000
        );
        assert!(steps.len() < 20, "{} steps", steps.len());
        for _ in 0..10 {
            sweeper.step(&service, later);
        }
        assert_eq!(sweeper.budget, SWEEP_STEP_MIN);
    }
}
