//! Places for connections: all of them, those that have not authenticated, and those of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The places of a listener.
pub(crate) struct Slots {
    taken: Mutex<Taken>,
    freed: Notify,
    connections_max: usize,
    unauthenticated_max: usize,
    per_address_max: usize,
}

#[derive(Default)]
struct Taken {
    connections: usize,
    unauthenticated: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Connection,
    Unauthenticated(IpAddr),
}

impl Slots {
    pub(super) fn new(connections: usize, unauthenticated: usize, per_address: usize) -> Self {
        Self {
            taken: Mutex::default(),
            freed: Notify::new(),
            connections_max: connections,
            unauthenticated_max: unauthenticated.min(connections),
            per_address_max: per_address,
        }
    }

    /// A place among all connections and one among the unauthenticated, or neither. Loopback has no
    /// bound per address: it is one machine with itself.
    pub(super) fn take(this: &Arc<Self>, address: IpAddr) -> Option<(Slot, Slot)> {
        let mut taken = this.taken.lock();
        let of_address = taken.addresses.get(&address).copied().unwrap_or(0);
        let fits = taken.connections < this.connections_max
            && taken.unauthenticated < this.unauthenticated_max
            && (of_address < this.per_address_max || address.is_loopback());
        if !fits {
            return None;
        }
        taken.connections += 1;
        taken.unauthenticated += 1;
        *taken.addresses.entry(address).or_default() += 1;
        let slot = |kind| Slot {
            slots: Arc::clone(this),
            kind,
        };
        Some((slot(Kind::Connection), slot(Kind::Unauthenticated(address))))
    }

    /// Whether an address may have one more connection without a session, beside so many of it that
    /// wait for a place.
    pub(super) fn allows(&self, address: IpAddr, waiting: usize) -> bool {
        let of_address = self.taken.lock().addresses.get(&address).copied();
        let of_address = of_address.unwrap_or(0).saturating_add(waiting);
        of_address < self.per_address_max || address.is_loopback()
    }

    /// Whether no address would find a place.
    pub(super) fn is_full(&self) -> bool {
        let taken = self.taken.lock();
        taken.connections >= self.connections_max
            || taken.unauthenticated >= self.unauthenticated_max
    }

    /// Whether it is not the number of all connections that is used up.
    pub(super) fn has_place_for_sessions(&self) -> bool {
        self.taken.lock().connections < self.connections_max
    }

    /// Ends when a place is given back after this call.
    pub(super) fn freed(&self) -> impl Future<Output = ()> + '_ {
        self.freed.notified()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        match self.kind {
            Kind::Connection => taken.connections -= 1,
            Kind::Unauthenticated(address) => {
                taken.unauthenticated -= 1;
                if let Some(count) = taken.addresses.get_mut(&address) {
                    *count -= 1;
                    if *count == 0 {
                        taken.addresses.remove(&address);
                    }
                }
            }
        }
        drop(taken);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn each_bound_holds_and_places_come_back() {
        let slots = Arc::new(Slots::new(4, 3, 2));
        let first = Slots::take(&slots, A).unwrap();
        let second = Slots::take(&slots, A).unwrap();
        assert!(Slots::take(&slots, A).is_none(), "two of one address");
        let third = Slots::take(&slots, B).unwrap();
        assert!(
            Slots::take(&slots, B).is_none() && slots.is_full(),
            "three unauthenticated"
        );
        drop(first.1);
        let fourth = Slots::take(&slots, A).unwrap();
        drop(second.1);
        assert!(
            Slots::take(&slots, B).is_none() && slots.is_full(),
            "four connections"
        );
        drop((first.0, second.0, third, fourth));
        assert!(!slots.is_full() && slots.taken.lock().addresses.is_empty());
    }

    /// R4: one address does not fill the queue in front of the places.
    #[test]
    fn those_that_wait_count_towards_the_bound_of_their_address() {
        let slots = Arc::new(Slots::new(4, 4, 3));
        assert!(slots.allows(A, 2) && !slots.allows(A, 3));
        let taken = Slots::take(&slots, A).unwrap();
        assert!(slots.allows(A, 1) && !slots.allows(A, 2) && slots.allows(B, 2));
        drop(taken);
        assert!(slots.allows(A, 2));
        let here = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        assert!(slots.allows(here, 1_000));
    }

    #[test]
    fn loopback_has_no_bound_of_its_own() {
        let slots = Arc::new(Slots::new(10, 10, 1));
        let here = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let taken: Vec<_> = (0..10).map_while(|_| Slots::take(&slots, here)).collect();
        assert_eq!(taken.len(), 10);
    }
}
