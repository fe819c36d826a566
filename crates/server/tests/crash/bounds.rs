//! How much a test of this binary does: little in CI, much when `cargo xtask crash` asks for it.
//!
//! Owns the variables: `KV_CRASH_CYCLES` is how often each test repeats what it does, `KV_CRASH_SECONDS`
//! how long it goes on at most before it reports what it has, `KV_TEST_SEED` where its numbers come
//! from.

use std::fmt::Display;
use std::time::{Duration, Instant};

use kv_testkit::faults::say;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Numbers of cycles, each a seed of its own.
pub(crate) struct Cycles {
    name: &'static str,
    began: Instant,
    seconds: Option<u64>,
    first: u64,
    wanted: u64,
    done: u64,
}

impl Cycles {
    /// `in_ci` cycles, unless more is asked for, but never more than `at_most`.
    pub(crate) fn new(name: &'static str, in_ci: u64, at_most: u64) -> Self {
        Self {
            name,
            began: Instant::now(),
            seconds: variable("KV_CRASH_SECONDS"),
            first: variable("KV_TEST_SEED").unwrap_or(0),
            wanted: variable("KV_CRASH_CYCLES").unwrap_or(in_ci).min(at_most),
            done: 0,
        }
    }

    /// The command that does it again.
    pub(crate) fn again(&self) -> String {
        format!(
            "KV_TEST_SEED={} KV_CRASH_CYCLES={} cargo test -p kv-server --test crash {}",
            self.first, self.done, self.name
        )
    }

    /// The line that `cargo xtask crash` gathers.
    pub(crate) fn report(&self, what: impl Display) {
        say(&format!(
            "crash: {}: {} of {} cycles from seed {} in {:.1} s: {what}",
            self.name,
            self.done,
            self.wanted,
            self.first,
            self.began.elapsed().as_secs_f64(),
        ));
    }

    /// Reports, and fails when something was lost.
    #[track_caller]
    pub(crate) fn settle(&self, what: impl Display, losses: &[String]) {
        self.report(format_args!("{what}, {} losses", losses.len()));
        let first: Vec<_> = losses.iter().take(20).collect();
        assert!(losses.is_empty(), "{first:#?}\nagain: {}", self.again());
    }
}

impl Iterator for Cycles {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let is_late = self
            .seconds
            .is_some_and(|seconds| self.began.elapsed() >= Duration::from_secs(seconds));
        if self.done == self.wanted || is_late {
            return None;
        }
        self.done += 1;
        Some(self.first.wrapping_add(self.done))
    }
}
