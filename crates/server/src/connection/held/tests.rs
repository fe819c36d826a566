//! Replies come out when they may, as they went in, and nothing is left of them.

use proptest::prelude::*;

use super::*;

/// A reply to `id` whose bytes are made of its id, and of this size.
fn push(held: &mut Held, id: u32, after: u64, len: usize, deadline: Option<Instant>) {
    let note = Note {
        opcode: Opcode::Get,
        request_id: id,
        after: Position::of_version(after),
        since: Instant::now(),
        deadline,
    };
    held.push(note, |out| {
        let value = value(id, len);
        let shared = Bytes::from(value.clone());
        let value = if len > INLINE_VALUE_BYTES_MAX {
            Value::Shared(&shared)
        } else {
            Value::Inline(&value)
        };
        let head = FrameHead::new(Opcode::Ok, id);
        out.frame(head, &id.to_be_bytes(), b"key", value);
        Answered {
            code: None,
            missing: false,
            applied: false,
        }
    });
}

fn value(id: u32, len: usize) -> Vec<u8> {
    id.to_be_bytes().into_iter().cycle().take(len).collect()
}

/// The ids that come out, with what they waited for and whether they are cancelled; their bytes are
/// checked.
fn release(held: &mut Held, through: u64) -> Vec<(u32, u64, bool)> {
    let mut out = Vec::new();
    let count = held.release(Position::of_version(through), |reply, body| {
        let id = reply.note.request_id;
        assert_eq!((body.head.request_id, body.key), (id, &b"key"[..]));
        assert_eq!(body.ext, id.to_be_bytes());
        assert_eq!(body.value.as_slice(), value(id, body.value.len()));
        out.push((id, reply.note.after.get(), reply.cancelled));
    });
    assert_eq!(count, out.len());
    out
}

#[test]
fn what_depends_on_less_leaves_first_and_the_rest_in_order() {
    let mut held = Held::default();
    for (id, after) in [(1, 5), (2, 6), (3, 5), (4, 6), (5, 9), (6, 4)] {
        push(&mut held, id, after, 10, None);
    }
    assert_eq!(held.first(), Some(Position::of_version(4)));
    assert!(release(&mut held, 3).is_empty());
    assert_eq!(
        release(&mut held, 5),
        [(6, 4, false), (1, 5, false), (3, 5, false)]
    );
    assert_eq!(release(&mut held, 8), [(2, 6, false), (4, 6, false)]);
    assert_eq!(held.len(), 1);
    assert_eq!(release(&mut held, 9), [(5, 9, false)]);
    assert_eq!((held.highest_id(), held.bytes()), (0, 0));
}

#[test]
fn a_large_value_is_shared_and_counted() {
    let mut held = Held::default();
    push(&mut held, 1, 1, 1 << 20, None);
    push(&mut held, 2, 1, 0, None);
    assert!(held.bytes() > 1 << 20 && held.bytes() < (1 << 20) + 100);
    assert!(held.arena.len() < 100);
    release(&mut held, 1);
    assert_eq!((held.bytes(), held.len()), (0, 0));
}

#[test]
fn the_bytes_of_what_has_left_are_not_kept() {
    let mut held = Held::default();
    push(&mut held, 1, 1, 100, None);
    for id in 2..20_000 {
        push(&mut held, id, u64::from(id), 100, None);
        assert_eq!(release(&mut held, u64::from(id) - 1).len(), 1);
        assert!(held.held_bytes() < 64 * 1024);
    }
}

#[test]
fn ids_are_told_apart_also_when_they_begin_anew() {
    let mut held = Held::default();
    push(&mut held, u32::MAX, 1, 1, None);
    push(&mut held, 1, 2, 1, None);
    push(&mut held, 7, 3, 1, None);
    assert!(held.contains(u32::MAX) && held.contains(7) && !held.contains(2));
    release(&mut held, 1);
    assert!(!held.contains(u32::MAX) && held.contains(1));
    release(&mut held, 3);
    assert_eq!(held.highest_id(), 0);
}

