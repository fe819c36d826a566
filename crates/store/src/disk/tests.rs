//! The store without its threads, so that a test decides what happens between two steps of one.

use super::config::{DiskConfig, Durability};
use super::shard::Known;
use super::store::Store;
use super::{carrier, open};
use crate::table::Mark;
use crate::{
    BatchOutcome, Condition, Expiry, Now, Op, OperationId, Outcome, OwnedOutcome, Position, Value,
};
use kv_log::{Group, Log};
use std::sync::Arc;
use tempfile::TempDir;

const NOW: Now = Now::from_unix_ms(1_000_000_000_000);
const LATER: Now = Now::from_unix_ms(1_000_000_001_000);

/// A store, its log, and what keeps its directory.
struct Rig {
    store: Arc<Store>,
    log: Log,
    _lock: kv_log::DirLock,
    dir: TempDir,
}

impl Rig {
    fn new(change: impl FnOnce(&mut DiskConfig)) -> Self {
        Self::open(TempDir::new().unwrap(), change)
    }

    fn open(dir: TempDir, change: impl FnOnce(&mut DiskConfig)) -> Self {
        let mut config = DiskConfig {
            log_bytes: 1 << 20,
            min_free_bytes: 1 << 20,
            ..DiskConfig::new(dir.path(), NOW)
        };
        change(&mut config);
        let opened = open::open(&config).unwrap();
        Self {
            store: opened.store,
            log: opened.log,
            _lock: opened.lock,
            dir,
        }
    }

    fn run(&self, now: Now, ops: &[Op<'_>]) -> Vec<OwnedOutcome> {
        let now = self.store.clock.advance(now);
        let mut outcomes = Vec::new();
        let mut sink = |_: usize, outcome: Outcome<'_>, _: Position| {
            outcomes.push(outcome.to_owned_outcome());
        };
        assert_eq!(self.store.run(now, ops, &mut sink, true), ops.len());
        outcomes
    }

    /// Appends what is staged, as the flusher does. Syncs it or not.
    fn append(&mut self, sync: bool) {
        let mut buffer = Vec::new();
        let Ok(Some(taken)) = self
            .store
            .staging
            .take(&mut buffer, Some(std::time::Instant::now()))
        else {
            return;
        };
        self.log
            .append(Group {
                first: taken.first,
                last: taken.last,
                time_ms: taken.time_ms,
                payload: &buffer,
            })
            .unwrap();
        if sync {
            self.log.sync().unwrap();
            self.store.sentinel.synced(self.log.durable());
            self.store.progress.raise_synced(self.log.durable());
        }
        self.store.progress.raise(taken.last);
    }

    /// A round; everything staged is durable before.
    fn round(&mut self) {
        self.append(true);
        carrier::round(&self.store).unwrap();
    }

    /// The marks of `key`: dirty, stored, unsure; nothing when it is not in memory.
    fn marks(&self, key: &[u8]) -> Option<[bool; 3]> {
        let call = self.store.call_for(key, NOW, false);
        self.store.with_shard(call, |shard| {
            let at = shard.table.find(call.hash, key)?;
            let entry = shard.table.get(at)?;
            Some([Mark::Dirty, Mark::Stored, Mark::Unsure].map(|mark| entry.has(mark)))
        })?
    }

    fn evict(&self, key: &[u8]) {
        let call = self.store.call_for(key, NOW, false);
        self.store.with_shard(call, |shard| {
            if let Known::At(at) = shard.known(call, key) {
                shard.forget(call, at);
            }
        });
    }
}

fn set<'a>(key: &'a [u8], value: &'a [u8], expiry: Expiry) -> Op<'a> {
    Op::Set {
        key,
        value: Value::Inline(value),
        content_type: 0,
        expiry,
        condition: Condition::Always,
        previous: false,
    }
}

fn expired(store: &Store) -> u64 {
    let shards = store.shards.iter().map(|shard| shard.lock().expired);
    shards.sum::<u64>() + super::counters::read(&store.counters.expired)
}

fn until(now: Now, ms: u64) -> Expiry {
    Expiry::At(now.plus_ms(ms).unix_ms())
}

