//! Opens a data directory: what the base has, what the log has behind that, and whether both have
//! everything that was acknowledged.

use super::carrier::carry_replayed;
use super::config::{DiskConfig, OpenError};
use super::counters::Counters;
use super::progress::Progress;
use super::record::{Record, records};
use super::shard::{Common, Known, Shard, absent};
use super::stage::Staging;
use super::state::Sentinel;
use super::store::{Limits, Lock, Store};
use crate::idempotency::{WINDOWS_BYTES_DEFAULT, Windows};
use crate::table::{Budget, Contents, Directory, EntryBox, SHARDS, Seed};
use crate::time::HighWater;
use crate::{Entry, Now, Position};
use kv_base::{Base, BaseConfig, BaseError};
use kv_log::{
    DirLock, Group, LockError, Log, LogConfig, LogError, STATE_FORMAT, State, StateError,
    StateFile, VisitError,
};
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The smallest segment of the log; a fraction of the log otherwise.
const SEGMENTS_PER_LOG: u64 = 8;

/// Names of the parts of a data directory.
const LOG_DIR: &str = "log";
const BASE_DIR: &str = "base";

/// Blobs of the base that hold the answers to a client's named operations begin with this.
pub(super) const WINDOW_BLOB: &[u8] = b"operations/";

/// What opening a data directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Entries there are.
    pub keys: u64,
    /// Groups of the log that were replayed.
    pub log_groups: u64,
    /// Bytes of them.
    pub log_bytes: u64,
    /// Bytes at the end of the log that were never durable, and dropped.
    pub torn_bytes: u64,
    /// Acknowledged writes are missing, as accepted: positions behind this one up to the sentinel's.
    pub lost_behind: Option<u64>,
    /// Whether there was no store before.
    pub new: bool,
    /// How long it took.
    pub took: Duration,
}

/// An open store, the log for the flusher, and the lock on the directory.
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    pub(super) log: Log,
    pub(super) lock: DirLock,
    pub(super) recovery: Recovery,
}

/// Opens what `config` says.
pub(super) fn open(config: &DiskConfig) -> Result<Opened, OpenError> {
    let began = Instant::now();
    let dir = &config.dir;
    make_dir(dir)?;
    let lock = DirLock::acquire(dir).map_err(|error| lock_error(error, dir))?;
    let (file, state, new) = state_of(config)?;
    let base = open_base(config, &state)?;
    let from = start(config, &base, &state)?;
    let (replay, mut log, found) = replay_log(config, &state, &base, from)?;
    let last = found.last.max(from);
    let lost_behind = (last < state.acknowledged).then_some(last);
    if lost_behind.is_some() {
        if !config.accept_data_loss {
            return Err(behind(dir, last, &state));
        }
        skip_lost(&mut log, last, &state)
            .map_err(|error| io_error("append to the log in", dir, error))?;
    }
    let last = last.max(state.acknowledged);
    let clock = HighWater::default();
    clock.advance(Now::from_unix_ms(state.clock_ms.max(found.time_ms)));
    clock.advance(config.now);
    let recovery = Recovery {
        log_groups: found.groups,
        log_bytes: found.bytes,
        torn_bytes: found.torn.map_or(0, |torn| torn.bytes),
        lost_behind,
        new,
        ..Recovery::default()
    };
    let store = Store {
        durability: config.durability,
        limits: Limits::of(config),
        common: replay.common,
        shards: replay.shards.into_iter().map(Lock::new).collect(),
        staging: Staging::new(last, clock.latest().unix_ms(), replay.windows),
        clock,
        progress: Progress::new(last),
        base,
        caretaker: log.caretaker(),
        sentinel: Sentinel::new(file, state),
        reads: super::queue::Queue::default(),
        writes: super::queue::Queue::default(),
        rounds: super::rounds::Rounds::default(),
        bell: super::keeper::Bell::default(),
        counters: Counters::default(),
        handing_over: Mutex::default(),
        cursor: Mutex::default(),
        indexed: AtomicBool::new(false),
    };
    store.sentinel.synced(last);
    store
        .sentinel
        .write(store.clock.latest().unix_ms())
        .map_err(|error| io_error("write the state file in", dir, error))?;
    store.watch_space();
    let recovery = Recovery {
        keys: store.keys(),
        took: began.elapsed(),
        ..recovery
    };
    store.counters.recovered(recovery.took, recovery.log_groups);
    Ok(Opened {
        store: Arc::new(store),
        log,
        lock,
        recovery,
    })
}

