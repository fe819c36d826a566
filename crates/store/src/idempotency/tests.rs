//! Windows beside a record of everything that ever happened.

use super::*;
use crate::OwnedEntry;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const HOUR: u64 = 60 * 60 * 1_000;
const START: Now = Now::from_unix_ms(1_000_000_000_000);

fn id(client: u8, number: u64) -> OperationId {
    OperationId {
        client: [client; 16],
        number,
    }
}

fn counted(value: i64) -> BatchOutcome {
    BatchOutcome::Done(vec![OwnedOutcome::Counted {
        value,
        version: 7,
        expires_at: None,
    }])
}

fn found(bytes: usize) -> BatchOutcome {
    BatchOutcome::Done(vec![OwnedOutcome::Found(OwnedEntry {
        value: Bytes::from(vec![1; bytes]),
        version: 1,
        expires_at: None,
        content_type: 0,
    })])
}

fn record(windows: &mut Windows, now: Now, id: OperationId) {
    windows.record(now, id, &counted(1), Position::START);
}

fn is_repeat(windows: &Windows, now: Now, id: OperationId) -> bool {
    matches!(windows.check(now, id), Verdict::Repeat(..))
}

#[derive(Clone, Debug)]
enum Act {
    /// An operation arrives, with a number this far from the client's highest.
    Arrive(u8, i64),
    /// Time passes.
    Wait(u64),
    /// Everything is dumped and loaded into new windows.
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let distance = prop_oneof![
        20 => Just(1_i64),
        10 => -8_i64..8,
        4 => -1_100_i64..1_100,
        1 => -3_000_i64..3_000,
    ];
    prop_oneof![
        60 => (0_u8..3, distance).prop_map(|(client, distance)| Act::Arrive(client, distance)),
        2 => (0..26 * HOUR).prop_map(Act::Wait),
        1 => Just(Act::Reload),
    ]
}

/// All that was ever answered, with the time.
#[derive(Default)]
struct History {
    answers: BTreeMap<(u8, u64), (Now, i64)>,
    first: BTreeMap<u8, u64>,
    highest: BTreeMap<u8, u64>,
}

impl History {
    fn highest(&self, client: u8) -> u64 {
        self.highest.get(&client).copied().unwrap_or(5_000)
    }

    /// Whether an answer at or above `number` is so old that it may be forgotten.
    fn may_be_forgotten(&self, now: Now, client: u8, number: u64) -> bool {
        let mut above = self.answers.range((client, number)..=(client, u64::MAX));
        above.any(|(_, (at, _))| at.plus_ms(KEPT_MS) <= now)
    }

    /// Whether the window reaches down to `number`.
    fn in_window(&self, client: u8, number: u64) -> bool {
        let first = self.first.get(&client).copied().unwrap_or(number);
        number + WINDOW > self.highest(client).max(first)
    }
}

