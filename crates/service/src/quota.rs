//! Requests per time: of one identity, of everybody, of one network.
//!
//! Owns the buckets. Reads no clock: the time of the wake-up is passed in. A connection asks once per
//! wake-up for the whole run of requests it found. Invariant: what is refused by one bucket is given
//! back to the others, so that a refused request costs nobody anything.

mod bucket;
mod networks;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::identity::Identity;
use crate::metrics::RateScope;
use bucket::Bucket;
pub use bucket::Quota;
use networks::Networks;

/// Networks told apart; about 6 MiB at the most.
const NETWORKS_MAX: usize = 65_536;

/// Which limits there are; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuotaConfig {
    /// Of one identity, over all its connections.
    pub per_client: Option<Quota>,
    /// Of everybody.
    pub global: Option<Quota>,
    /// Of one /24 or /64 network.
    pub per_ip: Option<Quota>,
}

/// All buckets of one server. Share it in an `Arc`.
#[derive(Debug)]
pub struct Quotas {
    config: QuotaConfig,
    global: Arc<Bucket>,
    clients: Mutex<HashMap<Identity, Arc<Bucket>>>,
    networks: Networks,
}

/// The buckets one connection takes from.
#[derive(Debug)]
pub struct Share {
    /// Whose limit, what it lets through, its bucket; only those that exist.
    buckets: Vec<(RateScope, Quota, Arc<Bucket>)>,
}

/// How much of a run of requests may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Allowed,
    /// The first `allowed` requests; the others may be tried again.
    Limited {
        /// How many may go on.
        allowed: u32,
        /// When to try the others again; at least 1.
        retry_after_ms: u32,
        /// Whose limit it was.
        scope: RateScope,
    },
}

impl Quotas {
    /// Buckets that are full.
    #[must_use]
    pub fn new(config: QuotaConfig) -> Self {
        Self {
            config,
            global: Arc::default(),
            clients: Mutex::default(),
            networks: Networks::new(NETWORKS_MAX),
        }
    }

    /// The buckets of a session. `now` is the time since any fixed moment, the same for all calls.
    #[must_use]
    pub fn share(&self, identity: &Identity, address: IpAddr, now: Duration) -> Share {
        let mut buckets = Vec::new();
        if let Some(quota) = self.config.per_client {
            let mut clients = self.clients.lock();
            // Identities come from the configuration or from verified certificates, and go when
            // their last connection does and their bucket is full.
            let now = nanos(now);
            clients.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
            let bucket = Arc::clone(clients.entry(identity.clone()).or_default());
            buckets.push((RateScope::Client, quota, bucket));
        }
        if let Some(quota) = self.config.per_ip {
            buckets.push((
                RateScope::Ip,
                quota,
                self.networks.bucket(address, nanos(now)),
            ));
        }
        if let Some(quota) = self.config.global {
            buckets.push((RateScope::Global, quota, Arc::clone(&self.global)));
        }
        Share { buckets }
    }
}

impl Share {
    /// Whether no limit applies, so that nothing needs to be taken.
    #[inline]
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Takes a token for each of `wanted` requests that arrived together. Without limits this is one
    /// compare.
    #[inline]
    #[must_use]
    pub fn take(&self, now: Duration, wanted: u32) -> Verdict {
        if self.buckets.is_empty() {
            Verdict::Allowed
        } else {
            self.take_from_all(now, wanted)
        }
    }

