//! One key at a time: values, versions, conditions, counters.

use super::driver::{Driver, del, del_if, incr, set, set_if, touch, version};
use crate::{
    Condition, Engine, Expiry, INLINE_VALUE_BYTES_MAX, KEY_BYTES_MAX, Op, OwnedEntry, OwnedOutcome,
    StoreError, Value,
};
use bytes::Bytes;
use std::sync::Arc;

super::list_cases![
    what_was_set_is_found_until_it_is_deleted,
    values_of_every_size_come_back_whole,
    overwriting_with_any_other_size_leaves_the_last_value,
    keys_of_illegal_length_are_refused,
    versions_grow_across_delete_and_create,
    conditions_that_fail_leave_no_trace,
    conditions_that_hold_let_writes_through,
    the_previous_entry_is_given_when_asked_for,
    counters_count_decimal_text,
    touching_changes_the_version_and_nothing_else,
    a_run_sees_its_own_writes_in_order,
    look_ups_are_counted,
    content_types_stay_with_the_value,
];

fn what_was_set_is_found_until_it_is_deleted(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    assert_eq!(driver.get(b"key"), None);
    let version = driver.set(b"key", b"value");
    let entry = found(&driver, b"key");
    assert_eq!(
        (&*entry.value, entry.version),
        (b"value".as_slice(), version)
    );
    assert_eq!(entry.expires_at, None);
    assert_eq!(
        driver.one(del(b"key")),
        OwnedOutcome::Deleted { previous: None }
    );
    assert_eq!(driver.one(del(b"key")), OwnedOutcome::Missing);
    assert_eq!(driver.get(b"key"), None);
}

fn values_of_every_size_come_back_whole(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let limit = INLINE_VALUE_BYTES_MAX;
    let sizes = [
        0,
        1,
        15,
        16,
        63,
        64,
        1_000,
        limit - 1,
        limit,
        limit + 1,
        70_000,
        1 << 20,
    ];
    for size in sizes {
        let value: Vec<u8> = (0..size)
            .map(|n| u8::try_from(n % 251).unwrap_or(0))
            .collect();
        let key = size.to_string();
        driver.set(key.as_bytes(), &value);
        let shared = Bytes::from(value.clone());
        let op = Op::Set {
            key: b"shared",
            value: Value::Shared(&shared),
            content_type: 0,
            expiry: Expiry::Never,
            condition: Condition::Always,
            previous: false,
        };
        version(&driver.one(op));
        for key in [key.as_bytes(), b"shared"] {
            let found = driver.get(key).map(|entry| entry.value);
            assert!(found.as_deref() == Some(&value), "{size} bytes come back");
        }
    }
}

fn overwriting_with_any_other_size_leaves_the_last_value(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let sizes = [
        0, 10, 60, 64, 80, 200, 17_000, 20_000, 3, 17_000, 16_384, 64, 63, 0,
    ];
    for (turn, size) in sizes.into_iter().enumerate() {
        let value = vec![u8::try_from(turn).unwrap_or(0); size];
        let version = driver.set(b"key", &value);
        let entry = found(&driver, b"key");
        assert_eq!((entry.value.len(), entry.version), (size, version));
        assert!(entry.value == value, "turn {turn}");
    }
}

fn keys_of_illegal_length_are_refused(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let longest = vec![b'k'; KEY_BYTES_MAX];
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    driver.set(&longest, b"value");
    assert!(driver.get(&longest).is_some(), "the longest key is legal");
    let refused = OwnedOutcome::Failed(StoreError::KeyLength);
    for key in [b"".as_slice(), &too_long] {
        for op in [Op::Get { key }, set(key, b"value"), del(key), incr(key, 1)] {
            assert_eq!(driver.one(op), refused);
            assert_ne!(
                driver.atomic(&[set(b"other", b"value"), op]),
                crate::BatchOutcome::Done(Vec::new())
            );
        }
    }
    assert_eq!(
        driver.get(b"other"),
        None,
        "nothing of a refused batch is applied"
    );
}

