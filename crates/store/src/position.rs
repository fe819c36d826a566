//! How far a store has come, and how far of that is safe to show.

use std::sync::Arc;

/// Where a write stands among all writes of a store, and what an outcome depends on: it may be
/// shown once everything up to its position is durable. A write's position is its entry's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// In front of every write: an outcome that depends on nothing.
    pub const START: Self = Self(0);
    /// Behind every write: everything is as durable as it will ever be.
    pub const END: Self = Self(u64::MAX);

    /// The position of the write that gave an entry `version`.
    #[must_use]
    pub const fn of_version(version: u64) -> Self {
        Self(version)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How much of what was answered may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Outcomes up to here may be shown.
    pub through: Position,
    /// Nothing behind `through` will ever become durable: its outcome is unknown.
    pub failed: bool,
}

/// Called from any thread whenever [`crate::Engine::durable`] has changed; must not block and must
/// not call the engine's other methods.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Takes everything.
    Good,
    /// Works, but worse than it should: why.
    Degraded(&'static str),
    /// Takes no writes that need room until there is room again: why.
    Full(&'static str),
    /// Takes no writes any more: why. The process should end.
    Failed(&'static str),
}
