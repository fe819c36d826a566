//! The store without its threads, so that a test decides what happens between two steps of one.

use super::config::{DiskConfig, Durability};
use super::shard::Known;
use super::store::Store;
use super::{carrier, open};
use crate::table::Mark;
use crate::{
    Atomic, BatchOutcome, Condition, Expiry, Now, Op, OperationId, Outcome, OwnedOutcome, Position,
    Value,
};
use kv_log::{Group, Log};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tempfile::TempDir;

mod crash;

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

/// Panics at its n-th outcome.
fn fragile(mut left: usize) -> impl FnMut(usize, Outcome<'_>, Position) {
    move |_, _, _| {
        assert!(left > 0, "planted");
        left -= 1;
    }
}

#[test]
fn an_atomic_batch_is_whole_although_its_sink_panics() {
    let rig = Rig::new(|_| {});
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    let ops = keys.map(|key| set(key, b"x", Expiry::Never));
    let call = || rig.store.run_atomic(NOW, &ops, &mut fragile(1), false);
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    for key in keys {
        let found = rig.run(NOW, &[Op::Get { key }]);
        assert!(matches!(found[..], [OwnedOutcome::Found(_)]), "{found:?}");
    }
    let (applied, _) = rig.store.run_atomic(NOW, &ops, &mut fragile(9), false);
    assert_eq!(applied, Atomic::Applied);
}

/// Batches alone must not fill memory: what is clean goes for them as well.
#[test]
fn atomic_batches_keep_to_the_memory_there_is() {
    let limit = 256 << 10;
    let mut rig = Rig::new(|config| config.cache_bytes = limit);
    for n in 0..4_000_u32 {
        let key = n.to_be_bytes();
        let ops = [set(&key, &[1; 500], Expiry::Never)];
        let (applied, _) = rig.store.run_atomic(NOW, &ops, &mut fragile(1), true);
        assert_eq!(applied, Atomic::Applied);
        if n % 64 == 0 {
            rig.round();
        }
    }
    let used = rig.store.common.budget.used();
    assert!(used < 2 * limit, "{used} bytes");
}

/// An operation may wait longer than an entry lives.
#[test]
fn what_waited_does_not_bring_back_what_has_expired_meanwhile() {
    let mut rig = Rig::new(|_| {});
    rig.run(NOW, &[set(b"key", b"x", until(NOW, 10))]);
    assert_eq!(
        rig.run(LATER, &[Op::Get { key: b"key" }]),
        [OwnedOutcome::Missing]
    );
    rig.append(true);
    for atomic in [false, true] {
        for operation in [
            None,
            Some(OperationId {
                client: [1; 16],
                number: u64::from(atomic),
            }),
        ] {
            let ops = vec![crate::op::OwnedOp::Touch {
                key: bytes::Bytes::from_static(b"key"),
                expiry: Expiry::Never,
                condition: Condition::Always,
            }];
            let batch = crate::Batch {
                ops,
                atomic,
                operation,
            };
            let (done, outcome) = std::sync::mpsc::channel();
            let complete = Box::new(move |outcome| done.send(outcome).unwrap());
            rig.store.execute(NOW, batch, complete);
            rig.append(true);
            let missing = BatchOutcome::Done(vec![OwnedOutcome::Missing]);
            assert_eq!(outcome.recv().unwrap(), missing, "{atomic} {operation:?}");
        }
    }
    let range = crate::OwnedRange::default();
    let limits = crate::PageLimits {
        items: 9,
        bytes: 999,
    };
    rig.run(LATER, &[set(b"key", b"x", until(LATER, 10))]);
    rig.store.clock.advance(LATER.plus_ms(10));
    assert!(rig.store.page(NOW, &range, limits).0.items.is_empty());
}

#[test]
fn the_first_entry_fits_every_page() {
    let rig = Rig::new(|_| {});
    let keys: [&[u8]; 2] = [b"a", b"b"];
    rig.run(NOW, &keys.map(|key| set(key, b"x", Expiry::Never)));
    let range = crate::OwnedRange::default();
    let limits = crate::PageLimits { items: 9, bytes: 0 };
    let (page, _) = rig.store.page(NOW, &range, limits);
    assert_eq!((page.items.len(), page.end), (1, crate::Page::More));
}