fn versions_grow_across_delete_and_create(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let mut last = 0;
    for _ in 0..3 {
        for key in [b"a", b"b"] {
            for op in [set(key, b"1"), incr(key, 1)] {
                let version = version(&driver.one(op));
                assert!(version > last, "{version} comes after {last}");
                last = version;
            }
            assert_eq!(driver.get(key).map(|entry| entry.version), Some(last));
            assert_eq!(
                driver.one(del(key)),
                OwnedOutcome::Deleted { previous: None }
            );
        }
    }
}

fn writes_if(condition: Condition) -> [Op<'static>; 4] {
    let expiry = Expiry::Never;
    let key = b"key";
    let delta = 1;
    [
        set_if(key, b"1", condition),
        Op::Incr {
            key,
            delta,
            expiry,
            condition,
        },
        touch(key, expiry, condition),
        del_if(key, condition),
    ]
}

fn conditions_that_fail_leave_no_trace(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let conflict = |version| OwnedOutcome::Conflict { version };
    for condition in [
        Condition::Present,
        Condition::Version(7),
        Condition::Version(u64::MAX),
    ] {
        for op in writes_if(condition) {
            assert_eq!(driver.one(op), conflict(0), "{op:?}");
        }
    }
    assert_eq!(driver.get(b"key"), None);
    let version = driver.set(b"key", b"1");
    let before = driver.get(b"key");
    for condition in [
        Condition::Absent,
        Condition::Version(0),
        Condition::Version(version + 1),
    ] {
        for op in writes_if(condition) {
            assert_eq!(driver.one(op), conflict(version), "{op:?}");
        }
    }
    assert_eq!(driver.get(b"key"), before);
}

fn conditions_that_hold_let_writes_through(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for place in 0..4 {
        for named in [true, false] {
            let version = driver.set(b"key", b"1");
            let condition = if named {
                Condition::Version(version)
            } else {
                Condition::Present
            };
            for op in writes_if(condition).into_iter().skip(place).take(1) {
                let outcome = driver.one(op);
                assert!(
                    !matches!(outcome, OwnedOutcome::Conflict { .. }),
                    "{op:?}: {outcome:?}"
                );
                let after = driver.get(b"key").map_or(0, |entry| entry.version);
                assert_ne!(after, version, "{op:?} was applied");
            }
        }
    }
    let _gone = driver.one(del(b"key"));
    for condition in [Condition::Absent, Condition::Version(0)] {
        for op in writes_if(condition).into_iter().take(2) {
            version(&driver.one(op));
            let _gone = driver.one(del(b"key"));
        }
    }
}

fn the_previous_entry_is_given_when_asked_for(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let mut before = None;
    for value in [b"one".as_slice(), b"two", b"another size", b"two"] {
        let outcome = driver.one(set_if(b"key", value, Condition::Always));
        let OwnedOutcome::Written { previous, .. } = outcome else {
            return assert_eq!(outcome, OwnedOutcome::Missing, "a Set is written");
        };
        assert_eq!(previous, before);
        before = driver.get(b"key");
    }
    assert!(before.is_some());
    let removed = driver.one(del_if(b"key", Condition::Always));
    assert_eq!(removed, OwnedOutcome::Deleted { previous: before });
}

fn counters_count_decimal_text(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let counted = |op| match driver.one(op) {
        OwnedOutcome::Counted { value, .. } => Ok(value),
        other => Err(other),
    };
    assert_eq!(counted(incr(b"n", 5)), Ok(5));
    assert_eq!(counted(incr(b"n", -15)), Ok(-10));
    assert_eq!(
        driver.get(b"n").map(|entry| entry.value),
        Some(Bytes::from_static(b"-10"))
    );
    driver.set(b"n", b"9223372036854775806");
    assert_eq!(counted(incr(b"n", 1)), Ok(i64::MAX));
    let full = driver.get(b"n");
    assert_eq!(counted(incr(b"n", 1)), Err(OwnedOutcome::WrongType));
    assert_eq!(driver.get(b"n"), full, "an overflow changes nothing");
    assert_eq!(counted(incr(b"n", i64::MIN)), Ok(-1));
    for text in [
        b"".as_slice(),
        b"x",
        b"1.5",
        b" 1",
        b"99999999999999999999",
        &[0xff],
    ] {
        driver.set(b"text", text);
        let before = driver.get(b"text");
        assert_eq!(counted(incr(b"text", 1)), Err(OwnedOutcome::WrongType));
        assert_eq!(driver.get(b"text"), before);
    }
}

