//! What expires is gone, for everybody and for good.

use super::driver::{Driver, del, del_if, incr, set, set_if, set_until, touch, version};
use crate::{BatchOutcome, Condition, Engine, Expiry, Now, Op, OwnedOutcome, OwnedRange};
use std::sync::Arc;

super::list_cases![
    an_expired_entry_is_absent_for_every_operation,
    an_entry_lives_until_its_last_millisecond,
    a_clock_that_goes_back_revives_nothing,
    overwriting_drops_the_expiry_unless_it_is_kept,
    sweeping_removes_what_has_expired_and_nothing_else,
    a_sweep_keeps_its_budget_and_reaches_everything,
    expired_entries_are_not_scanned,
];

type Expected = fn(&OwnedOutcome) -> bool;

fn an_expired_entry_is_absent_for_every_operation(engine: Arc<dyn Engine>) {
    let missing: Expected = |outcome| *outcome == OwnedOutcome::Missing;
    let conflict: Expected = |outcome| *outcome == OwnedOutcome::Conflict { version: 0 };
    let counted: Expected = |outcome| {
        matches!(
            outcome,
            OwnedOutcome::Counted {
                value: 3,
                expires_at: None,
                ..
            }
        )
    };
    let written: Expected = |outcome| {
        matches!(
            outcome,
            OwnedOutcome::Written {
                previous: None,
                expires_at: None,
                ..
            }
        )
    };
    let key = b"key".as_slice();
    let mut driver = Driver::new(&*engine);
    for (op, expected) in [
        (Op::Get { key }, missing),
        (del(key), missing),
        (touch(key, Expiry::Never, Condition::Always), missing),
        (incr(key, 3), counted),
        (set_if(key, b"1", Condition::Absent), written),
        (del_if(key, Condition::Present), conflict),
    ] {
        for atomic in [false, true] {
            version(&driver.one(set_until(key, b"40", Expiry::At(driver.after(10)))));
            assert!(driver.get(key).is_some());
            driver.now = driver.now.plus_ms(10);
            let outcome = if atomic {
                only(driver.atomic(&[op]))
            } else {
                driver.one(op)
            };
            assert!(expected(&outcome), "{op:?}: {outcome:?}");
            let _gone = driver.one(del(key));
        }
    }
}

/// The outcome of the only operation of a batch.
fn only(batch: BatchOutcome) -> OwnedOutcome {
    match batch {
        BatchOutcome::Done(mut outcomes) => outcomes.pop().unwrap_or(OwnedOutcome::WrongType),
        BatchOutcome::Refused { outcome, .. } => outcome,
        BatchOutcome::Failed(error) => OwnedOutcome::Failed(error),
    }
}

fn an_entry_lives_until_its_last_millisecond(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    version(&driver.one(set_until(b"key", b"value", Expiry::At(driver.after(10)))));
    driver.now = driver.now.plus_ms(9);
    assert!(driver.get(b"key").is_some());
    driver.now = driver.now.plus_ms(1);
    assert_eq!(driver.get(b"key"), None);
    for past in [0, 1, driver.now.unix_ms()] {
        version(&driver.one(set_until(b"past", b"value", Expiry::At(past))));
        assert_eq!(driver.get(b"past"), None, "already expired when it was set");
    }
}

fn a_clock_that_goes_back_revives_nothing(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    let start = driver.now;
    version(&driver.one(set_until(b"key", b"value", Expiry::At(driver.after(10)))));
    driver.now = start.plus_ms(10);
    assert_eq!(driver.get(b"other"), None, "the engine has seen the time");
    driver.now = start;
    assert_eq!(driver.get(b"key"), None);
    driver.now = Now::from_unix_ms(0);
    assert_eq!(driver.get(b"key"), None);
    let all = OwnedRange::default();
    assert!(driver.scan(&all, 10).is_empty());
}

fn overwriting_drops_the_expiry_unless_it_is_kept(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let at = driver.after(1_000);
    let expires_at = |key: &[u8]| driver.get(key)?.expires_at.map(std::num::NonZeroU64::get);
    for (expiry, expected) in [
        (Expiry::Never, None),
        (Expiry::Keep, Some(at)),
        (Expiry::At(at + 1), Some(at + 1)),
    ] {
        version(&driver.one(set_until(b"key", b"1", Expiry::At(at))));
        version(&driver.one(set_until(b"key", b"2", expiry)));
        assert_eq!(expires_at(b"key"), expected, "Set with {expiry:?}");
        version(&driver.one(set_until(b"key", b"1", Expiry::At(at))));
        let op = Op::Incr {
            key: b"key",
            delta: 1,
            expiry,
            condition: Condition::Always,
        };
        version(&driver.one(op));
        assert_eq!(expires_at(b"key"), expected, "Incr with {expiry:?}");
    }
}

fn sweeping_removes_what_has_expired_and_nothing_else(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    for n in 0_u64..600 {
        let expiry = match n % 3 {
            0 => Expiry::Never,
            1 => Expiry::At(driver.after(10)),
            _ => Expiry::At(driver.after(1_000)),
        };
        version(&driver.one(set_until(n.to_string().as_bytes(), b"value", expiry)));
    }
    assert_eq!(driver.engine.sweep(driver.now, 10_000), 0, "nothing is due");
    driver.now = driver.now.plus_ms(10);
    assert_eq!(driver.engine.sweep(driver.now, 10_000), 200);
    assert_eq!(driver.engine.sweep(driver.now, 10_000), 0);
    let stats = driver.engine.stats();
    assert_eq!((stats.keys, stats.expired_total), (400, 200));
    for n in 0_u64..600 {
        assert_eq!(
            driver.get(n.to_string().as_bytes()).is_some(),
            n % 3 != 1,
            "{n}"
        );
    }
}

fn a_sweep_keeps_its_budget_and_reaches_everything(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    for n in 0_u64..500 {
        let expiry = Expiry::At(driver.after(1 + n % 2));
        version(&driver.one(set_until(n.to_string().as_bytes(), b"value", expiry)));
    }
    driver.set(b"stays", b"value");
    driver.now = driver.now.plus_ms(2);
    assert_eq!(driver.engine.sweep(driver.now, 0), 0);
    let mut removed = 0;
    for _ in 0..10_000 {
        let step = driver.engine.sweep(driver.now, 7);
        assert!(step <= 7, "{step} removed with a budget of 7");
        removed += step;
    }
    assert_eq!(removed, 500);
    assert_eq!(driver.engine.stats().keys, 1);
}

fn expired_entries_are_not_scanned(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    for n in 0_u64..100 {
        let expiry = if n < 90 {
            Expiry::At(driver.after(10))
        } else {
            Expiry::Never
        };
        let key = format!("{n:03}");
        version(&driver.one(set_until(key.as_bytes(), b"value", expiry)));
    }
    let all = OwnedRange::default();
    assert_eq!(driver.scan(&all, 7).len(), 100);
    driver.now = driver.now.plus_ms(10);
    let rest = driver.scan(&all, 3);
    assert_eq!(rest.len(), 10);
    assert!(rest.iter().all(|(key, _)| key.starts_with(b"09")));
    version(&driver.one(set(b"000", b"again")));
    assert_eq!(driver.scan(&all, 3).len(), 11);
}
