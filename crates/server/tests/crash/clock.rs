//! A clock that is set back while the server is down: what had expired stays away.
//!
//! The server reads the machine's clock, which no test may set, so this is the engine itself: it is
//! told the time. Its crash is a copy of its files while it runs.

use std::path::Path;

use kv_store::{
    DiskConfig, DiskEngine, Durability, Engine as _, Expiry, Now, Op, Outcome, Position, Value,
};
use kv_testkit::faults::damage::copy_directory;
use kv_testkit::wait::until;

const NOW: Now = Now::from_unix_ms(1_000_000_000_000);
/// Where `state` says what the clock was; `docs/storage/FORMAT.md`.
const CLOCK: std::ops::Range<usize> = 48..56;

fn open(dir: &Path) -> DiskEngine {
    let config = DiskConfig {
        dir: dir.to_owned(),
        durability: Durability::Always,
        cache_bytes: 8 << 20,
        log_bytes: 8 << 20,
        base_cache_bytes: 1 << 20,
        min_free_bytes: 1 << 20,
        accept_data_loss: false,
        readers: 1,
        now: NOW,
    };
    DiskEngine::open(&config).unwrap()
}

fn set(engine: &DiskEngine, key: &[u8], expiry: Expiry) -> Position {
    let mut position = Position::END;
    let op = Op::Set {
        key,
        value: Value::Inline(b"v"),
        content_type: 0,
        expiry,
        condition: kv_store::Condition::Always,
        previous: false,
    };
    let mut sink = |_: usize, _: Outcome<'_>, after: Position| position = after;
    assert_eq!(engine.run(NOW, &[op], &mut sink), 1);
    position
}

fn is_there(engine: &DiskEngine, now: Now, key: &[u8]) -> bool {
    let mut is_there = false;
    let mut sink = |_: usize, outcome: Outcome<'_>, _: Position| {
        is_there = matches!(outcome, Outcome::Found(_));
    };
    assert_eq!(
        engine.run(now, &[Op::Get { key }], &mut sink),
        1,
        "in memory"
    );
    is_there
}

#[tokio::test]
async fn what_has_expired_does_not_come_back_when_the_clock_is_set_back_over_a_crash() {
    let home = tempfile::tempdir().unwrap();
    let (dir, crashed) = (home.path().join("data"), home.path().join("crashed"));
    let engine = open(&dir);
    set(&engine, b"short", Expiry::At(NOW.plus_ms(1_000).unix_ms()));
    let last = set(&engine, b"long", Expiry::At(NOW.plus_ms(60_000).unix_ms()));
    engine.flush();
    until(async || (engine.durable().through >= last).then_some(())).await;
    assert!(is_there(&engine, NOW, b"short"));
    let later = NOW.plus_ms(2_000);
    assert!(!is_there(&engine, later, b"short"));
    // The server sweeps; that something has expired is written down within a second.
    until(async || {
        engine.sweep(later, 1_000);
        let state = std::fs::read(dir.join("state")).ok()?;
        let clock = state.get(CLOCK)?.try_into().unwrap();
        (u64::from_be_bytes(clock) >= later.unix_ms()).then_some(())
    })
    .await;
    copy_directory(&dir, &crashed).unwrap();
    engine.close();
    drop(engine);
    for left in [&crashed, &dir] {
        let engine = open(left);
        assert!(!is_there(&engine, NOW, b"short"));
        assert!(is_there(&engine, NOW, b"long"));
    }
}