fn touching_changes_the_version_and_nothing_else(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let key = b"key".as_slice();
    let touch = |expiry| touch(key, expiry, Condition::Always);
    assert_eq!(driver.one(touch(Expiry::Never)), OwnedOutcome::Missing);
    for value in [vec![7; 40], vec![8; 40_000]] {
        let first = driver.set(key, &value);
        let at = driver.after(1_000);
        let mut last = first;
        for (expiry, expected) in [
            (Expiry::At(at), Some(at)),
            (Expiry::Keep, Some(at)),
            (Expiry::At(at + 5), Some(at + 5)),
            (Expiry::Never, None),
            (Expiry::Keep, None),
        ] {
            let version = version(&driver.one(touch(expiry)));
            assert!(version > last);
            last = version;
            let entry = found(&driver, key);
            assert_eq!(entry.version, version);
            assert_eq!(entry.expires_at.map(std::num::NonZeroU64::get), expected);
            assert!(entry.value == value, "the value stays");
        }
    }
}

fn a_run_sees_its_own_writes_in_order(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let keys: Vec<String> = (0..100).map(|n| format!("key {n}")).collect();
    let mut ops = Vec::new();
    for key in &keys {
        let key = key.as_bytes();
        ops.extend([
            Op::Get { key },
            set(key, b"41"),
            Op::Get { key },
            incr(key, 1),
            del(key),
            Op::Get { key },
        ]);
    }
    for round in driver.run(&ops).chunks(6) {
        let [before, _, set, counted, deleted, after] = round else {
            return assert_eq!(round.len(), 6, "each operation has an outcome");
        };
        assert_eq!(before, &OwnedOutcome::Missing);
        assert!(matches!(set, OwnedOutcome::Found(entry) if &*entry.value == b"41"));
        assert!(matches!(counted, OwnedOutcome::Counted { value: 42, .. }));
        assert_eq!(deleted, &OwnedOutcome::Deleted { previous: None });
        assert_eq!(after, &OwnedOutcome::Missing);
    }
}

fn look_ups_are_counted(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let before = engine.stats();
    driver.set(b"there", b"value");
    for _ in 0..3 {
        assert!(driver.get(b"there").is_some());
        assert!(driver.get(b"not there").is_none());
        assert!(driver.get(b"neither").is_none());
    }
    let after = engine.stats();
    assert_eq!(after.hits_total - before.hits_total, 3);
    assert_eq!(after.misses_total - before.misses_total, 6);
    assert_eq!(after.keys - before.keys, 1);
    assert!(
        after.memory_bytes > before.memory_bytes,
        "an entry takes memory"
    );
}

fn content_types_stay_with_the_value(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for content_type in [3, 0, 255] {
        let op = Op::Set {
            key: b"key",
            value: Value::Inline(b"7"),
            content_type,
            expiry: Expiry::Never,
            condition: Condition::Always,
            previous: false,
        };
        version(&driver.one(op));
        version(&driver.one(incr(b"key", 1)));
        assert_eq!(
            driver.get(b"key").map(|entry| entry.content_type),
            Some(content_type)
        );
    }
}

/// The entry, which must be there.
#[track_caller]
fn found(driver: &Driver<'_>, key: &[u8]) -> OwnedEntry {
    let entry = driver.get(key);
    assert!(entry.is_some(), "the entry is there");
    let nothing = OwnedEntry {
        value: Bytes::new(),
        version: 0,
        expires_at: None,
        content_type: 0,
    };
    entry.unwrap_or(nothing)
}
