//! Operations that clients name: one effect, however often they come.

use super::driver::{Driver, del_if, incr, set, set_if, touch, version};
use crate::{BatchOutcome, Condition, Engine, Expiry, Op, OperationId, OwnedOutcome, StoreError};
use std::sync::{Arc, Barrier};
use std::thread;

super::list_cases![
    a_repeat_has_no_effect_and_the_first_answer,
    a_repeat_of_a_batch_has_the_first_answers,
    operations_of_two_clients_are_two,
    operations_may_arrive_out_of_order,
    numbers_below_the_window_have_expired,
    an_answer_is_kept_for_a_day,
    what_failed_without_a_change_may_be_repeated,
    a_value_too_long_to_be_kept_is_not_given_twice,
    many_at_once_have_one_effect,
];

/// The numbers of one client that are remembered.
const WINDOW: u64 = 1_024;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

const EXPIRED: BatchOutcome = BatchOutcome::Failed(StoreError::OperationExpired);

const fn id(client: u8, number: u64) -> OperationId {
    OperationId {
        client: [client; 16],
        number,
    }
}

fn count(driver: &Driver<'_>, id: OperationId) -> BatchOutcome {
    driver.submit_named(&[incr(b"n", 1)], false, id)
}

/// What the counter stands at.
#[track_caller]
fn counter(driver: &Driver<'_>) -> i64 {
    match driver.one(incr(b"n", 0)) {
        OwnedOutcome::Counted { value, .. } => value,
        other => {
            assert_eq!(other, OwnedOutcome::Missing, "a counter counts");
            0
        }
    }
}

fn a_repeat_has_no_effect_and_the_first_answer(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let first = driver.set(b"key", b"1");
    let later = Expiry::At(driver.after(1_000_000));
    let ops = [
        set_if(b"key", b"2", Condition::Version(first)),
        set_if(b"key", b"3", Condition::Version(first)),
        incr(b"key", 5),
        touch(b"key", later, Condition::Always),
        Op::Get { key: b"key" },
        del_if(b"key", Condition::Present),
        del_if(b"key", Condition::Always),
        set(b"text", b"x"),
        incr(b"text", 1),
        incr(b"key", 5),
    ];
    let answers: Vec<_> = (0..)
        .zip(&ops)
        .map(|(number, op)| driver.submit_named(&[*op], false, id(1, number)))
        .collect();
    let stats = engine.stats();
    let before = (driver.get(b"key"), driver.get(b"text"));
    for _ in 0..2 {
        for ((number, op), answer) in (0..).zip(&ops).zip(&answers) {
            let again = driver.submit_named(&[*op], false, id(1, number));
            assert_eq!(again, *answer, "{op:?}");
        }
    }
    assert_eq!((driver.get(b"key"), driver.get(b"text")), before);
    assert_eq!(engine.stats().version, stats.version, "nothing is written");
    let other = driver.submit_named(&[set(b"key", b"other")], false, id(1, 2));
    assert_eq!(Some(&other), answers.get(2), "the name is what counts");
}

fn a_repeat_of_a_batch_has_the_first_answers(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    driver.set(b"text", b"x");
    let good = [
        incr(b"n", 1),
        set(b"a", b"1"),
        incr(b"n", 1),
        Op::Get { key: b"a" },
    ];
    let bad = [incr(b"n", 1), incr(b"text", 1)];
    let refused = BatchOutcome::Refused {
        index: 1,
        outcome: OwnedOutcome::WrongType,
    };
    for atomic in [true, false] {
        let number = u64::from(atomic) * 2;
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push((
                driver.submit_named(&good, atomic, id(1, number)),
                driver.submit_named(&bad, atomic, id(1, number + 1)),
            ));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().any(|(_, bad)| *bad == refused), atomic);
    }
    assert_eq!(counter(&driver), 2 + 2 + 1);
}

fn operations_of_two_clients_are_two(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for _ in 0..2 {
        for client in 0..5 {
            let _answer = count(&driver, id(client, 7));
        }
    }
    assert_eq!(counter(&driver), 5);
}

fn operations_may_arrive_out_of_order(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    // 7 and 300 have no divisor in common: each number comes once.
    let numbers = (0..300).map(|turn| 10 + turn * 7 % 300);
    let answers: Vec<_> = numbers
        .clone()
        .map(|number| count(&driver, id(1, number)))
        .collect();
    assert_eq!(counter(&driver), 300);
    for (number, answer) in numbers.zip(answers) {
        assert_eq!(count(&driver, id(1, number)), answer);
    }
    assert_eq!(counter(&driver), 300);
}