#[test]
fn a_cancelled_reply_keeps_its_place_and_is_known_when_it_leaves() {
    let mut held = Held::default();
    push(&mut held, 1, 1, 1, None);
    push(&mut held, 2, 1, 1, Some(Instant::now()));
    assert!(held.cancel(2) && !held.cancel(2) && !held.cancel(3));
    assert!(held.contains(2));
    assert!(held.expire(Instant::now()).is_empty(), "it has its END");
    assert_eq!(release(&mut held, 1), [(1, 1, false), (2, 1, true)]);
    push(&mut held, 2, 2, 1, None);
    assert_eq!(release(&mut held, 2), [(2, 2, false)]);
}

#[test]
fn what_is_over_before_it_is_durable_is_dropped_once() {
    let mut held = Held::default();
    let now = Instant::now();
    let at = |ms| Some(now + std::time::Duration::from_millis(ms));
    push(&mut held, 1, 5, 10, at(20));
    push(&mut held, 2, 9, 20_000, at(10));
    push(&mut held, 3, 4, 10, at(10));
    push(&mut held, 4, 9, 10, None);
    assert_eq!(held.next_deadline(), at(10));
    assert!(held.expire(now).is_empty());
    let ids = |over: Vec<(Note, Answered)>| {
        let mut ids: Vec<_> = over.iter().map(|(note, _)| note.request_id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(held.expire(at(10).unwrap())), [2, 3]);
    assert_eq!(held.next_deadline(), at(20));
    assert_eq!(ids(held.expire(at(99).unwrap())), [1]);
    assert_eq!(held.next_deadline(), None);
    assert_eq!(release(&mut held, 9), [(4, 9, false)]);
    assert_eq!(held.bytes(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// A reply that depends on one of the last positions given out, or on a new one.
    Push {
        back: u64,
        len: usize,
    },
    Release {
        ahead: u64,
    },
    Cancel {
        id: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..200_usize, Just(20_000)];
    prop_oneof![
        4 => (0..6_u64, len).prop_map(|(back, len)| Step::Push { back, len }),
        2 => (0..6_u64).prop_map(|ahead| Step::Release { ahead }),
        1 => (1..60_u32).prop_map(|id| Step::Cancel { id }),
    ]
}

proptest! {
    /// Against a list that is searched: out comes exactly what is durable, by position and then in
    /// the order of arrival.
    #[test]
    fn any_interleaving_releases_exactly_what_is_durable(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut held = Held::default();
        let mut model: Vec<(u32, u64, bool)> = Vec::new();
        let (mut staged, mut through, mut id) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Push { back, len } => {
                    id += 1;
                    staged += u64::from(back == 0);
                    let after = staged.saturating_sub(back).max(through + 1);
                    staged = staged.max(after);
                    push(&mut held, id, after, len, None);
                    model.push((id, after, false));
                }
                Step::Release { ahead } => {
                    through = (through + ahead).min(staged);
                    let mut expected: Vec<_> =
                        model.iter().copied().filter(|(_, after, _)| *after <= through).collect();
                    expected.sort_by_key(|(_, after, _)| *after);
                    model.retain(|(_, after, _)| *after > through);
                    prop_assert_eq!(release(&mut held, through), expected);
                }
                Step::Cancel { id } => {
                    let wanted = model.iter_mut().find(|(other, _, over)| *other == id && !over);
                    prop_assert_eq!(held.cancel(id), wanted.is_some());
                    if let Some((_, _, over)) = wanted {
                        *over = true;
                    }
                }
            }
            prop_assert_eq!(held.len(), model.len());
            prop_assert_eq!(held.first().map(Position::get), model.iter().map(|m| m.1).min());
            let highest = model.iter().map(|m| m.0).max();
            prop_assert!(held.highest_id() >= highest.unwrap_or_default());
            prop_assert!(!model.is_empty() || held.highest_id() == 0);
            for id in 1..60 {
                prop_assert_eq!(held.contains(id), model.iter().any(|m| m.0 == id));
            }
        }
        release(&mut held, u64::MAX);
        prop_assert!(held.is_empty() && held.bytes() == 0);
    }
}
