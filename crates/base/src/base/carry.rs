//! Batches: how changes get into the base, and how a round ends.
//!
//! A batch is sorted by key before anything else: equal keys meet, look-ups and insertions walk
//! the trees in order. Its entries, the index by expiry and the numbers of keys go in one atomic
//! write of fjall.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fjall::{AbstractTree, Keyspace, OwnedWriteBatch, PersistMode, UserKey, UserValue};

use super::{Base, Writer, can_be_key};
use crate::config::{L0_RUNS_MAX, SEALED_MAX, WRITE_BUFFER_BYTES};
use crate::entry::{Carry, Header, decode_header, encode};
use crate::keys::{IndexKey, STATE, seal};
use crate::state::State;
use crate::{BaseError, VALUE_BYTES_MAX, quiet};

const WRITING: &str = "write to the base";

/// One change, ready for fjall.
struct Change {
    key: UserKey,
    /// `None` removes.
    put: Option<(UserValue, Header)>,
    /// What it replaces, when the caller said so.
    old: Hint,
}

/// What the caller says the base holds under a key.
#[derive(Clone, Copy)]
enum Hint {
    Nothing,
    Known(Old),
    /// An entry that expires, or one that does not.
    Present,
}

impl Base {
    /// Applies one batch: all of it or nothing, not synced. Of changes to one key the last one
    /// holds. The whole batch is held in memory meanwhile: 1,024 items or 4 MiB are a good size.
    /// Blocks while fjall's flushes or compactions are behind.
    ///
    /// # Errors
    /// [`BaseError::KeyLength`] and [`BaseError::ValueTooLong`]: nothing was changed.
    /// [`BaseError::Corrupt`] when an entry to be replaced cannot be read: nothing was changed.
    /// [`BaseError::Io`], [`BaseError::Poisoned`]: the base takes no more writes, and after it is
    /// opened again the batch is there whole or not at all.
    pub fn carry(&self, items: &mut dyn Iterator<Item = Carry<'_>>) -> Result<(), BaseError> {
        let mut writer = self.writer();
        let changes = collect(items, &mut writer.scratch)?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut state = writer.state;
        let mut batch = self.batch(changes.len());
        for change in changes {
            self.add(change, &mut state, &mut batch, &mut writer)?;
        }
        self.commit(&mut writer, batch, state)
    }

    /// Ends a round: everything carried so far becomes durable and belongs to `position`.
    ///
    /// An fdatasync suffices. What the round wrote is in the active journal or in sealed ones;
    /// fjall makes a journal with its final length and fsyncs it and its directory, and fsyncs it
    /// again when it is sealed; where a journal grows, fdatasync covers its length too.
    ///
    /// # Errors
    /// As [`Base::carry`]. The round is not finished then, and [`Base::position`] is the old one.
    pub fn finish_round(&self, position: u64) -> Result<(), BaseError> {
        let mut writer = self.writer();
        let state = State {
            position,
            ..writer.state
        };
        let batch = self.batch(0).durability(Some(PersistMode::SyncData));
        self.commit(&mut writer, batch, state)?;
        self.position.store(position, Ordering::Release);
        Ok(())
    }