/// Has everything arrive, checks each verdict, and says what was right.
fn play(mut windows: Windows, acts: Vec<Act>, roomy: bool) -> Result<(), TestCaseError> {
    let bytes_max = windows.bytes_max;
    let mut now = START;
    let mut history = History::default();
    for (turn, act) in (0..).zip(acts) {
        match act {
            Act::Wait(ms) => now = now.plus_ms(ms),
            Act::Reload => {
                let mut loaded = Windows::new(bytes_max);
                for client in 0..3 {
                    if let Some(dump) = windows.dump([client; 16], Position::END) {
                        loaded.load([client; 16], &dump).unwrap();
                        prop_assert_eq!(loaded.dump([client; 16], Position::END), Some(dump));
                    }
                }
                prop_assert!(loaded.bytes() <= windows.bytes());
                windows = loaded;
            }
            Act::Arrive(client, distance) => {
                let number = history.highest(client).saturating_add_signed(distance);
                let id = id(client, number);
                let past = history.answers.get(&(client, number)).copied();
                let sure = roomy
                    && history.in_window(client, number)
                    && !history.may_be_forgotten(now, client, number);
                match windows.check(now, id) {
                    Verdict::New => prop_assert_eq!(past, None, "applied once"),
                    Verdict::Expired => {
                        prop_assert!(!sure, "{:?} is in the window", id);
                        prop_assert!(number <= history.highest(client), "what is above is new");
                        continue;
                    }
                    Verdict::Repeat(stored, position) => {
                        let (at, turn) = past.unwrap();
                        prop_assert_eq!(stored.outcome(), Ok(counted(turn)));
                        prop_assert_eq!(position.get(), turn as u64);
                        prop_assert!(at.plus_ms(KEPT_MS) > now);
                        continue;
                    }
                }
                let position = Position::of_version(turn as u64);
                windows.record(now, id, &counted(turn), position);
                history.answers.insert((client, number), (now, turn));
                history.first.entry(client).or_insert(number);
                let highest = history.highest.entry(client).or_insert(number);
                *highest = number.max(*highest);
            }
        }
        prop_assert!(windows.bytes() <= bytes_max);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_operation_is_applied_twice_and_none_refused_without_need(acts in vec(act(), 1..1_500)) {
        play(Windows::new(1 << 24), acts, true)?;
    }

    #[test]
    fn none_is_applied_twice_when_little_fits_either(acts in vec(act(), 1..500)) {
        play(Windows::new(4_096), acts, false)?;
    }

    #[test]
    fn bytes_of_no_dump_change_nothing(
        numbers in vec(0_u64..50, 1..10),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut windows = Windows::new(1 << 20);
        for number in numbers {
            record(&mut windows, START, id(1, number));
        }
        let mut dump = windows.dump([1; 16], Position::END).unwrap();
        let len = dump.len();
        for (at, byte) in changes {
            dump[at.index(len)] = byte;
        }
        dump.truncate(cut.index(len) + 1);
        let before = windows.dump([1; 16], Position::END);
        match windows.load([1; 16], &dump) {
            Ok(()) => prop_assert_eq!(windows.dump([1; 16], Position::END), Some(dump)),
            Err(error) => {
                prop_assert_eq!(error, StoreError::Corrupt);
                prop_assert_eq!(windows.dump([1; 16], Position::END), before);
            }
        }
    }
}

#[test]
fn the_last_1024_numbers_are_remembered_and_those_before_have_expired() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    for number in 0..5_000 {
        record(&mut windows, START, id(1, number));
    }
    for number in 0..5_000 {
        let verdict = windows.check(START, id(1, number));
        if number < 5_000 - WINDOW {
            assert_eq!(verdict, Verdict::Expired);
        } else {
            assert!(matches!(verdict, Verdict::Repeat(..)), "{number}");
        }
    }
    assert_eq!(windows.check(START, id(1, 5_000)), Verdict::New);
    assert_eq!(windows.check(START, id(2, 0)), Verdict::New);
}

#[test]
fn a_number_that_arrives_late_is_new_while_the_window_reaches_it() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    record(&mut windows, START, id(1, 2_000));
    assert_eq!(windows.check(START, id(1, 977)), Verdict::New);
    assert_eq!(windows.check(START, id(1, 976)), Verdict::Expired);
    record(&mut windows, START, id(1, 977));
    record(&mut windows, START, id(1, 2_001));
    assert_eq!(windows.check(START, id(1, 977)), Verdict::Expired);
    assert_eq!(windows.check(START, id(1, 1_999)), Verdict::New);
    assert!(is_repeat(&windows, START, id(1, 2_000)));
}

#[test]
fn answers_expire_after_a_day_and_are_not_new_again() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    for number in 0..10 {
        record(&mut windows, START, id(1, number));
    }
    assert!(is_repeat(&windows, START.plus_ms(KEPT_MS - 1), id(1, 3)));
    let later = START.plus_ms(KEPT_MS);
    assert_eq!(windows.check(later, id(1, 3)), Verdict::Expired);
    for number in 0..10 {
        record(&mut windows, later, id(2, number));
    }
    assert_eq!(windows.records.len(), 10, "the old ones are gone");
    assert_eq!(windows.check(later, id(1, 3)), Verdict::Expired);
    assert_eq!(windows.check(later, id(1, 10)), Verdict::New);
}