    fn take_from_all(&self, now: Duration, wanted: u32) -> Verdict {
        let now = nanos(now);
        let mut verdict = Verdict::Allowed;
        let mut allowed = wanted;
        for (index, (scope, quota, bucket)) in self.buckets.iter().enumerate() {
            let (granted, wait) = bucket.take(*quota, now, allowed);
            if granted == allowed {
                continue;
            }
            for (_, quota, bucket) in self.buckets.iter().take(index) {
                bucket.give_back(*quota, allowed - granted);
            }
            allowed = granted;
            let retry_after_ms = u32::try_from(wait.div_ceil(1_000_000))
                .unwrap_or(u32::MAX)
                .max(1);
            verdict = Verdict::Limited {
                allowed,
                retry_after_ms,
                scope: *scope,
            };
        }
        verdict
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn quota(events: u32, burst: u32) -> Option<Quota> {
        let number = |n| NonZeroU32::new(n).unwrap();
        Some(Quota::new(
            number(events),
            Duration::from_secs(1),
            number(burst),
        ))
    }

    fn identity(name: &str) -> Identity {
        Identity::new(name).unwrap()
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn without_limits_everything_goes() {
        let quotas = Quotas::new(QuotaConfig::default());
        let share = quotas.share(&identity("a"), HERE, Duration::ZERO);
        assert_eq!(share.take(Duration::ZERO, u32::MAX), Verdict::Allowed);
    }

    #[test]
    fn connections_of_one_identity_share_its_bucket() {
        let quotas = Quotas::new(QuotaConfig {
            per_client: quota(1000, 10),
            ..Default::default()
        });
        let now = Duration::ZERO;
        let [one, two, other] =
            ["a", "a", "b"].map(|name| quotas.share(&identity(name), HERE, now));
        assert_eq!(one.take(now, 8), Verdict::Allowed);
        let scope = RateScope::Client;
        let limited = Verdict::Limited {
            allowed: 2,
            retry_after_ms: 1,
            scope,
        };
        assert_eq!(two.take(now, 5), limited);
        assert_eq!(other.take(now, 10), Verdict::Allowed);
        assert_eq!(one.take(Duration::from_millis(3), 3), Verdict::Allowed);
    }

    #[test]
    fn a_refusal_by_one_limit_costs_the_others_nothing() {
        let config = QuotaConfig {
            per_client: quota(1, 100),
            per_ip: None,
            global: quota(1, 10),
        };
        let quotas = Quotas::new(config);
        let now = Duration::from_secs(1);
        let a = quotas.share(&identity("a"), HERE, now);
        let b = quotas.share(&identity("b"), HERE, now);
        assert_eq!(b.take(now, 9), Verdict::Allowed);
        let Verdict::Limited {
            allowed: 1,
            scope: RateScope::Global,
            ..
        } = a.take(now, 100)
        else {
            panic!("the global bucket holds one");
        };
        // 99 of the identity's 100 are still there, though the global bucket gives none.
        let Verdict::Limited {
            allowed: 0,
            retry_after_ms,
            ..
        } = a.take(now, 99)
        else {
            panic!("the global bucket is empty");
        };
        assert_eq!(retry_after_ms, 1000);
        let rest = a.buckets[0].2.take(a.buckets[0].1, 1_000_000_000, 100);
        assert_eq!(rest.0, 99);
    }

    #[test]
    fn idle_identities_are_forgotten() {
        let quotas = Quotas::new(QuotaConfig {
            per_client: quota(10, 1),
            ..Default::default()
        });
        for index in 0..100_u64 {
            let now = Duration::from_secs(index);
            let share = quotas.share(&identity(&format!("id{index}")), HERE, now);
            assert_eq!(share.take(now, 1), Verdict::Allowed);
        }
        assert!(quotas.clients.lock().len() <= 2);
    }

    proptest! {
        #[test]
        fn all_identities_together_stay_below_the_global_limit(
            steps in prop::collection::vec((0_u64..20, 0_usize..4, 1_u32..30), 1..200),
        ) {
            let config =
                QuotaConfig { per_client: quota(100, 20), per_ip: None, global: quota(200, 40) };
            let quotas = Quotas::new(config);
            let shares: Vec<Share> = (0..4)
                .map(|i| quotas.share(&identity(&format!("i{i}")), HERE, Duration::ZERO))
                .collect();
            let mut now = Duration::ZERO;
            let mut sum = 0_u64;
            for (pause, who, wanted) in steps {
                now += Duration::from_millis(pause);
                let allowed = match shares[who].take(now, wanted) {
                    Verdict::Allowed => wanted,
                    Verdict::Limited { allowed, retry_after_ms, .. } => {
                        prop_assert!(allowed < wanted && retry_after_ms >= 1);
                        allowed
                    }
                };
                sum += u64::from(allowed);
                prop_assert!(sum <= 40 + u64::try_from(now.as_millis()).unwrap() / 5 + 1);
            }
        }
    }
}
