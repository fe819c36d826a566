//! Which entries go when memory is full.

use std::fmt;
use std::str::FromStr;

/// What a memory engine does when a write needs more than its limit leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The write fails with [`crate::StoreError::OutOfMemory`]: nothing is lost.
    #[default]
    None,
    /// Entries go that were not looked up or written for long, whether they expire or not (an
    /// approximation: the clock algorithm).
    Lru,
    /// Entries go that expire soon, of a sample those that expire first. When none with an expiry
    /// is left, the write fails.
    Ttl,
}

impl Eviction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Lru, Self::Ttl];

    /// As it is written in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lru => "lru",
            Self::Ttl => "ttl",
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not one of [`Eviction::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of none, lru, ttl")]
pub struct UnknownEviction;

impl FromStr for Eviction {
    type Err = UnknownEviction;

    fn from_str(name: &str) -> Result<Self, UnknownEviction> {
        let mut all = Self::ALL.into_iter();
        all.find(|eviction| eviction.name() == name)
            .ok_or(UnknownEviction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_and_read_alike() {
        for eviction in Eviction::ALL {
            assert_eq!(eviction.to_string().parse(), Ok(eviction));
        }
        assert_eq!("LRU".parse::<Eviction>(), Err(UnknownEviction));
        assert_eq!(Eviction::default(), Eviction::None);
    }
}
