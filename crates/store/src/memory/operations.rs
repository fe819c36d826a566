//! Operations that clients named: each is applied once, whoever repeats it and when.
//!
//! A repeat waits for the first, under the lock of its client's windows. Whoever holds that may
//! lock shards, never the other way round.

use crate::idempotency::{Verdict, WINDOWS_BYTES_DEFAULT, Windows, is_final};
use crate::{BatchOutcome, Now, OperationId, Position, StoreError};
use parking_lot::Mutex;

/// Clients that share a lock; enough for a few dozen threads.
const STRIPES: usize = 8;

/// The windows of all clients.
pub(super) struct Operations {
    stripes: Box<[Mutex<Windows>]>,
}

impl Operations {
    pub(super) fn new() -> Self {
        let windows = || Mutex::new(Windows::new(WINDOWS_BYTES_DEFAULT / STRIPES));
        Self {
            stripes: (0..STRIPES).map(|_| windows()).collect(),
        }
    }

    /// What `apply` returns, the first time it is called for this operation.
    pub(super) fn once(
        &self,
        now: Now,
        id: OperationId,
        apply: impl FnOnce() -> BatchOutcome,
    ) -> BatchOutcome {
        let sum = id
            .client
            .iter()
            .fold(0, |sum, byte| sum ^ usize::from(*byte));
        let Some(windows) = self.stripes.get(sum % STRIPES) else {
            return BatchOutcome::Failed(StoreError::Unavailable);
        };
        let mut windows = windows.lock();
        match windows.check(now, id) {
            Verdict::New => {}
            Verdict::Repeat(stored, _) => {
                return stored.outcome().unwrap_or_else(BatchOutcome::Failed);
            }
            Verdict::Expired => return BatchOutcome::Failed(StoreError::OperationExpired),
        }
        let outcome = apply();
        if is_final(&outcome) {
            windows.record(now, id, &outcome, Position::START);
        }
        outcome
    }
}
