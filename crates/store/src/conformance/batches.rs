//! Batches: all or nothing when atomic, one by one when not.

use super::driver::{Driver, del, incr, set};
use crate::{BatchOutcome, Condition, Engine, Expiry, Op, OwnedOutcome, Value};
use bytes::Bytes;
use std::sync::Arc;

super::list_cases![
    an_atomic_batch_is_applied_whole,
    a_failed_condition_applies_nothing,
    a_wrong_type_applies_nothing,
    a_batch_may_touch_a_key_twice,
    a_batch_that_is_not_atomic_goes_on_after_a_conflict,
    an_empty_batch_is_applied,
];

fn an_atomic_batch_is_applied_whole(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    driver.set(b"old", b"value");
    let keys: Vec<String> = (0..300).map(|n| format!("key {n}")).collect();
    let mut ops: Vec<_> = keys
        .iter()
        .map(|key| set(key.as_bytes(), key.as_bytes()))
        .collect();
    ops.extend([del(b"old"), Op::Get { key: b"old" }, del(b"never was")]);
    let BatchOutcome::Done(outcomes) = driver.atomic(&ops) else {
        return assert_eq!(driver.atomic(&ops), BatchOutcome::Done(Vec::new()));
    };
    assert_eq!(outcomes.len(), ops.len());
    let end = [
        OwnedOutcome::Deleted { previous: None },
        OwnedOutcome::Missing,
        OwnedOutcome::Missing,
    ];
    assert!(outcomes.ends_with(&end));
    for key in &keys {
        assert_eq!(
            driver.get(key.as_bytes()).map(|entry| entry.value),
            Some(Bytes::from(key.clone()))
        );
    }
    assert_eq!(driver.engine.stats().keys, 300);
}

fn a_failed_condition_applies_nothing(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let first = driver.set(b"a", b"1");
    let memory = driver.engine.stats().memory_bytes;
    let expiry = Expiry::Never;
    for (condition, version) in [
        (Condition::Absent, first),
        (Condition::Version(first + 9), first),
    ] {
        let ops = [
            set(b"b", b"2"),
            del(b"a"),
            incr(b"c", 1),
            Op::Set {
                key: b"d",
                value: Value::Inline(b"4"),
                content_type: 0,
                expiry,
                condition: Condition::Absent,
                previous: false,
            },
        ];
        let failing = Op::Touch {
            key: b"a",
            expiry,
            condition,
        };
        let mut with_first = vec![failing];
        with_first.extend(ops);
        let outcome = OwnedOutcome::Conflict { version };
        assert_eq!(
            driver.atomic(&with_first),
            BatchOutcome::Refused { index: 0, outcome }
        );
        let mut with_last = ops.to_vec();
        with_last.push(failing);
        // `a` is deleted by then: a third time, which finds nothing to delete.
        with_last.push(Op::Del {
            key: b"a",
            condition: Condition::Present,
            previous: false,
        });
        let refused = driver.atomic(&with_last);
        assert!(
            matches!(refused, BatchOutcome::Refused { index: 4 | 5, .. }),
            "{refused:?}"
        );
    }
    for key in [b"b", b"c", b"d"] {
        assert_eq!(driver.get(key), None);
    }
    assert_eq!(driver.get(b"a").map(|entry| entry.version), Some(first));
    assert_eq!(driver.engine.stats().keys, 1);
    assert!(
        driver.engine.stats().memory_bytes <= memory + 64 * 1024,
        "no memory is lost"
    );
}

fn a_wrong_type_applies_nothing(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    driver.set(b"text", b"x");
    let refused = driver.atomic(&[set(b"a", b"1"), incr(b"text", 1)]);
    assert_eq!(
        refused,
        BatchOutcome::Refused {
            index: 1,
            outcome: OwnedOutcome::WrongType
        }
    );
    assert_eq!(driver.get(b"a"), None);
}

fn a_batch_may_touch_a_key_twice(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let key = b"key".as_slice();
    let expiry = Expiry::Never;
    let create = Op::Set {
        key,
        value: Value::Inline(b"1"),
        content_type: 0,
        expiry,
        condition: Condition::Absent,
        previous: true,
    };
    let BatchOutcome::Done(outcomes) = driver.atomic(&[
        create,
        incr(key, 1),
        Op::Get { key },
        Op::Del {
            key,
            condition: Condition::Present,
            previous: true,
        },
        create,
        incr(key, 10),
    ]) else {
        return assert_eq!(driver.get(key), None, "the batch must be applied");
    };
    let mut versions = Vec::new();
    for outcome in &outcomes {
        match outcome {
            OwnedOutcome::Written {
                version, previous, ..
            } => {
                assert_eq!(*previous, None);
                versions.push(*version);
            }
            OwnedOutcome::Counted { version, .. } => versions.push(*version),
            OwnedOutcome::Found(entry) => assert_eq!(&*entry.value, b"2"),
            OwnedOutcome::Deleted { previous } => {
                assert_eq!(
                    previous.as_ref().map(|entry| &*entry.value),
                    Some(b"2".as_slice())
                );
            }
            other => assert_eq!(*other, OwnedOutcome::Missing),
        }
    }
    assert_eq!(versions.len(), 4);
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert_eq!(
        driver.get(key).map(|entry| entry.value),
        Some(Bytes::from_static(b"11"))
    );
    let twice = driver.atomic(&[del(key), create, create]);
    assert!(
        matches!(twice, BatchOutcome::Refused { index: 2, .. }),
        "{twice:?}"
    );
    assert_eq!(
        driver.get(key).map(|entry| entry.value),
        Some(Bytes::from_static(b"11"))
    );
}

fn a_batch_that_is_not_atomic_goes_on_after_a_conflict(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let fails = Op::Del {
        key: b"a",
        condition: Condition::Present,
        previous: false,
    };
    let BatchOutcome::Done(outcomes) = driver.submit(&[fails, set(b"b", b"2")], false) else {
        return assert_eq!(driver.get(b"a"), None, "the batch must be executed");
    };
    assert_eq!(
        outcomes.first(),
        Some(&OwnedOutcome::Conflict { version: 0 })
    );
    assert!(driver.get(b"b").is_some());
}

fn an_empty_batch_is_applied(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    assert_eq!(driver.atomic(&[]), BatchOutcome::Done(Vec::new()));
    assert_eq!(driver.submit(&[], true), BatchOutcome::Done(Vec::new()));
    assert_eq!(driver.submit(&[], false), BatchOutcome::Done(Vec::new()));
    assert!(driver.run(&[]).is_empty());
}
