//! What is the memory engine's own: its limit, its accounts, its large runs.

use super::*;
use crate::{Condition, Expiry, StoreError, Value};

const NOW: Now = Now::from_unix_ms(1_000_000);

fn set<'a>(key: &'a [u8], value: &'a [u8], expiry: Expiry) -> Op<'a> {
    let condition = Condition::Always;
    let value = Value::Inline(value);
    Op::Set {
        key,
        value,
        content_type: 0,
        expiry,
        condition,
        previous: false,
    }
}

fn del(key: &[u8]) -> Op<'_> {
    Op::Del {
        key,
        condition: Condition::Always,
        previous: false,
    }
}

fn run(engine: &MemoryEngine, ops: &[Op<'_>]) -> Vec<OwnedOutcome> {
    let mut outcomes = Vec::new();
    let executed = engine.run(
        NOW,
        ops,
        &mut |_: usize, outcome: Outcome<'_>, _: Position| {
            outcomes.push(outcome.to_owned_outcome());
        },
    );
    assert_eq!(executed, ops.len());
    outcomes
}

fn limited(bytes: u64) -> MemoryEngine {
    MemoryEngine::new(MemoryConfig {
        memory_limit_bytes: NonZeroU64::new(bytes),
        eviction: Eviction::None,
    })
}

fn scan_keys(engine: &MemoryEngine) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let limits = PageLimits {
        items: 100,
        bytes: 1 << 20,
    };
    loop {
        let after = keys.last().cloned();
        let range = ScanRange {
            prefix: b"",
            after: after.as_deref(),
            reverse: false,
        };
        match engine.scan(NOW, range, limits, &mut |key, _| keys.push(key.to_vec())) {
            Page::More => {}
            end => {
                assert_eq!(end, Page::Done);
                return keys;
            }
        }
    }
}

#[test]
fn an_empty_engine_takes_no_memory() {
    assert_eq!(
        limited(1).stats(),
        Stats {
            memory_limit_bytes: Some(1),
            ..Stats::default()
        }
    );
}

