//! The base: opening it, reading from it, and what it says of itself.
//!
//! Writing is in `carry` and `sweep`, by one thread at a time; reading needs no lock of ours.

mod carry;
mod stats;
mod sweep;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fjall::{AbstractTree, Database, Keyspace};

use crate::config::{kv_options, open_database, small_options};
use crate::entry::decode;
use crate::guard::{self, Guarded, JournalReport};
use crate::keys::{STATE, blob_key, seal};
use crate::state::State;
use crate::{BaseConfig, BaseError, BaseSnapshot, KEY_BYTES_MAX, Stored, VALUE_BYTES_MAX, quiet};

pub use stats::BaseStats;
pub use sweep::Swept;

/// What opening made of the files.
#[derive(Clone, Copy, Debug)]
struct Opened {
    new: bool,
    journals: JournalReport,
}

/// What only the one who writes has.
struct Writer {
    state: State,
    sweep: sweep::Cursor,
    /// Reused for encoding entries.
    scratch: Vec<u8>,
}

/// The ordered store on disk; see the crate.
pub struct Base {
    db: Database,
    kv: Keyspace,
    exp: Keyspace,
    meta: Keyspace,
    writer: Mutex<Writer>,
    position: AtomicU64,
    keys: AtomicU64,
    expiring: AtomicU64,
    opened: Opened,
    /// Holds the lock; given back last.
    _marker: File,
}

impl Base {
    /// Opens the base in `dir`, or makes one when the directory is missing or empty. Only one
    /// thread of one process may be making a base in a place at a time.
    ///
    /// Blocks while fjall replays its journals, at most about 200 MiB.
    ///
    /// # Errors
    /// [`BaseError::Corrupt`], [`BaseError::OtherStore`], [`BaseError::Newer`],
    /// [`BaseError::Locked`] and [`BaseError::Io`]; nothing but a torn end of the last journal
    /// was changed then.
    pub fn open(dir: &Path, config: BaseConfig) -> Result<Self, BaseError> {
        let new = !guard::present(dir)?;
        if new {
            guard::create(dir, &config.store_id, |dir| {
                let doing = "make the base";
                Trees::open(dir, config.cache_bytes)
                    .map(drop)
                    .map_err(|error| BaseError::from_fjall(error, doing))
            })?;
        }
        Self::open_present(dir, &config, new)
    }

    /// Opens the base in `dir`, which must be there.
    pub(crate) fn open_existing(dir: &Path, config: &BaseConfig) -> Result<Self, BaseError> {
        if !guard::present(dir)? {
            return Err(BaseError::Absent);
        }
        Self::open_present(dir, config, false)
    }

    fn open_present(dir: &Path, config: &BaseConfig, new: bool) -> Result<Self, BaseError> {
        let Guarded { marker, journals } = guard::inspect(dir, &config.store_id)?;
        let Trees { db, kv, exp, meta } =
            quiet::fjall("open the base", || Trees::open(dir, config.cache_bytes))?;
        let state = quiet::fjall("read the base's state", || meta.get(STATE))?
            .map(|sealed| State::decode(&sealed).ok_or_else(|| damaged("the state")))
            .transpose()?
            .unwrap_or_default();
        // Every batch writes to `meta`: a table of another tree that is newer than all of it comes
        // from a batch whose journal is gone.
        let newest = meta.tree.get_highest_seqno();
        for tree in [&kv, &exp] {
            if tree.tree.get_highest_persisted_seqno() > newest {
                return Err(damaged("the journal lost batches that tables hold, it"));
            }
        }
        Ok(Self {
            position: AtomicU64::new(state.position),
            keys: AtomicU64::new(state.keys),
            expiring: AtomicU64::new(state.expiring),
            writer: Mutex::new(Writer {
                state,
                sweep: sweep::Cursor::default(),
                scratch: Vec::new(),
            }),
            opened: Opened { new, journals },
            _marker: marker,
            db,
            kv,
            exp,
            meta,
        })
    }

