//! Several threads at once against a disk engine with next to no memory, so that rounds, evictions,
//! loads and sweeps never stop. Each thread knows what its own keys must hold.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use super::disk::{NOW, config};
use kv_store::conformance::Driver;
use kv_store::{
    BatchOutcome, Condition, DiskConfig, DiskEngine, Durability, Engine, Expiry, Now, Op,
    OperationId, OwnedOutcome, OwnedRange, Page, PageLimits, Value, verify,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

const THREADS: u64 = 4;
const KEYS: u64 = 60;
const COUNTERS: u64 = 3;
const PINNED: u64 = 40;

/// What a thread knows of its keys in the end, and what it added to each counter.
type Left = (BTreeMap<Vec<u8>, Known>, Vec<i64>);

/// What a thread knows of one of its keys.
#[derive(Clone, Debug)]
struct Known {
    value: Vec<u8>,
    version: u64,
    expires_at: Option<u64>,
}

/// A write of one key, and when it began.
#[derive(Clone)]
struct Attempt {
    key: Vec<u8>,
    value: Vec<u8>,
    expiry: Expiry,
    condition: Condition,
    began: u64,
}

impl Attempt {
    fn op(&self, previous: bool) -> Op<'_> {
        Op::Set {
            key: &self.key,
            value: Value::Inline(&self.value),
            content_type: 1,
            expiry: self.expiry,
            condition: self.condition,
            previous,
        }
    }
}

/// What all threads share.
struct World<'e> {
    engine: &'e DiskEngine,
    clock: AtomicU64,
    done: AtomicBool,
}

impl World<'_> {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One thread, its keys and what they hold.
struct Worker<'w> {
    world: &'w World<'w>,
    id: u64,
    random: Random,
    model: BTreeMap<Vec<u8>, Known>,
    counted: Vec<i64>,
    operations: u64,
}

