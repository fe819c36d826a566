//! Buckets by network: a /24 for IPv4, a /64 for IPv6, in a table that cannot grow without bound.
//!
//! Invariant: the table never holds more than its bound. A network that finds no place shares a
//! bucket with the others that found none, so that a flood of addresses is limited, not let through.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::bucket::Bucket;

/// The part of an address that one subscriber commonly owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(u128);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Set apart from IPv6 by the mapped prefix.
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self(u128::from(
                    std::net::Ipv4Addr::new(a, b, c, 0).to_ipv6_mapped(),
                ))
            }
            IpAddr::V6(v6) => Self(u128::from(v6) >> 64 << 64),
        }
    }
}

/// The table. Looked up when a connection begins; the connection keeps its bucket.
#[derive(Debug)]
pub(super) struct Networks {
    buckets: Mutex<HashMap<Network, Arc<Bucket>>>,
    overflow: Arc<Bucket>,
    bound: usize,
}

impl Networks {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            buckets: Mutex::new(HashMap::new()),
            overflow: Arc::new(Bucket::default()),
            bound,
        }
    }

    /// The bucket of an address.
    pub(super) fn bucket(&self, address: IpAddr, now: u64) -> Arc<Bucket> {
        let network = Network::of(address);
        let mut buckets = self.buckets.lock();
        if let Some(bucket) = buckets.get(&network) {
            return Arc::clone(bucket);
        }
        if buckets.len() >= self.bound {
            // A full bucket nobody holds says nothing that a new one would not say.
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
        }
        if buckets.len() >= self.bound {
            return Arc::clone(&self.overflow);
        }
        Arc::clone(buckets.entry(network).or_default())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use crate::quota::Quota;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_share_a_network_and_strangers_do_not() {
        let same = |a, b| Network::of(ip(a)) == Network::of(ip(b));
        assert!(same("10.1.2.3", "10.1.2.250"));
        assert!(!same("10.1.2.3", "10.1.3.3"));
        assert!(
            same("10.1.2.3", "::ffff:10.1.2.9"),
            "mapped addresses are IPv4"
        );
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("0.0.0.0", "::"));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_idle_networks_first() {
        let quota = Quota::new(NonZeroU32::MIN, Duration::from_secs(1), NonZeroU32::MIN);
        let networks = Networks::new(2);
        let used = networks.bucket(ip("10.0.0.1"), 0);
        used.take(quota, 0, 1);
        drop(used);
        let held = networks.bucket(ip("10.0.1.1"), 0);
        let third = networks.bucket(ip("10.0.2.1"), 0);
        let fourth = networks.bucket(ip("10.0.3.1"), 0);
        assert!(
            Arc::ptr_eq(&third, &fourth),
            "beyond the bound all share one bucket"
        );
        assert_eq!(networks.len(), 2);
        // A second later the first bucket is full again and makes room.
        let fifth = networks.bucket(ip("10.0.4.1"), 1_000_000_000);
        assert!(!Arc::ptr_eq(&fifth, &third));
        assert!(Arc::ptr_eq(&held, &networks.bucket(ip("10.0.1.9"), 0)));
        assert_eq!(networks.len(), 2);
    }
}
