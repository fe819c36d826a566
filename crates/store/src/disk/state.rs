//! Keeps the side file that says what the store must have: how far the base reaches, how far the
//! log was durable, and how late the clock was.

use kv_log::{State, StateFile};
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The side file, and what is written to it next.
pub(super) struct Sentinel {
    file: StateFile,
    written: Mutex<State>,
    synced: AtomicU64,
}

impl Sentinel {
    /// `written` is what the file says.
    pub(super) fn new(file: StateFile, written: State) -> Self {
        Self {
            file,
            synced: AtomicU64::new(written.acknowledged),
            written: Mutex::new(written),
        }
    }

    /// Everything up to `position` is durable in the log.
    pub(super) fn synced(&self, position: u64) {
        // Relaxed: a number by itself; what it speaks of was made durable before by a sync.
        self.synced.fetch_max(position, Ordering::Relaxed);
    }

    /// Up to here the log is on the disk, whatever was promised.
    pub(super) fn through(&self) -> u64 {
        self.synced.load(Ordering::Relaxed)
    }

    /// Writes the file if it would say something new.
    pub(super) fn write(&self, clock_ms: u64) -> io::Result<()> {
        self.update(clock_ms, |_| {})
    }

    /// Everything up to `position` is durable in the base.
    pub(super) fn carried(&self, position: u64, clock_ms: u64) -> io::Result<()> {
        self.update(clock_ms, |state| state.carried = position)
    }

    /// The last write of all: the store was closed.
    pub(super) fn close(&self, clock_ms: u64) -> io::Result<()> {
        self.update(clock_ms, |state| state.clean = true)
    }

    fn update(&self, clock_ms: u64, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut written = self.written.lock();
        let mut state = *written;
        state.clean = false;
        state.acknowledged = state.acknowledged.max(self.synced.load(Ordering::Relaxed));
        state.clock_ms = state.clock_ms.max(clock_ms);
        change(&mut state);
        if state == *written {
            return Ok(());
        }
        self.file.store(&state)?;
        *written = state;
        Ok(())
    }
}
