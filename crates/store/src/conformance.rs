//! What every engine must do, as checks that can be run against any of them.
//!
//! Behind the feature `conformance`, for tests only: each check panics when the engine does not
//! do what its contract says. [`cases`] lists those that need nothing but a fresh engine;
//! [`check_against_model`] compares an engine with an ordered map, step by step.

mod basics;
mod batches;
mod driver;
mod expiry;
mod model;
mod operations;
mod scans;
mod threads;
mod waiter;

pub use driver::Driver;
pub use model::{Cond, Step, StepOp, check_against_model};

use crate::Engine;
use std::sync::Arc;

/// A named check for a fresh, empty engine.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// A sentence in snake case.
    pub name: &'static str,
    /// Panics when the engine does not comply.
    pub check: fn(Arc<dyn Engine>),
}

/// Every check.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        basics::CASES,
        batches::CASES,
        expiry::CASES,
        operations::CASES,
        scans::CASES,
        threads::CASES,
    ]
    .concat()
}

/// Lists functions as cases under their own names.
macro_rules! list_cases {
    ($($name:ident),+ $(,)?) => {
        pub(super) const CASES: &[super::Case] =
            &[$(super::Case { name: stringify!($name), check: $name }),+];
    };
}
use list_cases;
