//! Where writes come into one order: the records that wait for the flusher.
//!
//! One lock. Who holds it decides what is written next; it is taken before the lock of any shard,
//! never after one. The records of one hold end up in one group, whole.

use super::record;
use crate::idempotency::{Windows, encode_outcome};
use crate::table::EntryBox;
use crate::{BatchOutcome, Now, OperationId, Position};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// With more than this waiting for the disk, writes wait, too.
const STAGED_BYTES_MAX: usize = 16 << 20;

/// With this much waiting, the flusher begins without being asked: a few hundred small writes.
const GROUP_BYTES: usize = 32 << 10;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Records that wait, and the counter of positions.
pub(super) struct Stage {
    buffer: Vec<u8>,
    /// The first position in the buffer; what lies in front of it is with the flusher.
    first: u64,
    /// The last position taken.
    last: u64,
    /// The latest time an operation came with.
    time_ms: u64,
    closing: bool,
    flusher_waits: bool,
    sync_wanted: bool,
    /// Answers to named operations.
    pub(super) windows: Windows,
}

impl Stage {
    /// The position of the next write.
    #[inline]
    pub(super) fn take_position(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes all positions up to `position`.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.last = self.last.max(position);
    }

    /// The last position taken.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Records what an entry is now.
    #[inline]
    pub(super) fn put(&mut self, entry: &EntryBox) {
        record::put(&mut self.buffer, entry.key(), &entry.entry());
    }

    /// Records that a key has no entry any more.
    pub(super) fn delete(&mut self, key: &[u8], version: u64) {
        record::delete(&mut self.buffer, key, version);
    }

    /// Records how a named operation was answered, at a position of its own, which it returns.
    pub(super) fn answered(&mut self, now: Now, id: OperationId, outcome: &BatchOutcome) -> u64 {
        let position = self.take_position();
        self.at(now.unix_ms());
        let mut bytes = Vec::new();
        encode_outcome(outcome, &mut bytes);
        record::result(&mut self.buffer, id, position, now.unix_ms(), &bytes);
        let after = Position::of_version(position);
        self.windows.record_encoded(now, id, &bytes, after);
        position
    }

    /// Notes the time of what is recorded.
    #[inline]
    pub(super) fn at(&mut self, time_ms: u64) {
        self.time_ms = self.time_ms.max(time_ms);
    }

    /// Whether so much waits that nothing further should.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.buffer.len() >= STAGED_BYTES_MAX
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }
}

/// What the flusher takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) time_ms: u64,
    /// Somebody waits for the log to be synced, whatever was promised.
    pub(super) sync_wanted: bool,
}

/// The stage behind its lock.
pub(super) struct Staging {
    stage: Mutex<Stage>,
    work: Condvar,
    room: Condvar,
}