/// The position behind which the log is needed.
fn start(config: &DiskConfig, base: &Base, state: &State) -> Result<u64, OpenError> {
    let reached = base.position();
    if reached < state.carried && !config.accept_data_loss {
        return Err(behind(&config.dir, reached, state));
    }
    Ok(reached.max(state.carried))
}

/// Reads the log behind position `from` into a table.
fn replay_log(
    config: &DiskConfig,
    state: &State,
    base: &Base,
    from: u64,
) -> Result<(Replay, Log, kv_log::Recovery), OpenError> {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT).tracking_changes();
    load_windows(base, &mut windows)?;
    let shards: Vec<_> = (0..SHARDS).map(|_| Shard::new()).collect();
    let mut replay = Replay {
        common: common(config, &shards, base.position() == 0 && base.keys() == 0),
        shards,
        windows,
        dirty_max: config.cache_bytes,
    };
    let log_config = LogConfig {
        segment_bytes: (config.log_bytes / SEGMENTS_PER_LOG)
            .clamp(kv_log::SEGMENT_BYTES_MIN, kv_log::SEGMENT_BYTES_DEFAULT),
        ..LogConfig::new(state.store_id)
    };
    let mut visit = |group: Group<'_>| replay.group(&group, base);
    let (log, found) = Log::open(&config.dir.join(LOG_DIR), log_config, from, &mut visit)
        .map_err(|error| log_error(error, &config.dir))?;
    Ok((replay, log, found))
}

/// Positions that were given out behind `last` are never given again.
fn skip_lost(log: &mut Log, last: u64, state: &State) -> io::Result<()> {
    log.append(Group {
        first: last + 1,
        last: state.acknowledged,
        time_ms: state.clock_ms,
        payload: &[],
    })?;
    log.sync()
}

fn common(config: &DiskConfig, shards: &[Shard], base_is_empty: bool) -> Common {
    Common {
        seed: Seed::random(),
        budget: Budget::new(None),
        directory: Directory::new(shards.iter().map(|shard| Arc::clone(shard.table.slots()))),
        limit_bytes: config.cache_bytes,
        base_is_empty: AtomicBool::new(base_is_empty),
        stalls: AtomicU64::new(0),
        full: AtomicBool::new(false),
    }
}

/// The table while the log is read into it.
struct Replay {
    shards: Vec<Shard>,
    common: Common,
    windows: Windows,
    /// With more than this in memory, what was read is carried at once.
    dirty_max: u64,
}

impl Replay {
    fn group(&mut self, group: &Group<'_>, base: &Base) -> Result<(), VisitError> {
        for record in records(group.payload) {
            match record? {
                // A group is shown whole; what is in front of it may be in the base already.
                Record::Put { key, entry } => self.put(key, Some(&entry), entry.version)?,
                Record::Delete { key, version } => self.put(key, None, version)?,
                Record::Result {
                    operation,
                    position,
                    time_ms,
                    outcome,
                } => self.windows.record_encoded(
                    Now::from_unix_ms(time_ms),
                    operation,
                    outcome,
                    Position::of_version(position),
                ),
            }
        }
        if self.common.budget.used() > self.dirty_max {
            self.carry(base)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        key: &[u8],
        entry: Option<&Entry<'_>>,
        version: u64,
    ) -> Result<(), VisitError> {
        let made = match entry {
            Some(entry) => EntryBox::new(
                key,
                &Contents {
                    value: entry.value,
                    version,
                    expires_at: entry.expires_at,
                    content_type: entry.content_type,
                },
            ),
            None => absent(key, version),
        }?;
        let hash = self.common.seed.hash(key);
        let number = crate::table::shard_of(hash);
        let call = super::shard::Call {
            common: &self.common,
            shard: number,
            hash,
            now: Now::from_unix_ms(0),
            patient: true,
        };
        let Some(shard) = self.shards.get_mut(number) else {
            return Ok(());
        };
        let known = match shard.table.find(hash, key) {
            Some(at) => Known::At(at),
            None => {
                shard.make_room(call, 1)?;
                shard.known(call, key)
            }
        };
        shard.install(call, known, made);
        Ok(())
    }

    /// Carries everything to the base: the log holds more than memory may.
    fn carry(&mut self, base: &Base) -> Result<(), VisitError> {
        self.common.base_is_empty.store(false, Ordering::Relaxed);
        for (number, shard) in self.shards.iter_mut().enumerate() {
            carry_replayed(shard, number, &self.common, base)?;
        }
        Ok(())
    }
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| io_error("make the data directory", dir, error))
}

