//! The thread that owns the log: what is staged becomes one group, one write, one sync.
//!
//! While a group is on its way to the disk the next one gathers on the stage: the slower the
//! disk, the larger the groups. No timer is involved.

use super::config::Durability;
use super::counters::add;
use super::stage::Taken;
use super::store::Store;
use kv_log::{Group, Log};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How long the flusher waits before it tries a full disk again.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Dirty bytes are summed up each time this share of what may be dirty was appended.
const CHECKS_PER_LIMIT: u64 = 16;

/// What the flusher keeps between groups.
struct Flusher<'s> {
    store: &'s Store,
    log: Log,
    /// When appended groups have to be synced, if that is not at once.
    sync_at: Option<Instant>,
    /// Appended since dirty bytes were summed up.
    unchecked_bytes: u64,
    /// Segments of the log when the keeper was told last.
    segments: usize,
}

/// Runs until the stage is closed and empty, or the disk fails. Everything appended is synced then.
pub(super) fn run(store: &Store, log: Log) {
    let mut flusher = Flusher {
        store,
        log,
        sync_at: None,
        unchecked_bytes: 0,
        segments: 0,
    };
    if let Err(error) = flusher.run() {
        store
            .counters
            .trouble(format_args!("writing the log: {error}"));
        let why = match error.kind() {
            ErrorKind::StorageFull => "the disk is full",
            _ => "a write or sync of the log failed",
        };
        store.progress.fail(why);
    }
}

impl Flusher<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            match self.store.staging.take(&mut buffer, self.sync_at) {
                Ok(Some(taken)) => self.commit(&buffer, taken)?,
                Ok(None) => self.sync()?,
                Err(super::stage::Closed) => return self.sync(),
            }
            if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                self.sync()?;
            }
        }
    }

    /// Appends one group, and makes it as durable as was promised.
    fn commit(&mut self, payload: &[u8], taken: Taken) -> io::Result<()> {
        self.append(payload, taken)?;
        let counters = &self.store.counters;
        add(&counters.groups, 1);
        add(&counters.appended_bytes, payload.len() as u64);
        match self.store.durability {
            Durability::Always => self.sync()?,
            Durability::Interval(interval) => {
                self.sync_at
                    .get_or_insert_with(|| Instant::now() + interval);
            }
            Durability::Os => {}
        }
        if taken.sync_wanted && self.store.durability != Durability::Always {
            self.sync()?;
        }
        self.store.progress.raise(taken.last);
        self.look_after(payload.len() as u64);
        Ok(())
    }

    /// A full disk is waited for: nothing is lost meanwhile, and nothing is acknowledged.
    fn append(&mut self, payload: &[u8], taken: Taken) -> io::Result<()> {
        let group = Group {
            first: taken.first,
            last: taken.last,
            time_ms: taken.time_ms,
            payload,
        };
        loop {
            match self.log.append(group) {
                Err(error) if is_full(&error) => {
                    let what = format_args!("appending to the log: {error}");
                    self.store.counters.trouble(what);
                    self.store.set_full(true);
                    self.store.rounds.ask();
                    if self.store.staging.pause(FULL_PAUSE) {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_at = None;
        let began = self.store.progress.syncing();
        let synced = self.log.sync();
        let took = self.store.progress.synced(began);
        synced?;
        self.store.counters.synced(took);
        self.store.sentinel.synced(self.log.durable());
        self.store.progress.raise_synced(self.log.durable());
        Ok(())
    }

    /// Has dirty entries carried when there are many, or much log.
    fn look_after(&mut self, bytes: u64) {
        if self.log.segment_count() != self.segments {
            self.segments = self.log.segment_count();
            self.store.bell.look();
        }
        let limits = &self.store.limits;
        self.unchecked_bytes += bytes;
        if self.unchecked_bytes < limits.dirty_bytes / CHECKS_PER_LIMIT
            && self.log.live_bytes() < limits.log_bytes
        {
            return;
        }
        self.unchecked_bytes = 0;
        self.store.watch_space();
        let dirty = u64::try_from(self.store.dirt().bytes).unwrap_or(0);
        if dirty >= limits.dirty_bytes || self.log.live_bytes() >= limits.log_bytes {
            self.store.rounds.ask();
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}