/// What is carried and lost from the log would be a write kept although older ones are lost.
#[test]
fn nothing_goes_to_the_base_before_it_is_synced_in_the_log() {
    let mut rig = Rig::new(|config| config.durability = Durability::Os);
    rig.run(NOW, &[set(b"synced", b"1", Expiry::Never)]);
    rig.append(true);
    rig.run(NOW, &[set(b"not", b"1", Expiry::Never)]);
    rig.append(false);
    assert_eq!(rig.store.progress.through(), 2, "it may be shown");
    carrier::carry_dirty(&rig.store).unwrap();
    assert_eq!(rig.marks(b"synced"), Some([false, true, false]));
    assert_eq!(rig.marks(b"not").map(|[dirty, ..]| dirty), Some(true));
    assert_eq!(rig.store.base.keys(), 1);
}

#[test]
fn an_answer_goes_to_the_base_only_when_its_effect_is_synced() {
    let mut rig = Rig::new(|config| config.durability = Durability::Os);
    let store = Arc::clone(&rig.store);
    let id = |number| OperationId {
        client: [7; 16],
        number,
    };
    for (number, sync) in [(1, true), (2, false)] {
        let ops = [set(b"key", b"1", Expiry::Never)];
        let (outcome, _) = store.execute_named(NOW, id(number), &ops, false);
        assert!(matches!(outcome, BatchOutcome::Done(_)));
        rig.append(sync);
    }
    carrier::carry_windows(&store).unwrap();
    let mut windows = crate::idempotency::Windows::new(1 << 20);
    let mut load = |_: &[u8], bytes: &[u8]| windows.load([7; 16], bytes).unwrap();
    store.base.blobs(&mut load).unwrap();
    use crate::idempotency::Verdict;
    assert!(matches!(windows.check(NOW, id(1)), Verdict::Repeat(..)));
    assert_eq!(windows.check(NOW, id(2)), Verdict::New);
}

/// A reader may find an entry in the base after it was let go and before it is removed.
#[test]
fn an_entry_that_was_read_while_it_was_swept_leaves_the_counts_right() {
    for overwrite in [false, true] {
        let mut rig = Rig::new(|_| {});
        rig.run(NOW, &[set(b"key", b"old", until(NOW, 10))]);
        rig.round();
        rig.evict(b"key");
        rig.store.clock.advance(LATER);
        let store = Arc::clone(&rig.store);
        let mut between = |key: &[u8]| {
            store.load(LATER, key, false).unwrap();
            if overwrite {
                rig.run(LATER, &[set(key, b"new", Expiry::Never)]);
            }
        };
        carrier::sweep_with(&store, &mut between).unwrap();
        assert_eq!((store.base.keys(), store.base.keys_expiring()), (0, 0));
        rig.run(LATER, &[set(b"key", b"new", Expiry::Never)]);
        assert_eq!(store.keys(), 1);
        rig.round();
        assert_eq!((store.keys(), store.base.keys()), (1, 1));
    }
}

/// The sweeper may take an entry out of the table while the carrier brings it to the base.
#[test]
fn an_entry_that_expires_while_it_is_carried_leaves_the_base_as_well() {
    let mut rig = Rig::new(|_| {});
    rig.run(NOW, &[set(b"key", b"x", until(NOW, 10))]);
    rig.append(true);
    let store = Arc::clone(&rig.store);
    let mut between = || {
        assert_eq!(store.sweep(store.clock.advance(LATER), 1_000), 1);
    };
    carrier::carry_keys(&store, &[b"key"], &mut between).unwrap();
    assert_eq!(store.base.keys(), 1, "it was under way");
    assert_eq!(store.keys(), 0);
    for _ in 0..3 {
        carrier::sweep_with(&store, &mut |_| {}).unwrap();
        rig.run(NOW, &[set(b"other", b"x", Expiry::Never)]);
        rig.round();
    }
    assert_eq!((store.keys(), store.base.keys()), (1, 1));
    assert_eq!(rig.marks(b"key"), None);
    assert_eq!(expired(&store), 1);
}

#[test]
fn a_log_larger_than_memory_is_read_without_counting_anything_as_expired() {
    let mut rig = Rig::new(|_| {});
    for n in 0..2_000_u32 {
        rig.run(NOW, &[set(&n.to_be_bytes(), &[1; 100], Expiry::Never)]);
    }
    rig.append(true);
    let Rig {
        store,
        log,
        _lock,
        dir,
    } = rig;
    drop((store, log, _lock));
    let rig = Rig::open(dir, |config| config.cache_bytes = 64 << 10);
    assert!(rig.store.base.keys() > 0, "some had to go to the base");
    assert_eq!(rig.store.keys(), 2_000);
    assert_eq!(expired(&rig.store), 0);
    assert!(rig.dir.path().exists());
}
