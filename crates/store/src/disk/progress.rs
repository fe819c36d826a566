//! How far the log is durable, who waits for it, and how the engine is.
//!
//! Only the flusher raises the mark. A failure is final: what lies behind the mark then will never
//! be durable, and nobody is told otherwise.

use crate::{Durable, Health, Position, Wake};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A sync that takes longer makes the engine degraded, in microseconds.
const SLOW_SYNC_US: u64 = 5_000_000;

/// Told whether what it waited for became durable.
pub(super) type Waiter = Box<dyn FnOnce(bool) + Send>;

/// The mark and those who wait for it.
pub(super) struct Progress {
    began: Instant,
    durable: AtomicU64,
    /// Up to here the log is on the disk, whatever was promised.
    synced: AtomicU64,
    failed: AtomicBool,
    why: Mutex<Option<&'static str>>,
    full: AtomicBool,
    /// When the sync under way began, in microseconds since `began`; 0 when there is none.
    sync_began: AtomicU64,
    wakes: RwLock<Vec<Wake>>,
    waiters: Mutex<BTreeMap<u64, Vec<Waiter>>>,
    changed: Condvar,
}

impl Progress {
    pub(super) fn new(durable: u64) -> Self {
        Self {
            began: Instant::now(),
            durable: AtomicU64::new(durable),
            synced: AtomicU64::new(durable),
            failed: AtomicBool::new(false),
            why: Mutex::default(),
            full: AtomicBool::new(false),
            sync_began: AtomicU64::new(0),
            wakes: RwLock::default(),
            waiters: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    #[inline]
    pub(super) fn durable(&self) -> Durable {
        // The failure is read first: whoever sees it set finds the last mark there ever was.
        // Acquire: whoever sees the mark sees what was done before it was raised.
        let failed = self.failed.load(Ordering::Acquire);
        Durable {
            through: Position::of_version(self.durable.load(Ordering::Acquire)),
            failed,
        }
    }

    #[inline]
    pub(super) fn through(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn on_durable(&self, wake: Wake) {
        self.wakes.write().push(wake);
    }

    /// Everything up to `position` may be shown.
    pub(super) fn raise(&self, position: u64) {
        self.durable.store(position, Ordering::Release);
        self.tell();
    }

    /// The log is on the disk up to `position`.
    pub(super) fn raise_synced(&self, position: u64) {
        self.synced.store(position, Ordering::Release);
        let _waiters = self.waiters.lock();
        self.changed.notify_all();
    }

    /// Waits until the log is on the disk up to `position`. Whether it is.
    pub(super) fn wait_synced(&self, position: u64) -> bool {
        let mut waiters = self.waiters.lock();
        while self.synced.load(Ordering::Acquire) < position && !self.has_failed() {
            self.changed.wait(&mut waiters);
        }
        self.synced.load(Ordering::Acquire) >= position
    }

    /// Nothing behind the mark will ever be durable.
    pub(super) fn fail(&self, why: &'static str) {
        self.why.lock().get_or_insert(why);
        self.failed.store(true, Ordering::Release);
        self.tell();
    }

    fn tell(&self) {
        let (through, failed) = (self.through(), self.has_failed());
        let ready = {
            let mut waiters = self.waiters.lock();
            let mut ready = Vec::new();
            while let Some(first) = waiters.first_entry() {
                if *first.key() > through && !failed {
                    break;
                }
                let ok = *first.key() <= through;
                ready.extend(first.remove().into_iter().map(|waiter| (ok, waiter)));
            }
            self.changed.notify_all();
            ready
        };
        for wake in self.wakes.read().iter() {
            wake();
        }
        for (ok, waiter) in ready {
            waiter(ok);
        }
    }

    /// Calls `waiter` once `position` is durable, or never will be; at once if that is known.
    pub(super) fn when_durable(&self, position: u64, waiter: Waiter) {
        let mut waiters = self.waiters.lock();
        // Looked at under the lock that `tell` takes after it has changed them.
        let (through, failed) = (self.through(), self.has_failed());
        if position > through && !failed {
            waiters.entry(position).or_default().push(waiter);
            return;
        }
        drop(waiters);
        waiter(position <= through);
    }

    /// Waits until `position` is durable. Whether it is.
    pub(super) fn wait_durable(&self, position: u64) -> bool {
        let mut waiters = self.waiters.lock();
        while self.through() < position && !self.has_failed() {
            self.changed.wait(&mut waiters);
        }
        self.through() >= position
    }

    /// Whether writes that need room are refused.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        // Relaxed: a flag by itself.
        self.full.load(Ordering::Relaxed)
    }

    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Notes that a sync begins; [`Progress::synced`] says what it took, in microseconds.
    pub(super) fn syncing(&self) -> u64 {
        let now = self.micros();
        self.sync_began.store(now, Ordering::Relaxed);
        now
    }

    pub(super) fn synced(&self, began: u64) -> u64 {
        self.sync_began.store(0, Ordering::Relaxed);
        self.micros().saturating_sub(began)
    }

    fn micros(&self) -> u64 {
        // Never 0, which says that there is no sync.
        u64::try_from(self.began.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    pub(super) fn health(&self) -> Health {
        if self.has_failed() {
            return Health::Failed(self.why.lock().unwrap_or("the disk failed"));
        }
        if self.is_full() {
            return Health::Full("the file system is almost full");
        }
        match self.sync_began.load(Ordering::Relaxed) {
            0 => Health::Good,
            began if self.micros().saturating_sub(began) > SLOW_SYNC_US => {
                Health::Degraded("the disk has not finished a sync for more than 5 seconds")
            }
            _ => Health::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn waiters_are_told_once_in_order_and_never_too_early() {
        let progress = Progress::new(3);
        let told = Arc::new(Mutex::new(Vec::new()));
        for position in [7, 2, 5, 9] {
            let told = Arc::clone(&told);
            let waiter = Box::new(move |ok| told.lock().push((position, ok)));
            progress.when_durable(position, waiter);
        }
        assert_eq!(*told.lock(), [(2, true)]);
        progress.raise(7);
        assert_eq!(*told.lock(), [(2, true), (5, true), (7, true)]);
        progress.fail("gone");
        assert_eq!(told.lock().last(), Some(&(9, false)));
        assert_eq!(progress.health(), Health::Failed("gone"));
        let late = Arc::clone(&told);
        progress.when_durable(8, Box::new(move |ok| late.lock().push((8, ok))));
        assert_eq!(told.lock().last(), Some(&(8, false)));
        assert!(!progress.wait_durable(8) && progress.wait_durable(7));
    }

    #[test]
    fn each_change_wakes_everybody_who_asked() {
        let progress = Progress::new(0);
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let count = Arc::clone(&count);
            progress.on_durable(Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }));
        }
        progress.raise(1);
        progress.raise(2);
        assert_eq!(count.load(Ordering::Relaxed), 4);
        assert_eq!(
            progress.durable(),
            Durable {
                through: Position::of_version(2),
                failed: false
            }
        );
    }
}
