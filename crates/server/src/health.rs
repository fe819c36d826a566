//! Whether the process lives and whether it is ready for clients.
//!
//! Owns the state behind `/livez` and `/readyz`; the bootstrap, the drain and the store tell it what
//! happens. Invariant: once draining, never ready again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_service::{Accountant, Pressure};

/// The state of one server. Share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    writable: AtomicBool,
    accountant: Arc<Accountant>,
}

/// One thing that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Its name in `?verbose`.
    pub(crate) name: &'static str,
    /// Whether it holds.
    pub(crate) ok: bool,
    /// What holds, or what does not.
    pub(crate) detail: &'static str,
}

impl Health {
    /// Of a server that has not started yet.
    #[must_use]
    pub(crate) const fn new(accountant: Arc<Accountant>) -> Self {
        Self {
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            writable: AtomicBool::new(true),
            accountant,
        }
    }

    /// Listeners are open and the store is recovered.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The server is going away.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The store takes writes, or does not.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the memory engine always takes writes; durable ones will not"
        )
    )]
    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }

    /// Whether the server is going away.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Everything that must hold for clients to be sent here.
    #[must_use]
    pub(crate) fn checks(&self) -> [Check; 4] {
        let check = |name, ok, good, bad| Check {
            name,
            ok,
            detail: if ok { good } else { bad },
        };
        let memory = self.accountant.pressure() < Pressure::RefuseWrites;
        [
            check(
                "recovery",
                self.started.load(Ordering::Acquire),
                "the store is open",
                "the store is not open yet",
            ),
            check(
                "not_draining",
                !self.is_draining(),
                "connections are accepted",
                "the server is going away",
            ),
            check(
                "storage_writable",
                self.writable.load(Ordering::Acquire),
                "the store takes writes",
                "the store refuses writes",
            ),
            check(
                "memory",
                memory,
                "there is room",
                "memory is short, writes are refused",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_service::Thresholds;

    impl Health {
        fn is_ready(&self) -> bool {
            self.checks().iter().all(|check| check.ok)
        }
    }

    fn health() -> (Arc<Accountant>, Health) {
        let accountant = Arc::new(Accountant::new(1000, Thresholds::default()));
        (Arc::clone(&accountant), Health::new(accountant))
    }

    #[test]
    fn a_server_is_ready_from_its_start_to_its_drain() {
        let (_, health) = health();
        assert!(!health.is_ready());
        health.set_started();
        assert!(health.is_ready());
        health.set_draining();
        assert!(!health.is_ready() && health.is_draining());
    }

    #[test]
    fn a_server_that_refuses_writes_is_not_ready() {
        let (accountant, health) = health();
        health.set_started();
        accountant.set_stored(899);
        assert!(health.is_ready());
        accountant.set_stored(900);
        assert!(!health.is_ready());
        accountant.set_stored(0);
        health.set_writable(false);
        let failed: Vec<_> = health
            .checks()
            .into_iter()
            .filter(|check| !check.ok)
            .collect();
        assert!(matches!(
            failed.as_slice(),
            [Check {
                name: "storage_writable",
                ..
            }]
        ));
    }
}