#[test]
fn all_memory_is_given_back_to_the_account() {
    for scanned in [false, true] {
        let engine = limited(1 << 30);
        if scanned {
            assert!(scan_keys(&engine).is_empty());
        }
        let keys: Vec<String> = (0..5_000).map(|n| format!("key {n}")).collect();
        for (size, expiry) in [
            (10, Expiry::Never),
            (300, Expiry::At(5_000_000)),
            (12, Expiry::Never),
            (17_000, Expiry::Keep),
            (11, Expiry::At(5_000_000)),
        ] {
            let value = vec![0; size];
            for key in keys.iter().take(if size > 1_000 { 100 } else { 5_000 }) {
                run(&engine, &[set(key.as_bytes(), &value, expiry)]);
            }
            let text: u64 = keys.iter().map(|key| key.len() as u64).sum();
            assert!(
                engine.stats().memory_bytes > text,
                "at least the keys are counted"
            );
        }
        let ops: Vec<_> = keys
            .iter()
            .map(|key| set(key.as_bytes(), b"1", Expiry::Never))
            .collect();
        assert_eq!(
            engine.run_atomic(NOW, &ops, &mut |_: usize, _: Outcome<'_>, _: Position| {}),
            (Atomic::Applied, Position::START)
        );
        let ops: Vec<_> = keys.iter().map(|key| del(key.as_bytes())).collect();
        let (one_by_one, at_once) = ops.split_at(4_000);
        run(&engine, one_by_one);
        let (applied, _) = engine.run_atomic(
            NOW,
            at_once,
            &mut |_: usize, _: Outcome<'_>, _: Position| {},
        );
        assert_eq!(applied, Atomic::Applied);
        run(
            &engine,
            &keys
                .iter()
                .map(|key| del(key.as_bytes()))
                .collect::<Vec<_>>(),
        );
        // Only slots are left; a shard keeps its smallest tables.
        let slots: usize = engine
            .shards
            .iter()
            .map(|shard| shard.lock().table.slots().bytes())
            .sum();
        assert_eq!(
            engine.stats().memory_bytes,
            slots as u64,
            "scanned: {scanned}"
        );
    }
}

#[test]
fn tables_shrink_after_most_entries_are_deleted() {
    let engine = limited(1 << 30);
    let keys: Vec<String> = (0..50_000).map(|n| format!("key {n}")).collect();
    run(
        &engine,
        &keys
            .iter()
            .map(|key| set(key.as_bytes(), b"", Expiry::Never))
            .collect::<Vec<_>>(),
    );
    let slots = || -> usize {
        engine
            .shards
            .iter()
            .map(|shard| shard.lock().table.slots().bytes())
            .sum()
    };
    let full = slots();
    run(
        &engine,
        &keys
            .iter()
            .skip(500)
            .map(|key| del(key.as_bytes()))
            .collect::<Vec<_>>(),
    );
    assert!(
        slots() * 8 < full,
        "{} of {full} bytes of slots are left",
        slots()
    );
    let gets: Vec<_> = keys
        .iter()
        .take(500)
        .map(|key| Op::Get {
            key: key.as_bytes(),
        })
        .collect();
    assert!(
        run(&engine, &gets)
            .iter()
            .all(|got| matches!(got, OwnedOutcome::Found(_)))
    );
}

#[test]
fn the_memory_limit_refuses_growth_and_nothing_else() {
    let engine = limited(200_000);
    let value = vec![1; 200];
    let failed = OwnedOutcome::Failed(StoreError::OutOfMemory);
    let keys: Vec<String> = (0..5_000).map(|n| format!("key {n}")).collect();
    let mut stored = Vec::new();
    for key in &keys {
        let outcome = run(&engine, &[set(key.as_bytes(), &value, Expiry::Never)]);
        if outcome.first() != Some(&failed) {
            stored.push(key.as_bytes());
        }
        assert!(engine.stats().memory_bytes <= 200_000);
    }
    assert!(
        stored.len() > 400 && stored.len() < 1_000,
        "{} stored",
        stored.len()
    );
    assert_eq!(engine.stats().keys, stored.len() as u64);
    for key in &stored {
        assert!(matches!(
            run(&engine, &[Op::Get { key }])[..],
            [OwnedOutcome::Found(_)]
        ));
        let smaller = run(&engine, &[set(key, &value[..100], Expiry::Never)]);
        assert!(
            matches!(smaller[..], [OwnedOutcome::Written { .. }]),
            "what shrinks may"
        );
    }
    let large = vec![1; 300_000];
    assert_eq!(
        run(&engine, &[set(b"large", &large, Expiry::Never)]),
        std::slice::from_ref(&failed)
    );
    let batch: Vec<_> = stored
        .iter()
        .map(|key| set(key, &large[..2_000], Expiry::Never))
        .collect();
    let (refused, _) =
        engine.run_atomic(NOW, &batch, &mut |_: usize, _: Outcome<'_>, _: Position| {});
    assert!(
        matches!(
            refused,
            Atomic::Failed {
                error: StoreError::OutOfMemory,
                ..
            }
        ),
        "{refused:?}"
    );
    let before = engine.stats().memory_bytes;
    for key in &stored {
        assert_eq!(
            run(&engine, &[del(key)]),
            [OwnedOutcome::Deleted { previous: None }]
        );
    }
    assert!(engine.stats().memory_bytes < before / 4);
}

#[test]
fn an_index_that_does_not_fit_fails_the_scan_and_keeps_the_store() {
    let engine = limited(200_000);
    let keys: Vec<String> = (0..1_200).map(|n| format!("key {n}")).collect();
    run(
        &engine,
        &keys
            .iter()
            .map(|key| set(key.as_bytes(), b"value", Expiry::Never))
            .collect::<Vec<_>>(),
    );
    assert_eq!(engine.stats().keys, 1_200);
    let fill = 200_000 - engine.stats().memory_bytes - 10_000;
    let fill = vec![0; usize::try_from(fill).unwrap()];
    run(&engine, &[set(b"fill", &fill, Expiry::Never)]);
    let limits = PageLimits {
        items: 10,
        bytes: 1_000,
    };
    let page = engine.scan(NOW, ScanRange::default(), limits, &mut |_, _| {});
    assert_eq!(page, Page::Failed(StoreError::OutOfMemory));
    run(&engine, &[del(b"fill")]);
    assert_eq!(scan_keys(&engine).len(), 1_200);
}

#[test]
fn building_the_index_is_spread_over_calls() {
    let engine = limited(1 << 30);
    let keys: Vec<String> = (0..100_000).map(|n| format!("{n:06}")).collect();
    run(
        &engine,
        &keys
            .iter()
            .map(|key| set(key.as_bytes(), b"", Expiry::Never))
            .collect::<Vec<_>>(),
    );
    let limits = PageLimits {
        items: 10,
        bytes: 1_000,
    };
    let mut shown = 0;
    let first = engine.scan(NOW, ScanRange::default(), limits, &mut |_, _| shown += 1);
    assert_eq!(
        (first, shown),
        (Page::More, 0),
        "the first call sorts and shows nothing"
    );
    assert!(
        scan_keys(&engine)
            .iter()
            .eq(keys.iter().map(String::as_bytes))
    );
}

#[test]
fn runs_longer_than_a_chunk_are_answered_in_order() {
    let engine = limited(1 << 30);
    let keys: Vec<String> = (0..1_000).map(|n| format!("{n}")).collect();
    run(
        &engine,
        &keys
            .iter()
            .map(|key| set(key.as_bytes(), key.as_bytes(), Expiry::Never))
            .collect::<Vec<_>>(),
    );
    for len in [1, 2, 63, 64, 65, 128, 1_000] {
        let gets: Vec<_> = keys
            .iter()
            .take(len)
            .map(|key| Op::Get {
                key: key.as_bytes(),
            })
            .collect();
        let mut next = 0;
        engine.run(
            NOW,
            &gets,
            &mut |index: usize, outcome: Outcome<'_>, _: Position| {
                assert_eq!(index, next);
                next += 1;
                let Outcome::Found(entry) = outcome else {
                    panic!("{outcome:?}")
                };
                assert_eq!(entry.value.as_slice(), keys[index].as_bytes());
            },
        );
        assert_eq!(next, len);
    }
}

#[test]
fn a_panic_in_a_sink_leaves_the_store_usable() {
    let engine = limited(1 << 30);
    let panics = std::panic::AssertUnwindSafe(|| {
        engine.run(
            NOW,
            &[set(b"key", b"value", Expiry::Never)],
            &mut |_: usize, _: Outcome<'_>, _: Position| {
                std::panic::resume_unwind(Box::new("from the sink"));
            },
        );
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(matches!(
        run(&engine, &[Op::Get { key: b"key" }])[..],
        [OwnedOutcome::Found(_)]
    ));
    assert_eq!(
        run(&engine, &[del(b"key")]),
        [OwnedOutcome::Deleted { previous: None }]
    );
}