    /// Whether the base can still be written: false after an I/O error or a panic in one of
    /// fjall's workers. Reading goes on.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        quiet::fjall(WRITING, || self.db.persist(PersistMode::Buffer)).is_ok()
    }

    pub(super) fn batch(&self, items: usize) -> OwnedWriteBatch {
        // An entry, its index item, the old index item; and the state.
        OwnedWriteBatch::with_capacity(self.db.clone(), 3 * items + 1)
    }

    fn add(
        &self,
        change: Change,
        state: &mut State,
        batch: &mut OwnedWriteBatch,
        writer: &mut Writer,
    ) -> Result<(), BaseError> {
        let Change { key, put, old } = change;
        let old = match old {
            Hint::Known(old) => old,
            Hint::Present if state.expiring == 0 => Old::Lasting,
            Hint::Present | Hint::Nothing => self.old(&key)?,
        };
        let old_index = old.index(&key);
        let new_index = put.as_ref().and_then(|(_, header)| header.index(&key));
        if let Some(index) = old_index.filter(|_| old_index != new_index) {
            batch.remove(&self.exp, index);
        }
        if let (Some(index), true) = (new_index, old_index != new_index) {
            batch.insert(&self.exp, index, seal(&index, &key));
            writer.sweep.seen(index);
        }
        state.count(old != Old::Absent, put.is_some());
        state.count_expiring(old_index.is_some(), new_index.is_some());
        match put {
            Some((value, _)) => batch.insert(&self.kv, key, value),
            None if old == Old::Absent => {}
            None => batch.remove(&self.kv, key),
        }
        Ok(())
    }

    /// What the base holds under `key`. An entry whose own checksum does not hold counts as one
    /// that never expires: it is being replaced.
    fn old(&self, key: &[u8]) -> Result<Old, BaseError> {
        Ok(match self.raw(key)? {
            None => Old::Absent,
            Some(bytes) => match decode_header(key, &bytes) {
                Ok(header) if header.expires_at.is_some() => Old::Expiring(header),
                _ => Old::Lasting,
            },
        })
    }

    /// Writes `batch` with `state` in it; only then are the new numbers true.
    pub(super) fn commit(
        &self,
        writer: &mut Writer,
        mut batch: OwnedWriteBatch,
        mut state: State,
    ) -> Result<(), BaseError> {
        self.make_room()?;
        state.batch += 1;
        state.sequence_floor = self.db.seqno();
        batch.insert(&self.meta, STATE, state.encode());
        quiet::fjall(WRITING, || batch.commit())?;
        writer.state = state;
        self.keys.store(state.keys, Ordering::Relaxed);
        self.expiring.store(state.expiring, Ordering::Relaxed);
        Ok(())
    }

    /// Seals full write buffers, and waits until fjall is ready for one more batch.
    ///
    /// fjall would seal and wait by itself. But sealing has to come behind a sync of the journal,
    /// or a power cut could leave a table that is newer than the journal; and fjall's waits do
    /// not end when its workers have died.
    fn make_room(&self) -> Result<(), BaseError> {
        for tree in [&self.kv, &self.exp, &self.meta] {
            if tree.tree.active_memtable().size() > WRITE_BUFFER_BYTES {
                self.wait(|| tree.sealed_memtable_count() >= SEALED_MAX)?;
                quiet::fjall("seal a write buffer", || {
                    self.db.persist(PersistMode::SyncData)?;
                    tree.rotate_memtable()
                })?;
            }
        }
        self.wait(|| {
            let behind = |tree: &Keyspace| {
                tree.sealed_memtable_count() > SEALED_MAX || tree.tree.l0_run_count() >= L0_RUNS_MAX
            };
            behind(&self.kv) || behind(&self.exp) || behind(&self.meta)
        })
    }

    /// Waits while `behind`, as long as the base is healthy.
    fn wait(&self, behind: impl Fn() -> bool) -> Result<(), BaseError> {
        const PAUSE: Duration = Duration::from_millis(2);
        while quiet::caught(WRITING, || Ok(behind()))? {
            quiet::fjall(WRITING, || self.db.persist(PersistMode::Buffer))?;
            std::thread::park_timeout(PAUSE);
        }
        Ok(())
    }
}

/// What a change replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    Absent,
    Lasting,
    Expiring(Header),
}

impl Old {
    fn index(self, key: &[u8]) -> Option<IndexKey> {
        match self {
            Self::Expiring(header) => header.index(key),
            Self::Absent | Self::Lasting => None,
        }
    }
}

/// The changes in the order of their keys, each key once.
fn collect(
    items: &mut dyn Iterator<Item = Carry<'_>>,
    scratch: &mut Vec<u8>,
) -> Result<Vec<Change>, BaseError> {
    let mut changes = Vec::with_capacity(items.size_hint().0);
    for item in items {
        if !can_be_key(item.key()) {
            return Err(BaseError::KeyLength);
        }
        let (entry, old) = match item {
            Carry::Remove { .. } => (None, Hint::Nothing),
            Carry::Replace { entry, .. } => (Some(entry), Hint::Known(Old::Lasting)),
            Carry::Put { entry, existed, .. } => (
                Some(entry),
                match existed {
                    None => Hint::Nothing,
                    Some(true) => Hint::Present,
                    Some(false) => Hint::Known(Old::Absent),
                },
            ),
        };
        if entry.is_some_and(|entry| entry.value.len() > VALUE_BYTES_MAX) {
            return Err(BaseError::ValueTooLong);
        }
        changes.push(Change {
            key: UserKey::from(item.key()),
            put: entry.map(|entry| (encode(item.key(), &entry, scratch), Header::of(&entry))),
            old,
        });
    }
    if !changes.is_sorted_by(|left, right| left.key < right.key) {
        // Stable: of equal keys the last one stays the last.
        changes.sort_by(|left, right| left.key.cmp(&right.key));
        changes.dedup_by(|later, kept| {
            let equal = later.key == kept.key;
            if equal {
                // What the base held is what the first one says.
                kept.put = later.put.take();
            }
            equal
        });
    }
    Ok(changes)
}