fn numbers_below_the_window_have_expired(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let last = WINDOW + 50;
    let answers: Vec<_> = (0..=last)
        .map(|number| count(&driver, id(1, number)))
        .collect();
    let counted = counter(&driver);
    for (number, answer) in (0..=last).zip(answers) {
        let again = count(&driver, id(1, number));
        if number + WINDOW <= last {
            assert_eq!(again, EXPIRED, "{number}");
        } else {
            assert_eq!(again, answer, "{number}");
        }
    }
    assert_eq!(counter(&driver), counted);
}

fn an_answer_is_kept_for_a_day(engine: Arc<dyn Engine>) {
    let mut driver = Driver::new(&*engine);
    let answer = count(&driver, id(1, 1));
    driver.now = driver.now.plus_ms(DAY_MS - 1);
    assert_eq!(count(&driver, id(1, 1)), answer);
    driver.now = driver.now.plus_ms(1);
    assert_eq!(count(&driver, id(1, 1)), EXPIRED);
    // The clock goes back, the answer does not come back.
    driver.now = Driver::new(&*engine).now;
    assert_eq!(count(&driver, id(1, 1)), EXPIRED);
    assert_eq!(counter(&driver), 1);
    assert_ne!(count(&driver, id(1, 2)), EXPIRED);
    assert_eq!(counter(&driver), 2);
}

fn what_failed_without_a_change_may_be_repeated(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let failed = OwnedOutcome::Failed(StoreError::KeyLength);
    for atomic in [false, true] {
        let id = id(1, u64::from(atomic));
        let answer = driver.submit_named(&[set(b"", b"value")], atomic, id);
        assert!(
            answer == BatchOutcome::Done(vec![failed.clone()])
                || matches!(&answer, BatchOutcome::Refused { outcome, .. } if *outcome == failed),
            "{answer:?}"
        );
        for _ in 0..2 {
            let _answer = driver.submit_named(&[incr(b"n", 1)], atomic, id);
        }
    }
    assert_eq!(counter(&driver), 2);
}

fn a_value_too_long_to_be_kept_is_not_given_twice(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let long = vec![7; 100_000];
    driver.set(b"key", &long);
    let ops = [
        set_if(b"key", b"new", Condition::Always),
        Op::Get { key: b"key" },
    ];
    let [first, second, third] = [(); 3].map(|()| driver.submit_named(&ops, true, id(1, 1)));
    let BatchOutcome::Done(outcomes) = &first else {
        return assert_eq!(first, BatchOutcome::Done(Vec::new()), "it is applied");
    };
    let previous = outcomes.first().and_then(|outcome| match outcome {
        OwnedOutcome::Written { previous, .. } => previous.as_ref(),
        _ => None,
    });
    assert!(previous.is_some_and(|entry| entry.value == long));
    let mut kept = outcomes.clone();
    if let Some(first) = kept.first_mut() {
        *first = OwnedOutcome::Failed(StoreError::OperationExpired);
    }
    let kept = BatchOutcome::Done(kept);
    assert_eq!((second, third), (kept.clone(), kept), "the rest is known");
    let written = driver.get(b"key").map(|entry| entry.version);
    let answered = outcomes.first().map(version);
    assert_eq!(written, answered, "it is written once");
}

fn many_at_once_have_one_effect(engine: Arc<dyn Engine>) {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 200;
    let barrier = Barrier::new(THREADS);
    let answers: Vec<Vec<BatchOutcome>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let driver = Driver::new(&*engine);
                    let round = |number| {
                        barrier.wait();
                        count(&driver, id(1, number))
                    };
                    (0..ROUNDS).map(round).collect()
                })
            })
            .collect();
        let answers = threads.into_iter().map(thread::ScopedJoinHandle::join);
        answers.map(Result::unwrap_or_default).collect()
    });
    let first = answers.first().cloned().unwrap_or_default();
    assert_eq!(first.len() as u64, ROUNDS);
    assert!(answers.iter().all(|answers| *answers == first));
    let driver = Driver::new(&*engine);
    assert_eq!(counter(&driver).unsigned_abs(), ROUNDS);
}