impl Worker<'_> {
    fn key(&self, n: u64) -> Vec<u8> {
        format!("own-{}-{n:03}", self.id).into_bytes()
    }

    fn step(&mut self, driver: &mut Driver<'_>) {
        let began = self.world.now();
        driver.now = Now::from_unix_ms(began);
        let n = self.random.below(KEYS);
        let key = self.key(n);
        let attempt = self.attempt(key, began);
        match self.random.below(12) {
            choice @ 0..=4 => {
                let outcome = driver.one(attempt.op(choice == 4));
                self.wrote(&attempt, outcome);
            }
            5 => self.delete(driver, &attempt),
            6 => self.count(driver),
            7 => self.write_two(driver, attempt),
            8 => self.write_named(driver, attempt),
            _ => self.check(driver, &attempt.key),
        }
        // Time passes, and what has expired is swept by whoever comes by.
        self.world.clock.fetch_add(1, Ordering::SeqCst);
        if self.random.below(16) == 0 {
            self.world.engine.sweep(Now::from_unix_ms(began), 200);
        }
    }

    fn attempt(&mut self, key: Vec<u8>, began: u64) -> Attempt {
        let len = usize::try_from(self.random.below(300)).unwrap();
        let byte = u8::try_from(self.random.below(256)).unwrap();
        let expiry = match self.random.below(4) {
            0 => Expiry::At(began + 1 + self.random.below(400)),
            _ => Expiry::Never,
        };
        let condition = self.condition(&key);
        Attempt {
            key,
            value: vec![byte; len],
            expiry,
            condition,
            began,
        }
    }

    fn delete(&mut self, driver: &Driver<'_>, attempt: &Attempt) {
        let outcome = driver.one(super::disk::del(&attempt.key));
        let deleted = matches!(outcome, OwnedOutcome::Deleted { .. });
        assert!(deleted || outcome == OwnedOutcome::Missing, "{outcome:?}");
        self.presence(&attempt.key, deleted, attempt.began);
        self.model.remove(&attempt.key);
    }

    fn count(&mut self, driver: &Driver<'_>) {
        let counter = self.random.below(COUNTERS);
        let outcome = driver.one(Op::Incr {
            key: &counter_key(counter),
            delta: 3,
            expiry: Expiry::Keep,
            condition: Condition::Always,
        });
        assert!(
            matches!(outcome, OwnedOutcome::Counted { .. }),
            "{outcome:?}"
        );
        self.counted[usize::try_from(counter).unwrap()] += 3;
    }

    fn write_two(&mut self, driver: &Driver<'_>, mut first: Attempt) {
        first.condition = Condition::Always;
        let mut second = first.clone();
        let n = self.random.below(KEYS);
        second.key = self.key(n);
        let BatchOutcome::Done(outcomes) = driver.atomic(&[first.op(false), second.op(false)])
        else {
            panic!("a batch without conditions is applied");
        };
        for (attempt, outcome) in [first, second].iter().zip(outcomes) {
            self.wrote(attempt, outcome);
        }
    }

    fn write_named(&mut self, driver: &Driver<'_>, mut attempt: Attempt) {
        attempt.condition = Condition::Always;
        self.operations += 1;
        let id = OperationId {
            client: [u8::try_from(self.id).unwrap(); 16],
            number: self.operations,
        };
        let ops = [attempt.op(false)];
        let first = driver.submit_named(&ops, false, id);
        assert_eq!(driver.submit_named(&ops, false, id), first);
        let BatchOutcome::Done(mut outcomes) = first else {
            panic!("{first:?}");
        };
        let outcome = outcomes.pop().unwrap();
        self.wrote(&attempt, outcome);
    }

    fn condition(&mut self, key: &[u8]) -> Condition {
        match self.random.below(6) {
            0 => Condition::Absent,
            1 => Condition::Present,
            2 => Condition::Version(self.model.get(key).map_or(7, |known| known.version)),
            _ => Condition::Always,
        }
    }

    /// Compares what was found with what must be: which may be open while an entry expires.
    fn presence(&mut self, key: &[u8], found: bool, began: u64) {
        match self.model.get(key) {
            None => assert!(!found, "nothing comes back"),
            Some(known) => match known.expires_at {
                Some(at) if at <= began => assert!(!found, "what has expired is gone"),
                Some(at) if at <= self.world.now() => {}
                _ => assert!(found, "{known:?} is lost"),
            },
        }
        if !found {
            self.model.remove(key);
        }
    }

    fn wrote(&mut self, attempt: &Attempt, outcome: OwnedOutcome) {
        let Attempt {
            key,
            value,
            expiry,
            condition,
            began,
        } = attempt;
        let (condition, began) = (*condition, *began);
        let before = self.model.get(key).cloned();
        match outcome {
            OwnedOutcome::Written {
                version, previous, ..
            } => {
                match condition {
                    Condition::Absent | Condition::Version(0) => self.presence(key, false, began),
                    Condition::Present | Condition::Version(_) => self.presence(key, true, began),
                    Condition::Always => {}
                }
                if let Some(previous) = previous {
                    self.presence(key, true, began);
                    let before = before.as_ref().unwrap();
                    assert_eq!(previous.version, before.version);
                    assert_eq!(previous.value, before.value);
                }
                assert!(before.is_none_or(|before| before.version < version));
                let expires_at = match expiry {
                    Expiry::At(at) => Some(*at),
                    Expiry::Never | Expiry::Keep => None,
                };
                let known = Known {
                    value: value.clone(),
                    version,
                    expires_at,
                };
                self.model.insert(key.to_vec(), known);
            }
            OwnedOutcome::Conflict { version } => {
                assert!(condition != Condition::Always);
                self.presence(key, version != 0, began);
                if version != 0 {
                    assert_eq!(version, before.unwrap().version);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn check(&mut self, driver: &Driver<'_>, key: &[u8]) {
        let began = driver.now.unix_ms();
        let found = driver.get(key);
        self.presence(key, found.is_some(), began);
        if let Some(found) = found {
            let known = &self.model[key];
            assert_eq!(
                (&found.value[..], found.version),
                (&known.value[..], known.version)
            );
        }
    }
}

fn counter_key(n: u64) -> Vec<u8> {
    format!("counter-{n}").into_bytes()
}

fn pinned_key(n: u64) -> Vec<u8> {
    format!("pinned-{n:04}").into_bytes()
}

/// Scans again and again: what never changes is in every scan.
fn scan(world: &World<'_>) -> u64 {
    let mut driver = Driver::new(world.engine);
    let mut scans = 0;
    while !world.done.load(Ordering::SeqCst) || scans == 0 {
        driver.now = Now::from_unix_ms(world.now());
        let range = OwnedRange {
            reverse: scans % 2 == 1,
            ..OwnedRange::default()
        };
        let mut keys: Vec<_> = driver
            .scan(&range, 17)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        if range.reverse {
            keys.reverse();
        }
        assert!(keys.is_sorted_by(|left, right| left < right));
        let pinned = keys.iter().filter(|key| key.starts_with(b"pinned-"));
        assert!(
            pinned
                .map(|key| key.to_vec())
                .eq((0..PINNED).step_by(2).map(pinned_key))
        );
        scans += 1;
    }
    scans
}

/// Has all threads take so many steps, and somebody scan meanwhile.
fn run_threads(world: &World<'_>, steps: u64, seed: u64) -> Vec<Left> {
    let mut workers = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|id| {
                scope.spawn(move || {
                    let mut worker = Worker {
                        world,
                        id,
                        random: Random(seed * 1_000 + id * 77 + 1),
                        model: BTreeMap::new(),
                        counted: vec![0; usize::try_from(COUNTERS).unwrap()],
                        operations: 0,
                    };
                    let mut driver = Driver::new(world.engine);
                    for _ in 0..steps {
                        worker.step(&mut driver);
                    }
                    (worker.model, worker.counted)
                })
            })
            .collect();
        let scanner = scope.spawn(|| scan(world));
        for thread in threads {
            let ended = thread.join();
            world.done.store(ended.is_err(), Ordering::SeqCst);
            workers.push(ended.unwrap());
        }
        world.done.store(true, Ordering::SeqCst);
        assert!(scanner.join().unwrap() > 0);
    });
    workers
}

