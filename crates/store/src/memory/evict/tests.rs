//! What goes, what stays, and that the bound holds.

use super::*;
use crate::{
    Atomic, Condition, Engine, Expiry, MemoryConfig, Outcome, OwnedOutcome, Position, Value,
};
use std::collections::{BTreeSet, VecDeque};

mod model;

const NOW: Now = Now::from_unix_ms(1_000_000);
const NO_ROOM: OwnedOutcome = OwnedOutcome::Failed(StoreError::OutOfMemory);

fn engine(eviction: Eviction, limit: u64) -> MemoryEngine {
    MemoryEngine::new(MemoryConfig {
        memory_limit_bytes: NonZeroU64::new(limit),
        eviction,
    })
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

fn one(engine: &MemoryEngine, op: Op<'_>) -> OwnedOutcome {
    let mut outcomes = Vec::new();
    engine.run(
        NOW,
        &[op],
        &mut |_: usize, outcome: Outcome<'_>, _: Position| {
            outcomes.push(outcome.to_owned_outcome());
        },
    );
    assert_eq!(outcomes.len(), 1, "each operation has one outcome");
    outcomes.remove(0)
}

fn put(engine: &MemoryEngine, key: &[u8], value: &[u8], expiry: Expiry) -> bool {
    let outcome = one(engine, set(key, value, expiry));
    let written = matches!(outcome, OwnedOutcome::Written { .. });
    assert!(written || outcome == NO_ROOM, "{outcome:?}");
    written
}

fn get(engine: &MemoryEngine, key: &[u8]) -> Option<Vec<u8>> {
    match one(engine, Op::Get { key }) {
        OwnedOutcome::Found(entry) => Some(entry.value.to_vec()),
        other => {
            assert_eq!(other, OwnedOutcome::Missing);
            None
        }
    }
}

fn atomic(engine: &MemoryEngine, ops: &[Op<'_>]) -> Atomic {
    let mut ignore = |_: usize, _: Outcome<'_>, _: Position| {};
    engine.run_atomic(NOW, ops, &mut ignore).0
}

/// Writes 100 bytes each under numbered keys until something had to go, or does not fit.
fn fill(engine: &MemoryEngine, expiry: Expiry) -> u64 {
    for number in 0.. {
        let key = format!("fill {number}");
        let fits = put(engine, key.as_bytes(), &[7; 100], expiry);
        if !fits || engine.stats().evicted_total > 0 {
            return number;
        }
    }
    0
}

#[test]
fn what_is_looked_up_stays_longer_than_in_a_queue() {
    const KEYS: usize = 20_000;
    let engine = engine(Eviction::Lru, 700_000);
    // The chance of a key is the inverse of its rank.
    let mut sums = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let point = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        sums.partition_point(|upto| *upto < point)
    };
    let order: Vec<usize> = (0..200_000).map(|_| next()).collect();
    let mut hits = 0;
    for number in &order {
        let key = number.to_be_bytes();
        if get(&engine, &key).is_some() {
            hits += 1;
        } else {
            assert!(put(&engine, &key, &[1; 100], Expiry::Never));
        }
    }
    let held = usize::try_from(engine.stats().keys).unwrap();
    assert!(held > 2_000 && held < KEYS / 2, "{held} fit");
    let (mut queue, mut queued, mut queue_hits) = (VecDeque::new(), BTreeSet::new(), 0);
    for number in order {
        if queued.contains(&number) {
            queue_hits += 1;
            continue;
        }
        queue.push_back(number);
        queued.insert(number);
        if queue.len() > held {
            queued.remove(&queue.pop_front().unwrap());
        }
    }
    assert!(
        hits * 100 > queue_hits * 103,
        "{hits} hits, {queue_hits} with a queue"
    );
}

