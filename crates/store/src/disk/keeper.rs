//! The thread that looks after the files once a second: the sentinel, a spare segment, free space.

use super::counters::read;
use super::store::Store;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Says when to end, and when to look at once.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<Rung>,
    rings: Condvar,
}

#[derive(Default)]
struct Rung {
    end: bool,
    look: bool,
}

impl Bell {
    /// The keeper ends.
    pub(super) fn end(&self) {
        self.rung.lock().end = true;
        self.rings.notify_all();
    }

    /// The keeper looks now: the log has no spare segment.
    pub(super) fn look(&self) {
        self.rung.lock().look = true;
        self.rings.notify_all();
    }

    /// Waits for the bell, one period at most. Whether it is the end.
    fn wait(&self) -> bool {
        let mut rung = self.rung.lock();
        if !rung.end && !rung.look {
            self.rings.wait_for(&mut rung, PERIOD);
        }
        rung.look = false;
        rung.end
    }
}

/// Runs until the bell rings.
pub(super) fn run(store: &Store) {
    let mut expired = 0;
    loop {
        if let Err(error) = store.caretaker.prepare() {
            let what = format_args!("preparing a segment of the log: {error}");
            store.counters.trouble(what);
        }
        if store.bell.wait() {
            return;
        }
        store.watch_space();
        // The clock matters to those who saw something expire; otherwise an idle store writes
        // nothing.
        let now_expired = store.expired_or_shown();
        let clock = if now_expired == expired {
            0
        } else {
            store.clock.latest().unix_ms()
        };
        expired = now_expired;
        if !store.progress.has_failed()
            && let Err(error) = store.sentinel.write(clock)
        {
            store
                .counters
                .trouble(format_args!("writing the state file: {error}"));
        }
    }
}

impl Store {
    /// Looks how much is free on the file system, and refuses or takes writes accordingly.
    pub(super) fn watch_space(&self) {
        let stat = match rustix::fs::statvfs(&self.limits.dir) {
            Ok(stat) => stat,
            Err(error) => {
                let what = format_args!("asking for free space: {error}");
                return self.counters.trouble(what);
            }
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        self.counters
            .free_bytes
            .store(free, std::sync::atomic::Ordering::Relaxed);
        let low = self.limits.min_free_bytes;
        if free < low {
            self.set_full(true);
        } else if free >= low + low / 8 {
            self.set_full(false);
        }
    }

    /// Entries that were removed because they had expired, and look-ups that were told so.
    fn expired_or_shown(&self) -> u64 {
        let count = |shard: &super::store::Lock| {
            let shard = shard.lock();
            shard.expired + shard.shown_expired
        };
        let shards: u64 = self.shards.iter().map(count).sum();
        shards + read(&self.counters.expired)
    }
}