fn storm(durability: Durability, steps: u64, seed: u64) {
    let dir = TempDir::new().unwrap();
    let config = DiskConfig {
        cache_bytes: 48 << 10,
        log_bytes: 64 << 10,
        durability,
        ..config(dir.path())
    };
    let engine = DiskEngine::open(&config).unwrap();
    let world = World {
        engine: &engine,
        clock: AtomicU64::new(NOW.unix_ms()),
        done: AtomicBool::new(false),
    };
    let driver = Driver::new(&engine);
    for n in 0..PINNED {
        driver.set(&pinned_key(n), b"pinned");
    }
    for n in (1..PINNED).step_by(2) {
        let _gone = driver.one(super::disk::del(&pinned_key(n)));
    }
    let workers = run_threads(&world, steps, seed);
    let stats = engine.disk_stats().unwrap();
    assert!(
        stats.rounds_total > 3 && stats.cold_reads_total > 100,
        "{stats:?}"
    );
    assert!(engine.stats().evicted_total > 0);
    // All that can expire has expired.
    let now = Now::from_unix_ms(world.now() + 1_000);
    let live = settled(&engine, now, &workers);
    let expected = live.len() as u64 + PINNED / 2 + COUNTERS;
    let limits = PageLimits {
        items: 100,
        bytes: 1 << 20,
    };
    let swept = (0..1_000).any(|_| {
        engine.sweep(now, 10_000);
        // A capture waits for the carrier, which sweeps the base.
        let mut capture = engine.capture(now).unwrap();
        let mut captured = 0;
        while capture.page(limits, &mut |_, _| captured += 1) == Page::More {}
        assert_eq!(captured, expected);
        engine.stats().keys == expected
    });
    assert!(swept, "{expected} keys, not {:?}", engine.stats());
    assert_eq!(engine.stats().keys_expiring, 0);
    drop(engine);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let engine = DiskEngine::open(&config).unwrap();
    assert_eq!(engine.stats().keys, expected);
    assert_eq!(settled(&engine, now, &workers).len(), live.len());
}

/// Checks what all threads left; the keys that never expire.
fn settled(engine: &DiskEngine, now: Now, workers: &[Left]) -> Vec<Vec<u8>> {
    let mut driver = Driver::new(engine);
    driver.now = now;
    let mut live = Vec::new();
    for (model, _) in workers {
        for (key, known) in model {
            let found = driver
                .get(key)
                .map(|entry| (entry.value.to_vec(), entry.version));
            let lasting = known.expires_at.is_none();
            let wanted = lasting.then(|| (known.value.clone(), known.version));
            assert_eq!(found, wanted, "{known:?}");
            live.extend(lasting.then(|| key.clone()));
        }
    }
    for n in 0..COUNTERS {
        let sum: i64 = workers
            .iter()
            .map(|(_, counted)| counted[usize::try_from(n).unwrap()])
            .sum();
        let entry = driver.get(&counter_key(n)).unwrap();
        assert_eq!(entry.value, sum.to_string());
    }
    live
}

#[test]
fn threads_find_what_they_wrote_while_everything_moves() {
    for seed in 1..=2 {
        storm(Durability::Os, 1_500, seed);
    }
    storm(Durability::Always, 500, 3);
}