/// What the state file says, or a new one for a directory without a store.
fn state_of(config: &DiskConfig) -> Result<(StateFile, State, bool), OpenError> {
    let dir = &config.dir;
    let file = StateFile::new(dir).map_err(|error| io_error("open", dir, error))?;
    if let Some(state) = StateFile::load(dir).map_err(state_error)? {
        return Ok((file, state, false));
    }
    for part in [LOG_DIR, BASE_DIR] {
        if dir.join(part).exists() {
            let what = format!(
                "{}: there is a `{part}` directory and no `state` file beside it",
                dir.display()
            );
            return Err(OpenError::Corrupt { what });
        }
    }
    let state = State {
        format: STATE_FORMAT,
        store_id: random_id(),
        carried: 0,
        acknowledged: 0,
        clock_ms: config.now.unix_ms(),
        clean: true,
    };
    file.store(&state)
        .map_err(|error| io_error("write the state file in", dir, error))?;
    Ok((file, state, true))
}

/// Tells the files of one store from those of others; nobody has to be unable to guess it.
fn random_id() -> [u8; 16] {
    let state = RandomState::new();
    let mut id = [0; 16];
    let (front, back) = id.split_at_mut(8);
    front.copy_from_slice(&state.hash_one(1_u8).to_be_bytes());
    back.copy_from_slice(&state.hash_one(2_u8).to_be_bytes());
    id
}

fn open_base(config: &DiskConfig, state: &State) -> Result<Base, OpenError> {
    let base = BaseConfig {
        cache_bytes: config.base_cache_bytes,
        store_id: state.store_id,
    };
    let dir = config.dir.join(BASE_DIR);
    if !dir.exists() && state.carried > 0 {
        let what = format!("{}: the base is gone", dir.display());
        return Err(OpenError::Corrupt { what });
    }
    Base::open(&dir, base).map_err(|error| base_error(error, &dir))
}

fn load_windows(base: &Base, windows: &mut Windows) -> Result<(), OpenError> {
    let mut damaged = None;
    let mut load = |name: &[u8], bytes: &[u8]| {
        let client = name.strip_prefix(WINDOW_BLOB).map(<[u8; 16]>::try_from);
        if let Some(Ok(client)) = client
            && windows.load(client, bytes).is_err()
        {
            damaged = Some(client);
        }
    };
    base.blobs(&mut load)
        .map_err(|error| base_error(error, Path::new(BASE_DIR)))?;
    match damaged {
        None => Ok(()),
        Some(_) => Err(OpenError::Corrupt {
            what: "the answers kept for named operations are malformed".into(),
        }),
    }
}

fn behind(dir: &Path, recovered: u64, state: &State) -> OpenError {
    OpenError::Behind {
        dir: dir.to_owned(),
        recovered,
        acknowledged: state.acknowledged.max(state.carried),
    }
}

pub(super) fn io_error(what: &str, dir: &Path, error: io::Error) -> OpenError {
    if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        return OpenError::NoSpace {
            dir: dir.to_owned(),
        };
    }
    OpenError::Io {
        what: format!("cannot {what} {}", dir.display()),
        error,
    }
}

fn lock_error(error: LockError, dir: &Path) -> OpenError {
    match error {
        LockError::Taken { .. } => OpenError::Locked {
            dir: dir.to_owned(),
        },
        LockError::Io { path, source } => io_error("lock", &path, source),
        other => OpenError::Corrupt {
            what: other.to_string(),
        },
    }
}

pub(super) fn state_error(error: StateError) -> OpenError {
    match error {
        StateError::Io { path, source } => io_error("read", &path, source),
        StateError::NewerFormat { .. } => OpenError::Newer {
            what: error.to_string(),
        },
        other => OpenError::Corrupt {
            what: other.to_string(),
        },
    }
}

pub(super) fn log_error(error: LogError, dir: &Path) -> OpenError {
    match error {
        LogError::Io {
            doing,
            path,
            source,
        } => io_error(doing, &path, source),
        LogError::NewerFormat { .. } => OpenError::Newer {
            what: error.to_string(),
        },
        LogError::Foreign { .. } => OpenError::OtherStore {
            what: error.to_string(),
        },
        other => OpenError::Corrupt {
            what: format!("{}: {other}", dir.display()),
        },
    }
}

pub(super) fn base_error(error: BaseError, dir: &Path) -> OpenError {
    match error {
        BaseError::Io {
            while_doing,
            source,
        } => io_error(while_doing, dir, source),
        BaseError::Newer { .. } => OpenError::Newer {
            what: format!("{}: {error}", dir.display()),
        },
        BaseError::OtherStore => OpenError::OtherStore {
            what: dir.display().to_string(),
        },
        BaseError::Locked => OpenError::Locked {
            dir: dir.to_owned(),
        },
        other => OpenError::Corrupt {
            what: format!("{}: {other}", dir.display()),
        },
    }
}
