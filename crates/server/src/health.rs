//! Whether the process lives and whether it is ready for clients.
//!
//! Owns the state behind `/livez` and `/readyz`; the bootstrap and the drain tell it what happens, the
//! store and the account of memory are asked. Invariant: once draining, never ready again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_service::{Accountant, Health as StoreHealth, Pressure};

/// Says how the store is.
pub(crate) type AskStore = Box<dyn Fn() -> StoreHealth + Send + Sync>;

/// The state of one server. Share it in an `Arc`.
pub(crate) struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    accountant: Arc<Accountant>,
    store: AskStore,
}

/// What follows from all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Send clients here.
    Ready,
    /// Everything works, but worse than it should: send clients elsewhere while there is an elsewhere.
    Degraded,
    /// Send nobody here.
    NotReady,
}

impl Readiness {
    /// What follows from these checks.
    #[must_use]
    pub(crate) fn of(checks: &[Check]) -> Self {
        let mut failed = checks.iter().filter(|check| !check.ok).peekable();
        if failed.peek().is_none() {
            Self::Ready
        } else if failed.all(|check| check.name == PROMPT) {
            Self::Degraded
        } else {
            Self::NotReady
        }
    }

    /// The word in the answer.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ok",
            Self::Degraded => "degraded",
            Self::NotReady => "not ready",
        }
    }
}

/// The check that fails alone when the store is slow and nothing else is wrong.
const PROMPT: &str = "storage_prompt";

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
    pub(crate) const fn new(accountant: Arc<Accountant>, store: AskStore) -> Self {
        Self {
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            accountant,
            store,
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

    /// Whether the server is going away.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Everything that must hold for clients to be sent here.
    #[must_use]
    pub(crate) fn checks(&self) -> [Check; 5] {
        let check = |name, ok, good, bad| Check {
            name,
            ok,
            detail: if ok { good } else { bad },
        };
        let memory = self.accountant.pressure() < Pressure::RefuseWrites;
        let store = (self.store)();
        let refuses = match store {
            StoreHealth::Full(why) | StoreHealth::Failed(why) => Some(why),
            StoreHealth::Good | StoreHealth::Degraded(_) => None,
        };
        let slow = match store {
            StoreHealth::Degraded(why) => Some(why),
            StoreHealth::Good | StoreHealth::Full(_) | StoreHealth::Failed(_) => None,
        };
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
                refuses.is_none(),
                "the store takes writes",
                refuses.unwrap_or_default(),
            ),
            check(
                PROMPT,
                slow.is_none(),
                "the store answers in time",
                slow.unwrap_or_default(),
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
    use parking_lot::Mutex;

    impl Health {
        fn readiness(&self) -> Readiness {
            Readiness::of(&self.checks())
        }
    }

    fn health() -> (Arc<Accountant>, Arc<Mutex<StoreHealth>>, Health) {
        let accountant = Arc::new(Accountant::new(1000, Thresholds::default()));
        let store = Arc::new(Mutex::new(StoreHealth::Good));
        let asked = Arc::clone(&store);
        let health = Health::new(Arc::clone(&accountant), Box::new(move || *asked.lock()));
        (accountant, store, health)
    }

    #[test]
    fn a_server_is_ready_from_its_start_to_its_drain() {
        let (_, store, health) = health();
        assert_eq!(health.readiness(), Readiness::NotReady);
        health.set_started();
        assert_eq!(health.readiness(), Readiness::Ready);
        health.set_draining();
        assert!(health.readiness() == Readiness::NotReady && health.is_draining());
        *store.lock() = StoreHealth::Degraded("slow");
        assert_eq!(health.readiness(), Readiness::NotReady);
    }

    #[test]
    fn a_server_without_memory_is_not_ready() {
        let (accountant, _, health) = health();
        health.set_started();
        accountant.set_stored(899);
        assert_eq!(health.readiness(), Readiness::Ready);
        accountant.set_stored(900);
        assert_eq!(health.readiness(), Readiness::NotReady);
    }

    #[test]
    fn how_the_store_is_is_how_the_server_is() {
        let (_, store, health) = health();
        health.set_started();
        for (state, name, readiness) in [
            (StoreHealth::Degraded("why"), PROMPT, Readiness::Degraded),
            (
                StoreHealth::Full("why"),
                "storage_writable",
                Readiness::NotReady,
            ),
            (
                StoreHealth::Failed("why"),
                "storage_writable",
                Readiness::NotReady,
            ),
        ] {
            *store.lock() = state;
            let failed: Vec<_> = health.checks().into_iter().filter(|c| !c.ok).collect();
            let expected = Check {
                name,
                ok: false,
                detail: "why",
            };
            assert_eq!(failed, [expected]);
            assert_eq!(health.readiness(), readiness);
        }
        *store.lock() = StoreHealth::Good;
        assert_eq!(
            health.readiness(),
            Readiness::Ready,
            "it comes back by itself"
        );
    }
}