#[test]
fn the_highest_number_there_is_is_applied_once() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    record(&mut windows, START, id(1, u64::MAX));
    assert!(is_repeat(&windows, START, id(1, u64::MAX)));
    let later = START.plus_ms(KEPT_MS);
    record(&mut windows, later, id(2, 0));
    assert_eq!(windows.records.len(), 1);
    assert_eq!(windows.check(later, id(1, u64::MAX)), Verdict::Expired);
}

#[test]
fn what_was_answered_first_goes_first() {
    let mut windows = Windows::new(100_000);
    for turn in 0..2_000 {
        record(
            &mut windows,
            START,
            id(u8::try_from(turn % 8).unwrap(), turn / 8),
        );
        assert!(windows.bytes() <= 100_000);
    }
    let kept = windows.records.len() as u64;
    assert!(kept > 500, "{kept}");
    for turn in 0..2_000 {
        let id = id(u8::try_from(turn % 8).unwrap(), turn / 8);
        let repeat = is_repeat(&windows, START, id);
        assert_eq!(repeat, turn >= 2_000 - kept, "{turn} of {kept}");
        assert!(repeat || windows.check(START, id) == Verdict::Expired);
    }
}

#[test]
fn long_answers_of_one_client_do_not_push_out_those_of_others() {
    let mut windows = Windows::new(1_000_000);
    record(&mut windows, START, id(1, 1));
    for number in 0..1_000 {
        windows.record(START, id(2, number), &found(10_000), Position::START);
    }
    assert!(is_repeat(&windows, START, id(1, 1)));
    assert!(is_repeat(&windows, START, id(2, 999)));
    assert_eq!(windows.check(START, id(2, 900)), Verdict::Expired);
    assert!(windows.bytes() < 300_000);
}

#[test]
fn an_answer_that_does_not_fit_is_not_kept_and_its_number_not_new() {
    let mut windows = Windows::new(10_000);
    windows.record(START, id(1, 5), &found(9_000), Position::START);
    assert_eq!(windows.check(START, id(1, 5)), Verdict::Expired);
    assert_eq!(windows.check(START, id(1, 6)), Verdict::New);
}

#[test]
fn a_client_without_answers_is_known_until_many_others_came() {
    let bytes_max = 40 * CLIENT_BYTES;
    let mut windows = Windows::new(bytes_max).tracking_changes();
    for client in 0..10 {
        windows.record(
            START,
            id(client, 3),
            &found(CLIENT_BYTES * 3),
            Position::START,
        );
        assert!(windows.bytes() <= bytes_max);
    }
    let known = |windows: &Windows| {
        (0..20_u8)
            .filter(|client| windows.check(START, id(*client, 3)) != Verdict::New)
            .collect::<Vec<_>>()
    };
    assert_eq!(known(&windows), (0..10).collect::<Vec<_>>());
    assert!(windows.records.len() < 10);
    assert_eq!(windows.take_changed().len(), 10);
    // Used again, the first is not the next to go.
    record(&mut windows, START, id(0, 4));
    record(&mut windows, START, id(10, 3));
    assert_eq!(known(&windows), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let changed = windows.take_changed();
    assert!(changed.contains(&[1; 16]), "what was kept of it can go");
    assert_eq!(windows.dump([1; 16], Position::END), None);
}

#[test]
fn a_client_that_stays_away_for_a_week_is_lost() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    record(&mut windows, START, id(1, 3));
    let week = START.plus_ms(CLIENT_KEPT_MS);
    record(&mut windows, START.plus_ms(CLIENT_KEPT_MS - 1), id(2, 3));
    assert_eq!(windows.check(week, id(1, 3)), Verdict::Expired);
    record(&mut windows, week, id(2, 4));
    assert_eq!(windows.check(week, id(1, 3)), Verdict::New);
    assert_eq!(windows.heads.len(), 1);
}

