//! The memory of one engine: reserve, then allocate, and release what is freed.

use crate::StoreError;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in use, and their bound.
pub(crate) struct Budget {
    used: AtomicU64,
    limit: Option<NonZeroU64>,
}

impl Budget {
    pub(crate) const fn new(limit: Option<NonZeroU64>) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// Takes `bytes`, or nothing if the limit would be exceeded.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), StoreError> {
        let bytes = bytes as u64;
        // Relaxed, here and below: a sum by itself; it orders no other memory.
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        match self.limit {
            Some(limit) if before.saturating_add(bytes) > limit.get() => {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                Err(StoreError::OutOfMemory)
            }
            _ => Ok(()),
        }
    }

    /// How much would have to be given back for `bytes` to fit.
    pub(crate) fn missing(&self, bytes: usize) -> usize {
        let Some(limit) = self.limit else { return 0 };
        let wanted = self.used().saturating_add(bytes as u64);
        usize::try_from(wanted.saturating_sub(limit.get())).unwrap_or(usize::MAX)
    }

    /// Gives `bytes` back.
    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) const fn limit(&self) -> Option<NonZeroU64> {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_can_be_reached_and_not_passed() {
        let budget = Budget::new(NonZeroU64::new(100));
        assert_eq!(budget.reserve(60), Ok(()));
        assert_eq!(budget.reserve(41), Err(StoreError::OutOfMemory));
        assert_eq!(budget.reserve(40), Ok(()));
        assert_eq!(budget.used(), 100);
        budget.release(1);
        assert_eq!(budget.reserve(2), Err(StoreError::OutOfMemory));
        assert_eq!(budget.used(), 99);
        assert_eq!((budget.missing(1), budget.missing(2)), (0, 1));
        assert_eq!(Budget::new(None).missing(usize::MAX), 0);
    }
}