#[test]
fn no_more_goes_than_has_to() {
    let engine = engine(Eviction::Lru, 1_000_000);
    let fitted = fill(&engine, Expiry::Never);
    let (mut keys, mut evicted) = (engine.stats().keys, engine.stats().evicted_total);
    let start = evicted;
    for number in 0..10_000 {
        let key = format!("next {number:05}");
        assert!(put(&engine, key.as_bytes(), &[7; 100], Expiry::Never));
        let stats = engine.stats();
        assert_eq!(stats.keys, keys + 1 - (stats.evicted_total - evicted));
        (keys, evicted) = (stats.keys, stats.evicted_total);
        assert!(stats.memory_bytes <= 1_000_000);
    }
    assert!(evicted - start < 11_000, "{}", evicted - start);
    assert!(keys > fitted * 9 / 10, "{keys} of {fitted} still fit");
}

#[test]
fn what_cannot_fit_is_refused_and_nothing_goes() {
    for (eviction, expiry) in [
        (Eviction::Lru, Expiry::Never),
        (Eviction::Ttl, Expiry::At(9_000_000)),
    ] {
        let engine = engine(eviction, 200_000);
        fill(&engine, expiry);
        let before = engine.stats();
        for len in [185_000, 200_000, 1_000_000] {
            let value = vec![1; len];
            for key in [b"new".as_slice(), b"fill 9"] {
                assert_eq!(one(&engine, set(key, &value, expiry)), NO_ROOM, "{len}");
            }
            let half = &value[..len / 2];
            let batch = [set(b"a", half, expiry), set(b"b", half, expiry)];
            let refused = atomic(&engine, &batch);
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
        }
        let after = engine.stats();
        assert_eq!(after.keys, before.keys);
        assert_eq!(after.evicted_total, before.evicted_total);
        assert!(
            put(&engine, b"new", &vec![1; 100_000], expiry),
            "half of it fits"
        );
        assert!(engine.stats().evicted_total > before.evicted_total);
    }
}

#[test]
fn only_entries_with_an_expiry_go_and_those_that_expire_soon_first() {
    let engine = engine(Eviction::Ttl, 400_000);
    let groups = [
        ("stays", Expiry::Never),
        ("late", Expiry::At(9_000_000)),
        ("soon", Expiry::At(2_000_000)),
    ];
    let key = |group: &str, number: u32| format!("{group} {number}");
    let left = |group: &str| {
        (0..500)
            .filter(|number| get(&engine, key(group, *number).as_bytes()).is_some())
            .count()
    };
    for number in 0..500 {
        for (group, expiry) in groups {
            assert!(put(
                &engine,
                key(group, number).as_bytes(),
                &[7; 100],
                expiry
            ));
        }
    }
    assert_eq!(engine.stats().evicted_total, 0);
    let mut written = 0;
    while engine.stats().evicted_total < 250 {
        assert!(put(
            &engine,
            key("more", written).as_bytes(),
            &[7; 100],
            Expiry::Never
        ));
        written += 1;
    }
    assert!(left("late") >= 485, "{}", left("late"));
    assert!(left("soon") <= 270, "{}", left("soon"));
    while put(
        &engine,
        key("more", written).as_bytes(),
        &[7; 100],
        Expiry::Never,
    ) {
        written += 1;
        assert!(engine.stats().memory_bytes <= 400_000);
    }
    assert_eq!((left("stays"), left("late"), left("soon")), (500, 0, 0));
    let more =
        (0..written).filter(|number| get(&engine, key("more", *number).as_bytes()).is_some());
    let more = u32::try_from(more.count());
    assert_eq!(more, Ok(written), "what does not expire stays");
    let refused = set(b"expires", &[7; 100], Expiry::At(2_000_000));
    assert_eq!(one(&engine, refused), NO_ROOM);
}