#[test]
fn sparse_numbers_are_charged_for_their_rings() {
    let mut windows = Windows::new(50_000);
    for client in 0..200 {
        record(&mut windows, START, id(client, 1));
        record(&mut windows, START, id(client, 513));
        assert!(windows.bytes() <= 50_000);
    }
    let rings: usize = (0..200)
        .filter_map(|client| windows.clients.get(&[client; 16]))
        .filter_map(|place| windows.heads.get(*place))
        .map(Client::ring_bytes)
        .sum();
    assert!(rings > 10_000 && rings < 50_000, "{rings}");
}

#[test]
fn a_dump_leaves_out_what_is_not_durable_and_comes_again() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT).tracking_changes();
    let at = Position::of_version;
    windows.record(START, id(1, 1), &counted(1), at(10));
    windows.record(START, id(1, 2), &counted(2), at(20));
    assert_eq!(windows.take_changed(), [[1; 16]]);
    assert_eq!(windows.take_changed(), [[0_u8; 16]; 0]);
    let dump = windows.dump([1; 16], at(19)).unwrap();
    assert_eq!(windows.take_changed(), [[1; 16]], "it is not complete");
    let mut loaded = Windows::new(WINDOWS_BYTES_DEFAULT).tracking_changes();
    loaded.load([1; 16], &dump).unwrap();
    assert!(loaded.take_changed().is_empty());
    assert!(is_repeat(&loaded, START, id(1, 1)));
    assert_eq!(loaded.check(START, id(1, 2)), Verdict::New);
    assert!(windows.dump([1; 16], at(20)).is_some());
    assert!(windows.take_changed().is_empty());
}

#[test]
fn replaying_a_log_over_what_was_loaded_changes_nothing() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    for number in 0..3_000 {
        record(&mut windows, START, id(1, number));
    }
    let dump = windows.dump([1; 16], Position::END).unwrap();
    let mut loaded = Windows::new(WINDOWS_BYTES_DEFAULT);
    loaded.load([1; 16], &dump).unwrap();
    for number in 1_500..3_000 {
        record(&mut loaded, START, id(1, number));
    }
    assert_eq!(loaded.dump([1; 16], Position::END), Some(dump));
    assert_eq!(loaded.bytes(), windows.bytes());
}

#[test]
fn loaded_answers_go_by_age_and_not_by_the_order_of_loading() {
    let mut windows = Windows::new(WINDOWS_BYTES_DEFAULT);
    for client in 0..4 {
        let now = START.plus_ms(u64::from(client) * HOUR);
        record(&mut windows, now, id(client, 1));
    }
    let mut loaded = Windows::new(WINDOWS_BYTES_DEFAULT);
    for client in [2, 0, 3, 1] {
        let dump = windows.dump([client; 16], Position::END).unwrap();
        loaded.load([client; 16], &dump).unwrap();
    }
    let later = START.plus_ms(KEPT_MS + HOUR);
    record(&mut loaded, later, id(9, 1));
    assert_eq!(loaded.records.len(), 3, "two are too old");
}

#[test]
fn only_answers_that_say_something_happened_are_final() {
    let full = OwnedOutcome::Failed(StoreError::OutOfMemory);
    let conflict = OwnedOutcome::Conflict { version: 1 };
    for (outcome, is) in [
        (BatchOutcome::Done(vec![full.clone()]), false),
        (
            BatchOutcome::Done(vec![full.clone(), OwnedOutcome::Missing]),
            true,
        ),
        (BatchOutcome::Failed(StoreError::Unavailable), false),
        (BatchOutcome::Failed(StoreError::OutcomeUnknown), true),
        (
            BatchOutcome::Refused {
                index: 0,
                outcome: full,
            },
            false,
        ),
        (
            BatchOutcome::Refused {
                index: 0,
                outcome: conflict,
            },
            true,
        ),
        (counted(1), true),
    ] {
        assert_eq!(is_final(&outcome), is, "{outcome:?}");
    }
}
