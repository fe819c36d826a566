use super::*;
use crate::history::Answer;
use crate::rng::Rng;

/// A history from lines of (client, ask, answer): each line begins, and a line with an answer for a
/// client that is under way ends.
struct Script(KeyHistory);

impl Script {
    fn new() -> Self {
        Self(KeyHistory::default())
    }

    fn one(&mut self, ask: Ask, answer: Answer) -> &mut Self {
        let id = self.0.begin(0, ask);
        self.0.end(id, answer);
        self
    }

    fn explained(&self) -> bool {
        match check(&self.0) {
            Ok(()) => true,
            Err(Verdict::Unexplained(_)) => false,
            Err(Verdict::TooMuchOpen) => panic!("not searched"),
        }
    }
}

const fn entry(number: i64, version: u64) -> Answer {
    Answer::Entry(Some((number, version)))
}

#[test]
fn one_after_the_other_is_explained() {
    let mut script = Script::new();
    script
        .one(Ask::Get, Answer::Entry(None))
        .one(Ask::Set(5), Answer::Written(3))
        .one(Ask::Get, entry(5, 3))
        .one(Ask::Incr(2), Answer::Sum(7))
        .one(Ask::Get, entry(7, 9))
        .one(
            Ask::Cas {
                version: 9,
                number: 1,
            },
            Answer::Written(10),
        )
        .one(
            Ask::Cas {
                version: 9,
                number: 2,
            },
            Answer::Conflict(10),
        )
        .one(Ask::Del, Answer::Deleted(true))
        .one(Ask::Del, Answer::Deleted(false))
        .one(
            Ask::Cas {
                version: 10,
                number: 2,
            },
            Answer::Conflict(0),
        )
        .one(
            Ask::Cas {
                version: 0,
                number: 4,
            },
            Answer::Written(12),
        )
        .one(Ask::Set(6), Answer::Refused)
        .one(Ask::Get, entry(4, 12));
    assert!(script.explained());
}

/// Canaries of the checker: faults, each planted at the end of a history.
const FAULTS: [(&str, &[(Ask, Answer)]); 8] = [
    (
        "a stale read",
        &[
            (Ask::Set(1), Answer::Written(1)),
            (Ask::Set(2), Answer::Written(2)),
            (Ask::Get, entry(1, 1)),
        ],
    ),
    (
        "an acknowledged write that is gone",
        &[
            (Ask::Set(1), Answer::Written(1)),
            (Ask::Get, Answer::Entry(None)),
        ],
    ),
    (
        "a version that goes back",
        &[
            (Ask::Set(1), Answer::Written(5)),
            (Ask::Set(2), Answer::Written(4)),
        ],
    ),
    (
        "a version that goes back over a removal",
        &[
            (Ask::Set(1), Answer::Written(5)),
            (Ask::Del, Answer::Deleted(true)),
            (Ask::Set(2), Answer::Written(5)),
        ],
    ),
    (
        "an entry that comes back",
        &[
            (Ask::Set(1), Answer::Written(5)),
            (Ask::Del, Answer::Deleted(true)),
            (Ask::Get, entry(1, 5)),
        ],
    ),
    (
        "an increment that counts twice",
        &[
            (Ask::Incr(1), Answer::Sum(1)),
            (Ask::Incr(1), Answer::Sum(3)),
        ],
    ),
    (
        "a condition that holds and is refused",
        &[
            (Ask::Set(1), Answer::Written(5)),
            (
                Ask::Cas {
                    version: 5,
                    number: 2,
                },
                Answer::Conflict(5),
            ),
        ],
    ),
    (
        "a refused write that took effect",
        &[(Ask::Set(1), Answer::Refused), (Ask::Get, entry(1, 1))],
    ),
];

#[test]
fn planted_faults_are_found() {
    for (name, operations) in FAULTS {
        let mut script = Script::new();
        for (ask, answer) in operations {
            script.one(*ask, *answer);
        }
        assert!(!script.explained(), "{name} is not found");
    }
}

