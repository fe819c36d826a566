//! Groups that can be compared, and a log opened in one call.

use std::fs;
use std::path::{Path, PathBuf};

use kv_log::{Group, Log, LogConfig, LogError, Position, Recovery};

pub(crate) const STORE: [u8; 16] = *b"store of a test.";

/// A group that outlives its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) time_ms: u64,
    pub(crate) payload: Vec<u8>,
}

impl Owned {
    /// A group behind `after` with `writes` positions and `bytes` of a payload of its own.
    pub(crate) fn behind(after: Position, writes: u64, bytes: usize) -> Self {
        let mut state = after + 1;
        let payload = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        Self {
            first: after + 1,
            last: after + writes,
            time_ms: 1_000 + after,
            payload: payload.take(bytes).collect(),
        }
    }

    pub(crate) fn group(&self) -> Group<'_> {
        Group {
            first: self.first,
            last: self.last,
            time_ms: self.time_ms,
            payload: &self.payload,
        }
    }
}

impl From<Group<'_>> for Owned {
    fn from(group: Group<'_>) -> Self {
        Self {
            first: group.first,
            last: group.last,
            time_ms: group.time_ms,
            payload: group.payload.to_vec(),
        }
    }
}

pub(crate) fn config(segment_bytes: u64) -> LogConfig {
    LogConfig {
        segment_bytes,
        store_id: STORE,
    }
}

/// What opening a log gave.
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) recovery: Recovery,
    pub(crate) groups: Vec<Owned>,
}

pub(crate) fn try_open(
    dir: &Path,
    segment_bytes: u64,
    after: Position,
) -> Result<Opened, LogError> {
    let mut groups = Vec::new();
    let (log, recovery) = Log::open(dir, config(segment_bytes), after, &mut |group| {
        groups.push(Owned::from(group));
        Ok(())
    })?;
    Ok(Opened {
        log,
        recovery,
        groups,
    })
}

pub(crate) fn open(dir: &Path, segment_bytes: u64, after: Position) -> Opened {
    try_open(dir, segment_bytes, after).unwrap()
}

/// Appends `count` groups of `bytes` each, with a sync after each one.
pub(crate) fn write(log: &mut Log, count: u64, bytes: usize) -> Vec<Owned> {
    let groups = (0..count).map(|index| {
        let group = Owned::behind(log.last(), 1 + index % 3, bytes);
        log.append(group.group()).unwrap();
        log.sync().unwrap();
        group
    });
    groups.collect()
}

/// Files of a directory whose names end so, in order.
pub(crate) fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir, "log")
}

/// A copy of every file of `from`, in a directory of its own.
pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// Small numbers that are the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// True `times` in a hundred.
    pub(crate) fn percent(&mut self, times: u64) -> bool {
        self.roll(100) < times
    }
}
