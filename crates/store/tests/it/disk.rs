//! The disk engine against the conformance suite: with room for everything, with room for next to
//! nothing, and opened anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use kv_store::conformance::{Driver, cases, check_against_model};
use kv_store::{
    Atomic, Batch, Capture, Completion, Condition, DiskConfig, DiskEngine, DiskStats, Durability,
    Durable, Engine, Entry, Expiry, Health, Now, Op, OpenError, OwnedOutcome, OwnedRange, Page,
    PageLimits, Position, ScanDone, ScanRange, Sink, Stats, StoreError, Value, Wake, verify,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const NOW: Now = Now::from_unix_ms(1_000_000_000_000);

/// An engine and the directory it is in, which goes with it.
struct Kept {
    engine: DiskEngine,
    _dir: TempDir,
}

impl Engine for Kept {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        self.engine.run(now, ops, sink)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        self.engine.run_atomic(now, ops, sink)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        self.engine.submit(now, batch, done);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.engine.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.engine.submit_scan(now, range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.engine.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }

    fn durable(&self) -> Durable {
        self.engine.durable()
    }

    fn flush(&self) {
        self.engine.flush();
    }

    fn on_durable(&self, wake: Wake) {
        self.engine.on_durable(wake);
    }

    fn health(&self) -> Health {
        self.engine.health()
    }

    fn disk_stats(&self) -> Option<DiskStats> {
        self.engine.disk_stats()
    }

    fn capture(&self, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        self.engine.capture(now)
    }
}

pub(crate) fn config(dir: &Path) -> DiskConfig {
    DiskConfig {
        min_free_bytes: 1 << 20,
        log_bytes: 1 << 20,
        ..DiskConfig::new(dir, NOW)
    }
}

fn kept(change: impl FnOnce(&mut DiskConfig)) -> Arc<dyn Engine> {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    // The suites tell the time themselves.
    config.now = Now::from_unix_ms(0);
    change(&mut config);
    let engine = DiskEngine::open(&config).unwrap();
    Arc::new(Kept { engine, _dir: dir })
}

#[test]
fn the_disk_engine_conforms() {
    for case in cases() {
        println!("{}", case.name);
        (case.check)(kept(|_| {}));
    }
}

/// Cases that count what one call of `sweep` removes: entries that are not in memory are removed by
/// the carrier, later. See `what_has_expired_leaves_the_disk`.
const COUNT_SWEPT: [&str; 2] = [
    "sweeping_removes_what_has_expired_and_nothing_else",
    "a_sweep_keeps_its_budget_and_reaches_everything",
];

#[test]
fn the_disk_engine_conforms_without_room_in_memory() {
    let all = cases().len();
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| !COUNT_SWEPT.contains(&case.name))
        .collect();
    assert_eq!(cases.len() + COUNT_SWEPT.len(), all);
    for case in cases {
        println!("{}", case.name);
        (case.check)(kept(|config| {
            config.cache_bytes = 8 << 10;
            config.durability = Durability::Os;
        }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_disk_engine_does_what_the_model_does(steps in super::steps::steps()) {
        check_against_model(&*kept(|config| config.durability = Durability::Os), &steps);
    }

    #[test]
    fn a_disk_engine_without_room_does_what_the_model_does(steps in super::steps::steps()) {
        let engine = kept(|config| {
            config.durability = Durability::Os;
            config.cache_bytes = 8 << 10;
        });
        check_against_model(&*engine, &steps);
    }
}

pub(crate) fn set<'a>(key: &'a [u8], value: &'a [u8], expiry: Expiry) -> Op<'a> {
    Op::Set {
        key,
        value: Value::Inline(value),
        content_type: 1,
        expiry,
        condition: Condition::Always,
        previous: false,
    }
}

pub(crate) fn del(key: &[u8]) -> Op<'_> {
    Op::Del {
        key,
        condition: Condition::Always,
        previous: false,
    }
}

/// Asks an engine at some time.
fn driver_at(engine: &DiskEngine, now: Now) -> Driver<'_> {
    let mut driver = Driver::new(engine);
    driver.now = now;
    driver
}

/// The version of an entry that was written.
#[track_caller]
fn written(outcome: OwnedOutcome) -> u64 {
    match outcome {
        OwnedOutcome::Written { version, .. } => version,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn value_of(engine: &DiskEngine, now: Now, key: &[u8]) -> Option<(Vec<u8>, u64)> {
    let driver = driver_at(engine, now);
    match driver.one(Op::Get { key }) {
        OwnedOutcome::Found(entry) => Some((entry.value.to_vec(), entry.version)),
        OwnedOutcome::Missing => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let config = config(dir.path());
    let mut versions = Vec::new();
    for round in 0..4_u64 {
        let engine = DiskEngine::open(&config).unwrap();
        assert_eq!(engine.recovery().new, round == 0);
        if round > 0 {
            let (value, version) = value_of(&engine, NOW, b"kept").unwrap();
            assert_eq!(value, (round - 1).to_be_bytes());
            assert_eq!(Some(&version), versions.last());
            assert_eq!(value_of(&engine, NOW, b"gone"), None);
            assert_eq!(engine.stats().keys, 2);
        }
        let driver = driver_at(&engine, NOW);
        let expires = Expiry::At(NOW.plus_ms(1_000).unix_ms());
        let number = round.to_be_bytes();
        let ops = [
            set(b"kept", &number, Expiry::Never),
            set(b"gone", b"x", Expiry::Never),
            set(b"expires", b"y", expires),
            del(b"gone"),
        ];
        let outcomes = driver.run(&ops);
        let Some(OwnedOutcome::Written { version, .. }) = outcomes.first() else {
            panic!("{outcomes:?}");
        };
        assert!(versions.last().is_none_or(|last| version > last));
        versions.push(*version);
    }
    // The clock goes back: what has expired once stays away.
    let engine = DiskEngine::open(&config).unwrap();
    assert!(value_of(&engine, NOW, b"expires").is_some());
    assert_eq!(value_of(&engine, NOW.plus_ms(2_000), b"expires"), None);
    assert_eq!(value_of(&engine, NOW, b"expires"), None);
    let driver = driver_at(&engine, NOW);
    written(driver.one(set(b"kept", b"z", Expiry::Never)));
    drop(engine);
    let engine = DiskEngine::open(&config).unwrap();
    assert_eq!(value_of(&engine, NOW, b"expires"), None);
    drop(engine);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.clean);
}

#[test]
fn more_than_memory_and_log_take_is_all_there() {
    let dir = TempDir::new().unwrap();
    let config = DiskConfig {
        cache_bytes: 256 << 10,
        durability: Durability::Os,
        ..config(dir.path())
    };
    let keys = 20_000_u32;
    let key = |n: u32| format!("key-{n:06}").into_bytes();
    {
        let engine = DiskEngine::open(&config).unwrap();
        let driver = driver_at(&engine, NOW);
        for n in 0..keys {
            written(driver.one(set(&key(n), &fill(n), Expiry::Never)));
        }
        for n in (0..keys).step_by(3) {
            assert!(matches!(
                driver.one(del(&key(n))),
                OwnedOutcome::Deleted { .. }
            ));
        }
        let stats = engine.disk_stats().unwrap();
        assert!(
            stats.rounds_total > 0 && stats.carried_total > 0,
            "{stats:?}"
        );
        assert!(engine.stats().memory_bytes < 2 << 20);
    }
    let engine = DiskEngine::open(&config).unwrap();
    let expected: Vec<u32> = (0..keys).filter(|n| n % 3 != 0).collect();
    for n in (0..keys).step_by(37) {
        let found = value_of(&engine, NOW, &key(n)).map(|(value, _)| value);
        assert_eq!(found, (n % 3 != 0).then(|| fill(n).to_vec()));
    }
    let driver = driver_at(&engine, NOW);
    for reverse in [false, true] {
        let range = OwnedRange {
            reverse,
            ..OwnedRange::default()
        };
        let mut found: Vec<_> = driver
            .scan(&range, 700)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        if reverse {
            found.reverse();
        }
        assert!(
            found
                .iter()
                .map(|key| key.to_vec())
                .eq(expected.iter().map(|n| key(*n)))
        );
    }
    let mut capture = engine.capture(NOW).unwrap();
    let mut captured = 0;
    let limits = PageLimits {
        items: 1_000,
        bytes: 1 << 20,
    };
    while capture.page(limits, &mut |_, _| captured += 1) == Page::More {}
    assert_eq!(captured, expected.len());
    assert_eq!(engine.stats().keys, expected.len() as u64);
}

#[test]
fn what_has_expired_leaves_the_disk() {
    let dir = TempDir::new().unwrap();
    let config = DiskConfig {
        cache_bytes: 64 << 10,
        durability: Durability::Os,
        ..config(dir.path())
    };
    let engine = DiskEngine::open(&config).unwrap();
    let mut driver = driver_at(&engine, NOW);
    for n in 0..3_000_u32 {
        let expiry = match n % 3 {
            0 => Expiry::Never,
            _ => Expiry::At(NOW.plus_ms(10).unix_ms()),
        };
        written(driver.one(set(&n.to_be_bytes(), &[1; 50], expiry)));
    }
    assert_eq!(engine.stats().keys, 3_000);
    driver.now = NOW.plus_ms(10);
    let gone = (0..1_000).any(|_| {
        engine.sweep(driver.now, 10_000);
        // A capture waits for the carrier, which removes what it was asked to before.
        engine.capture(driver.now).unwrap();
        engine.stats().keys == 1_000
    });
    assert!(gone, "{:?}", engine.stats());
    assert_eq!(engine.stats().expired_total, 2_000);
    drop(engine);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.entries), (Vec::new(), 1_000));
}

#[test]
fn a_directory_is_opened_once() {
    let dir = TempDir::new().unwrap();
    let config = config(dir.path());
    let engine = DiskEngine::open(&config).unwrap();
    assert!(matches!(
        DiskEngine::open(&config),
        Err(OpenError::Locked { .. })
    ));
    engine.close();
    let driver = driver_at(&engine, NOW);
    let late = driver.one(set(b"late", b"x", Expiry::Never));
    assert_eq!(late, OwnedOutcome::Failed(StoreError::Unavailable));
    drop(engine);
    assert!(DiskEngine::open(&config).is_ok());
}

#[test]
fn an_engine_whose_thread_panics_has_failed_and_ends() {
    let dir = TempDir::new().unwrap();
    let engine = DiskEngine::open(&config(dir.path())).unwrap();
    let (ring, rings) = std::sync::mpsc::channel();
    engine.on_durable(Arc::new(move || {
        let _ended = ring.send(());
    }));
    engine.on_durable(Arc::new(|| panic!("planted")));
    let mut ignore = |_: usize, _: kv_store::Outcome<'_>, _: Position| {};
    engine.run(NOW, &[set(b"key", b"x", Expiry::Never)], &mut ignore);
    engine.flush();
    let patience = std::time::Duration::from_secs(20);
    while !engine.durable().failed {
        rings.recv_timeout(patience).unwrap();
    }
    assert!(matches!(engine.health(), Health::Failed(_)));
    let late = Driver::new(&engine).submit(&[set(b"late", b"x", Expiry::Never)], false);
    let refused = OwnedOutcome::Failed(StoreError::Unavailable);
    assert_eq!(late, kv_store::BatchOutcome::Done(vec![refused]));
    engine.close();
    drop(engine);
    assert!(DiskEngine::open(&config(dir.path())).is_ok());
}

#[test]
fn a_store_that_lost_its_end_is_refused_unless_that_is_accepted() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    let engine = DiskEngine::open(&config).unwrap();
    let driver = driver_at(&engine, NOW);
    written(driver.one(set(b"early", b"x", Expiry::Never)));
    drop(engine);
    let copy = dir.path().join("copy");
    copy_dir(&dir.path().join("log"), &copy);
    let engine = DiskEngine::open(&config).unwrap();
    let driver = driver_at(&engine, NOW);
    let late = driver.one(set(b"late", b"x", Expiry::Never));
    let OwnedOutcome::Written { version: lost, .. } = late else {
        panic!("{late:?}")
    };
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    std::fs::rename(&copy, dir.path().join("log")).unwrap();
    let Err(error) = DiskEngine::open(&config) else {
        panic!("it was opened")
    };
    assert!(matches!(error, OpenError::Behind { .. }), "{error}");
    assert!(error.to_string().contains("storage.accept_data_loss"));
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().problems.is_empty());
    config.accept_data_loss = true;
    let engine = DiskEngine::open(&config).unwrap();
    assert!(engine.recovery().lost_behind.is_some());
    assert!(
        value_of(&engine, NOW, b"early").is_some() && value_of(&engine, NOW, b"late").is_none()
    );
    let driver = driver_at(&engine, NOW);
    let next = driver.one(set(b"next", b"x", Expiry::Never));
    let OwnedOutcome::Written { version, .. } = next else {
        panic!("{next:?}")
    };
    assert!(version > lost, "versions are never given twice");
    drop(engine);
    config.accept_data_loss = false;
    assert!(
        DiskEngine::open(&config).is_ok(),
        "it was accepted once and for all"
    );
}

/// The value of the n-th key.
fn fill(n: u32) -> [u8; 100] {
    [n.to_be_bytes()[3]; 100]
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