    /// Position of the last finished round, 0 for a new base. After opening it is for the engine
    /// to compare with the one it keeps in another file: a lower one here means that the journal
    /// was cut before the last finished round.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Whether opening made this base.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.opened.new
    }

    /// Number of keys, expired ones included until they are swept.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// How many of the keys have an expiry.
    #[must_use]
    pub fn keys_expiring(&self) -> u64 {
        self.expiring.load(Ordering::Relaxed)
    }

    /// The entry of `key`, expired or not; `None` also for a key that can not be stored. May read
    /// from disk.
    ///
    /// While a batch is being applied, parts of it may be seen here; a [`BaseSnapshot`] sees it
    /// whole or not at all.
    ///
    /// # Errors
    /// [`BaseError::Corrupt`] when the entry, or the block it stands in, does not carry its
    /// checksum; [`BaseError::Io`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Stored>, BaseError> {
        self.raw(key)?.map(|bytes| decode(key, &bytes)).transpose()
    }

    /// Whether `key` has an entry, expired or not.
    ///
    /// # Errors
    /// As [`Base::get`], but the entry's own checksum is not looked at.
    pub fn contains(&self, key: &[u8]) -> Result<bool, BaseError> {
        Ok(can_be_key(key) && quiet::fjall(READING, || self.kv.contains_key(key))?)
    }

    fn raw(&self, key: &[u8]) -> Result<Option<fjall::UserValue>, BaseError> {
        if !can_be_key(key) {
            return Ok(None);
        }
        quiet::fjall(READING, || self.kv.get(key))
    }

    /// The base as it is now, between two batches.
    #[must_use]
    pub fn snapshot(&self) -> BaseSnapshot {
        BaseSnapshot::new(self.db.snapshot(), self.kv.clone(), self.meta.clone())
    }

    /// Keeps `value` under `name`, apart from the keys; part of the round like [`Base::carry`].
    ///
    /// # Errors
    /// As [`Base::carry`].
    pub fn put_blob(&self, name: &[u8], value: &[u8]) -> Result<(), BaseError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(BaseError::ValueTooLong);
        }
        let key = blob_key(name)?;
        let sealed = seal(&key, value);
        let mut writer = self.writer();
        let mut batch = self.batch(1);
        batch.insert(&self.meta, key, sealed);
        let state = writer.state;
        self.commit(&mut writer, batch, state)
    }

    /// Forgets the blob of this name.
    ///
    /// # Errors
    /// As [`Base::carry`].
    pub fn remove_blob(&self, name: &[u8]) -> Result<(), BaseError> {
        let key = blob_key(name)?;
        let mut writer = self.writer();
        let mut batch = self.batch(1);
        batch.remove(&self.meta, key);
        let state = writer.state;
        self.commit(&mut writer, batch, state)
    }

    /// Shows every blob to `visit`: name and value.
    ///
    /// # Errors
    /// As [`BaseSnapshot::blobs`].
    pub fn blobs(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), BaseError> {
        self.snapshot().blobs(visit)
    }

    /// The writer's lock. A panic under it left fjall poisoned or nothing changed, see `quiet`.
    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trees(&self) -> (&Keyspace, &Keyspace) {
        (&self.kv, &self.exp)
    }
}

const READING: &str = "read from the base";

fn can_be_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}

fn damaged(what: &str) -> BaseError {
    BaseError::corrupt(format!("{what} of the base is damaged"))
}

/// fjall's database and our keyspaces in it.
struct Trees {
    db: Database,
    kv: Keyspace,
    exp: Keyspace,
    meta: Keyspace,
}

impl Trees {
    /// The order of the keyspaces is part of the format: it numbers them.
    fn open(dir: &Path, cache_bytes: u64) -> fjall::Result<Self> {
        let db = open_database(dir, cache_bytes)?;
        Ok(Self {
            kv: db.keyspace("kv", kv_options)?,
            exp: db.keyspace("exp", small_options)?,
            meta: db.keyspace("meta", small_options)?,
            db,
        })
    }
}