#[test]
fn what_overlaps_may_have_happened_in_any_order() {
    // The later version is the later write, whoever was answered first.
    for (versions, last) in [([1, 2], 20), ([2, 1], 10)] {
        for read in [10, 20] {
            let mut history = KeyHistory::default();
            let a = history.begin(0, Ask::Set(10));
            let b = history.begin(1, Ask::Set(20));
            history.end(a, Answer::Written(versions[0]));
            history.end(b, Answer::Written(versions[1]));
            let id = history.begin(2, Ask::Get);
            history.end(id, entry(read, 2));
            assert_eq!(check(&history).is_ok(), read == last, "{versions:?} {read}");
        }
    }
}

#[test]
fn an_unknown_outcome_may_show_later_or_never() {
    let with = |answers: [Answer; 2]| {
        let mut history = KeyHistory::default();
        let unknown = history.begin(0, Ask::Set(9));
        history.end(unknown, Answer::Unknown);
        for answer in answers {
            let id = history.begin(1, Ask::Get);
            history.end(id, answer);
        }
        check(&history).is_ok()
    };
    assert!(with([Answer::Entry(None), entry(9, 4)]));
    assert!(with([entry(9, 4), entry(9, 4)]));
    assert!(with([Answer::Entry(None), Answer::Entry(None)]));
    assert!(!with([entry(9, 4), Answer::Entry(None)]));
    assert!(!with([entry(9, 4), entry(9, 5)]));
}

#[test]
fn an_unknown_outcome_does_not_show_after_the_server_is_gone() {
    let mut history = KeyHistory::default();
    let unknown = history.begin(0, Ask::Set(9));
    history.end(unknown, Answer::Unknown);
    history.gone();
    let first = history.begin(1, Ask::Get);
    history.end(first, Answer::Entry(None));
    assert!(check(&history).is_ok());
    let second = history.begin(1, Ask::Get);
    history.end(second, entry(9, 4));
    let Err(Verdict::Unexplained(what)) = check(&history) else {
        panic!("it came back from nowhere");
    };
    assert!(what.operation.contains("Get"), "{what}");
    assert_eq!(what.states.len(), 1, "{what}");
}

/// A correct register under eight clients, whose steps a generator interleaves; then the same with
/// one answer made stale.
fn generated(rng: &mut Rng, operations: usize, fault: Option<usize>) -> KeyHistory {
    let mut history = KeyHistory::default();
    let mut under_way: Vec<Option<(OpId, Ask, Option<Answer>)>> = vec![None; 8];
    let mut state: Option<(i64, u64)> = None;
    let mut older = None;
    let mut position = 0_u64;
    let mut begun = 0;
    let mut reads = 0;
    while begun < operations || under_way.iter().any(Option::is_some) {
        let client = rng.below(8);
        match &mut under_way[client] {
            slot @ None if begun < operations => {
                begun += 1;
                let ask = match rng.below(4) {
                    0 => Ask::Get,
                    1 => Ask::Set(begun.cast_signed() as i64 * 1000),
                    2 => Ask::Incr(1),
                    _ => Ask::Del,
                };
                *slot = Some((history.begin(client, ask), ask, None));
            }
            None => {}
            // The moment of its effect, then that of its answer.
            Some((_, ask, answer @ None)) => {
                position += 1;
                let before = state;
                *answer = Some(match ask {
                    Ask::Get => {
                        reads += 1;
                        Answer::Entry(if fault == Some(reads) { older } else { state })
                    }
                    Ask::Set(number) => {
                        state = Some((*number, position));
                        Answer::Written(position)
                    }
                    Ask::Incr(by) => {
                        let sum = state.map_or(0, |(number, _)| number) + *by;
                        state = Some((sum, position));
                        Answer::Sum(sum)
                    }
                    _ => {
                        state = None;
                        Answer::Deleted(before.is_some())
                    }
                });
                if *ask != Ask::Get && before.is_some() {
                    older = older.or(before);
                }
            }
            slot @ Some((_, _, Some(_))) => {
                if let Some((id, _, Some(answer))) = slot.take() {
                    history.end(id, answer);
                }
            }
        }
    }
    history
}

#[test]
fn long_histories_of_eight_clients_are_judged() {
    for seed in crate::rng::seeds(20) {
        let rng = &mut Rng::new(seed);
        let good = generated(rng, 2_000, None);
        assert_eq!(check(&good), Ok(()), "KV_TEST_SEED={seed}");
        let bad = generated(rng, 2_000, Some(200));
        assert!(check(&bad).is_err(), "KV_TEST_SEED={seed}");
    }
}
