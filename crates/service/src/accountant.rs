//! The memory of the whole process, as far as peers can make it grow: reserve, then allocate, release
//! on drop.
//!
//! Owns the sum and the thresholds. Does not know who holds what; each owner keeps its [`Lease`]. The
//! engine's own bytes are told as a figure, because it counts them itself. Invariant: the reserved
//! part is the sum of all leases, and a refused reservation changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shares of the limit, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// From here on new streams are refused.
    pub refuse_streams: u8,
    /// From here on writes are refused.
    pub refuse_writes: u8,
    /// From here on the largest connections end.
    pub shed: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            refuse_streams: 80,
            refuse_writes: 90,
            shed: 95,
        }
    }
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Everything goes.
    Normal,
    /// No new streams, no new partial messages.
    RefuseStreams,
    /// No writes either; reads and deletes go on.
    RefuseWrites,
    /// Connections end, the largest first.
    Shed,
}

/// The process-wide account. Share it in an `Arc`.
#[derive(Debug)]
pub struct Accountant {
    limit: usize,
    streams_at: usize,
    writes_at: usize,
    shed_at: usize,
    reserved: AtomicUsize,
    stored: AtomicUsize,
}

impl Accountant {
    /// An account of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, thresholds: Thresholds) -> Self {
        let share = |percent: u8| (limit / 100).saturating_mul(usize::from(percent.min(100)));
        Self {
            limit,
            streams_at: share(thresholds.refuse_streams),
            writes_at: share(thresholds.refuse_writes),
            shed_at: share(thresholds.shed),
            reserved: AtomicUsize::new(0),
            stored: AtomicUsize::new(0),
        }
    }

    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// What leases and the store hold.
    #[inline]
    #[must_use]
    pub fn used(&self) -> usize {
        let reserved = self.reserved.load(Ordering::Relaxed);
        reserved.saturating_add(self.stored.load(Ordering::Relaxed))
    }

    /// What leases hold.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Tells how much the store holds. Called now and then (a sweep, a batch of writes), never per
    /// request; the last word wins.
    pub fn set_stored(&self, bytes: usize) {
        self.stored.store(bytes, Ordering::Relaxed);
    }

    /// How much room there is: two loads and three compares.
    #[inline]
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let used = self.used();
        if used < self.streams_at {
            Pressure::Normal
        } else if used < self.writes_at {
            Pressure::RefuseStreams
        } else if used < self.shed_at {
            Pressure::RefuseWrites
        } else {
            Pressure::Shed
        }
    }

    /// How much has to go before nothing needs to be shed; 0 almost always.
    #[must_use]
    pub fn excess(&self) -> usize {
        match self.pressure() {
            Pressure::Shed => self.used().saturating_sub(self.shed_at).saturating_add(1),
            Pressure::Normal | Pressure::RefuseStreams | Pressure::RefuseWrites => 0,
        }
    }

    /// Reserves bytes before they are allocated; `None` when they do not fit under the limit.
    ///
    /// Ask [`pressure`](Self::pressure) first whether this kind of work is still welcome.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        self.take(bytes).then(|| Lease {
            accountant: Arc::clone(self),
            bytes,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let stored = self.stored.load(Ordering::Relaxed);
        let fits = |reserved: usize| {
            let after = reserved.checked_add(bytes)?;
            (after.checked_add(stored)? <= self.limit).then_some(after)
        };
        // Relaxed: the number guards no other memory.
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Reserved bytes; given back on drop.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    accountant: Arc<Accountant>,
    bytes: usize,
}

impl Lease {
    /// How many bytes are reserved.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the reservation to `bytes`; `false`, and nothing changed, when that does not fit.
    /// Shrinking always fits.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            self.accountant.give_back(self.bytes - bytes);
        } else if !self.accountant.take(bytes - self.bytes) {
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.accountant.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(limit: usize) -> Arc<Accountant> {
        Arc::new(Accountant::new(limit, Thresholds::default()))
    }

    #[test]
    fn a_reservation_fits_up_to_the_limit_and_not_one_byte_further() {
        let account = account(1000);
        let all = account.reserve(1000).unwrap();
        assert!(account.reserve(1).is_none());
        drop(all);
        assert_eq!(account.used(), 0);
        assert!(account.reserve(1001).is_none());
        assert!(account.reserve(usize::MAX).is_none(), "no overflow");
        assert_eq!(account.used(), 0, "a refusal changes nothing");
    }

    #[test]
    fn the_store_counts_against_the_same_limit() {
        let account = account(1000);
        account.set_stored(600);
        assert!(account.reserve(401).is_none());
        let lease = account.reserve(400).unwrap();
        assert_eq!((account.used(), account.reserved()), (1000, 400));
        drop(lease);
        account.set_stored(0);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn each_threshold_begins_at_its_share() {
        let account = account(1000);
        for (used, expected) in [
            (0, Pressure::Normal),
            (799, Pressure::Normal),
            (800, Pressure::RefuseStreams),
            (899, Pressure::RefuseStreams),
            (900, Pressure::RefuseWrites),
            (949, Pressure::RefuseWrites),
            (950, Pressure::Shed),
            (5000, Pressure::Shed),
        ] {
            account.set_stored(used);
            assert_eq!(account.pressure(), expected, "{used}");
            account.set_stored(used.saturating_sub(account.excess()));
            assert_ne!(account.pressure(), Pressure::Shed, "{used}");
        }
    }

    #[test]
    fn a_lease_grows_only_when_it_fits() {
        let account = account(100);
        let mut lease = account.reserve(40).unwrap();
        assert!(lease.resize(100));
        assert!(!lease.resize(101));
        assert_eq!((lease.bytes(), account.used()), (100, 100));
        assert!(lease.resize(0));
        assert_eq!(account.used(), 0);
    }

    proptest! {
        #[test]
        fn the_sum_is_always_that_of_the_leases(steps in prop::collection::vec((0_usize..8, 0_usize..500), 0..100)) {
            let account = account(2000);
            let mut leases: Vec<Option<Lease>> = (0..8).map(|_| None).collect();
            for (slot, bytes) in steps {
                match &mut leases[slot] {
                    Some(lease) if bytes % 2 == 0 => { let _ = lease.resize(bytes); }
                    slot => *slot = account.reserve(bytes),
                }
                let sum: usize = leases.iter().flatten().map(Lease::bytes).sum();
                prop_assert_eq!(account.reserved(), sum);
                prop_assert!(account.used() <= account.limit());
            }
            drop(leases);
            prop_assert_eq!(account.used(), 0);
        }
    }
}
