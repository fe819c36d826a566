//! Waits until what an outcome depends on is durable, woken by the engine.

use crate::{Engine, Position};
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, OnceLock};

/// Registers with the engine when there is something to wait for, once.
#[derive(Default)]
pub(super) struct Waiter(OnceLock<Arc<Bell>>);

#[derive(Default)]
struct Bell {
    lock: Mutex<()>,
    rung: Condvar,
}

impl Waiter {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Returns once everything up to `after` is durable. Does not when the engine neither becomes
    /// durable nor wakes nor says that it has failed.
    ///
    /// # Panics
    ///
    /// When it has failed.
    #[track_caller]
    pub(super) fn wait(&self, engine: &dyn Engine, after: Position) {
        engine.flush();
        if is_durable(engine, after) {
            return;
        }
        let bell = self.0.get_or_init(|| {
            let bell = Arc::new(Bell::default());
            let ringer = Arc::clone(&bell);
            engine.on_durable(Arc::new(move || {
                // Under the lock, so that it is not between a look and the wait for this.
                let _guard = ringer.lock.lock();
                ringer.rung.notify_all();
            }));
            bell
        });
        let mut guard = bell.lock.lock();
        while !is_durable(engine, after) {
            bell.rung.wait(&mut guard);
        }
    }
}

#[track_caller]
fn is_durable(engine: &dyn Engine, after: Position) -> bool {
    let durable = engine.durable();
    let reached = durable.through >= after;
    assert!(
        reached || !durable.failed,
        "what was answered never becomes durable: {durable:?}, {after:?} is wanted"
    );
    reached
}
