//! What the threads of a disk engine share, and the way a run of operations takes through it.

use super::config::{DiskConfig, Durability};
use super::counters::Counters;
use super::keeper::Bell;
use super::progress::Progress;
use super::queue::Queue;
use super::rounds::Rounds;
use super::shard::{Call, Common, Shard};
use super::stage::{Stage, Staging};
use super::state::Sentinel;
use crate::table::{Ahead, legal_key, shard_of};
use crate::time::HighWater;
use crate::{Now, Op, Outcome, Position, Sink, StoreError};
use kv_base::Base;
use kv_log::Caretaker;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest value, in bytes: what the base takes.
pub(super) const VALUE_BYTES_MAX: usize = kv_base::VALUE_BYTES_MAX;

/// Two cache lines of its own for each shard: neighbours are fetched in pairs.
#[repr(align(128))]
pub(super) struct Lock(Mutex<Shard>);

impl Lock {
    pub(super) fn new(shard: Shard) -> Self {
        Self(Mutex::new(shard))
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock()
    }
}

/// An open disk engine.
///
/// Locks are taken in this order: the stage, then shards by ascending number. Nobody who holds a
/// shard asks the base.
pub(super) struct Store {
    pub(super) durability: Durability,
    pub(super) limits: Limits,
    pub(super) clock: HighWater,
    pub(super) common: Common,
    pub(super) shards: Box<[Lock]>,
    pub(super) staging: Staging,
    pub(super) progress: Progress,
    pub(super) base: Base,
    pub(super) caretaker: Caretaker,
    pub(super) sentinel: Sentinel,
    /// What needs the base and writes nothing.
    pub(super) reads: Queue,
    pub(super) writes: Queue,
    pub(super) rounds: Rounds,
    pub(super) bell: Bell,
    pub(super) counters: Counters,
    /// Held while entries are in the base and still dirty: nobody counts them then.
    pub(super) handing_over: Mutex<()>,
    pub(super) cursor: Mutex<super::sweep::Cursor>,
    /// Whether every shard has the index of its dirty keys.
    pub(super) indexed: AtomicBool,
}

/// Bounds from the configuration.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) dir: std::path::PathBuf,
    pub(super) log_bytes: u64,
    pub(super) dirty_bytes: u64,
    pub(super) min_free_bytes: u64,
}

impl Limits {
    pub(super) fn of(config: &DiskConfig) -> Self {
        Self {
            dir: config.dir.clone(),
            log_bytes: config.log_bytes,
            dirty_bytes: config.cache_bytes / 2,
            min_free_bytes: config.min_free_bytes,
        }
    }
}

impl Store {
    /// Executes what can be executed at once, in order; `patient` operations have waited already.
    pub(super) fn run(
        &self,
        now: Now,
        ops: &[Op<'_>],
        sink: &mut dyn Sink,
        patient: bool,
    ) -> usize {
        let mut stage: Option<MutexGuard<'_, Stage>> = None;
        let executed = self.ahead().each(ops, |index, op, hash| {
            if !is_legal(op) {
                sink.outcome(index, Outcome::Failed(illegal(op)), Position::START);
                return true;
            }
            if op.is_write() {
                let stage = stage.get_or_insert_with(|| {
                    if patient {
                        self.staging.lock_with_room()
                    } else {
                        self.staging.lock()
                    }
                });
                if self.takes_no_writes(stage) {
                    let outcome = Outcome::Failed(StoreError::Unavailable);
                    sink.outcome(index, outcome, Position::START);
                    return true;
                }
                if stage.is_crowded() && !patient {
                    return false;
                }
            }
            let call = self.call(hash, self.now_for(now, patient), patient);
            match self.shards.get(call.shard) {
                Some(locked) => {
                    let mut shard = locked.lock();
                    shard.execute(call, op, stage.as_deref_mut(), index, sink)
                }
                None => false,
            }
        });
        if let Some(stage) = stage {
            self.staging.unlock(stage);
        }
        executed
    }

    /// Whether no write is taken any more.
    pub(super) fn takes_no_writes(&self, stage: &Stage) -> bool {
        stage.is_closing() || self.progress.has_failed()
    }

    pub(super) fn ahead(&self) -> Ahead<'_> {
        Ahead {
            seed: self.common.seed,
            directory: &self.common.directory,
        }
    }

    #[inline]
    pub(super) fn call(&self, hash: u64, now: Now, patient: bool) -> Call<'_> {
        Call {
            common: &self.common,
            shard: shard_of(hash),
            hash,
            now,
            patient,
        }
    }

    /// The time for an operation that came at `now`. One that had to wait is executed at the time
    /// of its execution: what has been seen to expire meanwhile must not come back.
    #[inline]
    pub(super) fn now_for(&self, now: Now, patient: bool) -> Now {
        if patient {
            self.clock.advance(now)
        } else {
            now
        }
    }

    /// The call for a key.
    pub(super) fn call_for(&self, key: &[u8], now: Now, patient: bool) -> Call<'_> {
        self.call(self.common.seed.hash(key), now, patient)
    }

    /// Has `change` done to the shard that keeps `call`'s hash.
    pub(super) fn with_shard<R>(
        &self,
        call: Call<'_>,
        change: impl FnOnce(&mut Shard) -> R,
    ) -> Option<R> {
        let locked = self.shards.get(call.shard)?;
        Some(change(&mut locked.lock()))
    }

    /// What the dirty entries of all shards amount to.
    pub(super) fn dirt(&self) -> super::dirt::Dirt {
        let mut sum = super::dirt::Dirt::default();
        for locked in &self.shards {
            sum += locked.lock().dirt;
        }
        sum
    }

    /// Has the log on the disk up to `position`, which was appended. Whether it is.
    pub(super) fn sync_log(&self, position: u64) -> bool {
        if self.durability != Durability::Always {
            self.staging.want_sync();
        }
        self.progress.wait_synced(position)
    }

    /// Whether the table holds more than it may, or nearly.
    pub(super) fn is_crowded(&self) -> bool {
        self.common.budget.used() > self.common.limit_bytes
    }

    /// Sets whether writes that need room are refused.
    pub(super) fn set_full(&self, full: bool) {
        self.progress.set_full(full);
        self.common.full.store(full, Ordering::Relaxed);
    }
}

/// Whether key and value have lengths that the engine takes.
#[inline]
pub(super) fn is_legal(op: &Op<'_>) -> bool {
    let fits = match op {
        Op::Set { value, .. } => value.len() <= VALUE_BYTES_MAX,
        _ => true,
    };
    fits && legal_key(op.key())
}

/// Why an operation is not legal.
pub(super) fn illegal(op: &Op<'_>) -> StoreError {
    if legal_key(op.key()) {
        StoreError::ValueTooLong
    } else {
        StoreError::KeyLength
    }
}