#[test]
fn a_write_never_evicts_the_entry_it_is_about() {
    let engine = engine(Eviction::Lru, 100_000);
    assert!(put(&engine, b"key", b"", Expiry::Never));
    for len in (1_000..50_000).step_by(1_000) {
        fill(&engine, Expiry::Never);
        let _there_again = put(&engine, b"key", b"", Expiry::Never);
        let value = vec![1; len];
        let grown = Op::Set {
            key: b"key",
            value: Value::Inline(&value),
            content_type: 0,
            expiry: Expiry::Never,
            condition: Condition::Present,
            previous: false,
        };
        let batch = [
            grown,
            Op::Incr {
                key: b"count",
                delta: 1,
                expiry: Expiry::Never,
                condition: Condition::Always,
            },
        ];
        if len % 2_000 == 0 {
            assert_eq!(atomic(&engine, &batch), Atomic::Applied);
        } else {
            let outcome = one(&engine, grown);
            assert!(
                matches!(outcome, OwnedOutcome::Written { .. }),
                "{outcome:?}"
            );
        }
        assert_eq!(get(&engine, b"key"), Some(value));
    }
}

#[test]
fn a_batch_makes_room_for_all_it_writes() {
    let engine = engine(Eviction::Lru, 200_000);
    fill(&engine, Expiry::Never);
    let keys: Vec<String> = (0..400).map(|number| format!("batch {number}")).collect();
    let ops: Vec<_> = keys
        .iter()
        .map(|key| set(key.as_bytes(), &[9; 200], Expiry::Never))
        .collect();
    assert_eq!(atomic(&engine, &ops), Atomic::Applied);
    for key in &keys {
        assert_eq!(get(&engine, key.as_bytes()), Some(vec![9; 200]));
    }
    assert!(engine.stats().memory_bytes <= 200_000);
}

#[test]
fn a_key_that_comes_back_has_a_greater_version() {
    let engine = engine(Eviction::Lru, 50_000);
    let version = |outcome: OwnedOutcome| match outcome {
        OwnedOutcome::Written { version, .. } => version,
        _ => 0,
    };
    let mut last = version(one(&engine, set(b"key", b"1", Expiry::Never)));
    for turn in 0..20 {
        let mut number = 0;
        while get(&engine, b"key").is_some() {
            let key = format!("{turn} {number}");
            assert!(put(&engine, key.as_bytes(), &[7; 1_000], Expiry::Never));
            number += 1;
        }
        let next = version(one(&engine, set(b"key", b"1", Expiry::Never)));
        assert!(next > last);
        last = next;
    }
}

#[test]
fn many_threads_make_room_for_each_other() {
    let engine = engine(Eviction::Lru, 500_000);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let engine = &engine;
            scope.spawn(move || {
                for number in 0..5_000_u64 {
                    let key = ((thread << 32) | (number % 3_000)).to_be_bytes();
                    let len = if number % 50 == 0 { 20_000 } else { 100 };
                    assert!(put(engine, &key, &vec![1; len], Expiry::Never));
                    assert!(engine.stats().memory_bytes <= 500_000);
                }
            });
        }
    });
    assert!(engine.stats().evicted_total > 1_000);
}

#[test]
fn expired_entries_make_room_and_count_as_expired() {
    let engine = engine(Eviction::Lru, 100_000);
    let mut number = 0;
    while engine.stats().memory_bytes < 95_000 {
        let key = format!("gone {number}");
        assert!(put(
            &engine,
            key.as_bytes(),
            &[7; 100],
            Expiry::At(NOW.unix_ms() + 1)
        ));
        number += 1;
    }
    let later = NOW.plus_ms(10);
    for number in 0..100 {
        let key = format!("new {number}");
        let op = set(key.as_bytes(), &[7; 100], Expiry::Never);
        engine.run(
            later,
            &[op],
            &mut |_: usize, outcome: Outcome<'_>, _: Position| {
                assert!(matches!(outcome, Outcome::Written { .. }));
            },
        );
    }
    let stats = engine.stats();
    assert!(stats.expired_total > 30, "{stats:?}");
    assert!(stats.evicted_total * 4 < stats.expired_total, "{stats:?}");
}