impl Staging {
    /// Behind `last`, which was the last position there is.
    pub(super) fn new(last: u64, time_ms: u64, windows: Windows) -> Self {
        Self {
            stage: Mutex::new(Stage {
                buffer: Vec::new(),
                first: last + 1,
                last,
                time_ms,
                closing: false,
                flusher_waits: false,
                sync_wanted: false,
                windows,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock()
    }

    /// Gives the stage back. The flusher is woken when much waits; what is less waits for
    /// [`Staging::flush`], so that what is executed together becomes durable together.
    #[inline]
    pub(super) fn unlock(&self, stage: MutexGuard<'_, Stage>) {
        if stage.buffer.len() >= GROUP_BYTES {
            self.wake_flusher(stage);
        }
    }

    /// Wakes the flusher if there is something for it.
    pub(super) fn flush(&self) {
        self.wake_flusher(self.stage.lock());
    }

    fn wake_flusher(&self, mut stage: MutexGuard<'_, Stage>) {
        let wake = stage.flusher_waits && !stage.buffer.is_empty();
        stage.flusher_waits &= !wake;
        drop(stage);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes the stage once there is room in it, or it closes.
    pub(super) fn lock_with_room(&self) -> MutexGuard<'_, Stage> {
        let mut stage = self.stage.lock();
        while stage.is_crowded() && !stage.closing {
            self.room.wait(&mut stage);
        }
        stage
    }

    /// Nothing comes after what is there; the flusher ends when it has that.
    pub(super) fn close(&self) {
        self.stage.lock().closing = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// For the flusher: waits a while. Whether it is closed.
    pub(super) fn pause(&self, time: std::time::Duration) -> bool {
        let mut stage = self.stage.lock();
        if !stage.closing {
            self.work.wait_for(&mut stage, time);
        }
        stage.closing
    }

    /// Has the flusher sync what it appended.
    pub(super) fn want_sync(&self) {
        self.stage.lock().sync_wanted = true;
        self.work.notify_one();
    }

    /// For the flusher: waits for records until `until`, and exchanges them for the empty `buffer`.
    /// `Ok(None)` when the time came or a sync is wanted, `Err` when it is closed and empty.
    pub(super) fn take(
        &self,
        buffer: &mut Vec<u8>,
        until: Option<std::time::Instant>,
    ) -> Result<Option<Taken>, Closed> {
        buffer.clear();
        if buffer.capacity() > KEPT_BYTES_MAX {
            *buffer = Vec::new();
        }
        let mut stage = self.stage.lock();
        while stage.buffer.is_empty() {
            if stage.closing {
                return Err(Closed);
            }
            if std::mem::take(&mut stage.sync_wanted) {
                return Ok(None);
            }
            stage.flusher_waits = true;
            let timed_out = match until {
                Some(until) => self.work.wait_until(&mut stage, until).timed_out(),
                None => {
                    self.work.wait(&mut stage);
                    false
                }
            };
            if timed_out && stage.buffer.is_empty() {
                return Ok(None);
            }
        }
        stage.flusher_waits = false;
        std::mem::swap(&mut stage.buffer, buffer);
        let taken = Taken {
            first: stage.first,
            last: stage.last,
            time_ms: stage.time_ms,
            sync_wanted: std::mem::take(&mut stage.sync_wanted),
        };
        stage.first = stage.last + 1;
        drop(stage);
        self.room.notify_all();
        Ok(Some(taken))
    }
}

/// Nothing will come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_taken_once_with_its_positions() {
        let staging = Staging::new(10, 5, Windows::new(0));
        let mut stage = staging.lock();
        assert_eq!(stage.take_position(), 11);
        stage.delete(b"a", 11);
        assert_eq!(stage.take_position(), 12);
        stage.delete(b"b", 12);
        stage.at(99);
        staging.unlock(stage);
        let mut buffer = Vec::new();
        let taken = staging.take(&mut buffer, None).unwrap().unwrap();
        assert_eq!(
            taken,
            Taken {
                first: 11,
                last: 12,
                time_ms: 99,
                sync_wanted: false,
            }
        );
        assert_eq!(record::records(&buffer).count(), 2);
        let now = std::time::Instant::now();
        assert_eq!(staging.take(&mut buffer, Some(now)), Ok(None));
        // A sync that is wanted is not forgotten over records that wait.
        staging.want_sync();
        let mut stage = staging.lock();
        let position = stage.take_position();
        stage.delete(b"c", position);
        staging.unlock(stage);
        let taken = staging.take(&mut buffer, None).unwrap().unwrap();
        assert!(taken.sync_wanted);
        staging.want_sync();
        assert_eq!(staging.take(&mut buffer, None), Ok(None));
        staging.close();
        assert_eq!(staging.take(&mut buffer, None), Err(Closed));
    }

    #[test]
    fn a_crowded_stage_has_room_again_when_it_was_taken() {
        let staging = Staging::new(0, 0, Windows::new(0));
        let mut stage = staging.lock();
        while !stage.is_crowded() {
            let position = stage.take_position();
            stage.delete(&[0; 60_000], position);
        }
        staging.unlock(stage);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| staging.lock_with_room().is_crowded());
            let mut buffer = Vec::new();
            assert!(staging.take(&mut buffer, None).unwrap().is_some());
            assert!(!waits.join().unwrap());
        });
    }
}
