//! The assembler against a naive model: a map from request id to the bytes that came.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::header::Flags;
use crate::opcode::OpcodeByte;

const MIN: usize = 4;
const LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 64,
    messages_max: 3,
    retained_bytes_max: 150,
    fragment_charge_min: 8,
    fragment_bytes_min: MIN,
    fragments_max: 6,
    progress_timeout_ms: 100,
    message_timeout_ms: 300,
    rate_bytes_per_second_min: 200,
    rate_window_ms: 50,
};

#[derive(Clone, Debug)]
enum Step {
    /// A fragment; `declare` is the total length of a message that is not under way yet.
    Fragment {
        id: u32,
        len: usize,
        declare: usize,
        opcode: u8,
    },
    Abort(u32),
    Refuse(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..5_u32;
    prop_oneof![
        12 => (id.clone(), 0..24_usize, 1..80_usize, prop::sample::select(vec![2, 2, 2, 2, 2, 2, 6]))
            .prop_map(|(id, len, declare, opcode)| Step::Fragment { id, len, declare, opcode }),
        1 => id.clone().prop_map(Step::Abort),
        1 => id.prop_map(Step::Refuse),
        2 => (0..60_u64).prop_map(Step::Wait),
    ]
}

/// What the model knows of one message. `bytes` is everything that came, kept or not.
#[derive(Clone, Debug)]
struct Message {
    opcode: u8,
    total: usize,
    bytes: Vec<u8>,
    fragments: usize,
    kept: bool,
}

/// The sender's view: cuts are honest (MORE on all but the last), opcodes may change.
fn fragment<'a>(
    id: u32,
    opcode: u8,
    known: Option<&Message>,
    declare: usize,
    value: &'a [u8],
) -> Fragment<'a> {
    let (total, before) = known.map_or((declare, 0), |m| (m.total, m.bytes.len()));
    let begins = known.is_none();
    Fragment {
        request_id: id,
        opcode: OpcodeByte(opcode),
        flags: Flags::NONE,
        more: begins || before + value.len() < total,
        total_len: begins.then(|| u32::try_from(declare).unwrap()),
        ext: if begins { b"e" } else { b"" },
        key: if begins { b"k" } else { b"" },
        value,
    }
}

/// Whether the rules of the format (not the limits on memory and time) allow it.
fn is_legal(model: &BTreeMap<u32, Message>, id: u32, fragment: &Fragment<'_>) -> bool {
    let len = fragment.value.len();
    let long_enough = len >= if fragment.more { MIN } else { 1 };
    match model.get(&id) {
        Some(m) => {
            let sum = m.bytes.len() + len;
            let fits = if fragment.more {
                sum < m.total
            } else {
                sum == m.total
            };
            let count = m.fragments + 1 + usize::from(fragment.more);
            m.opcode == fragment.opcode.0 && long_enough && fits && count <= LIMITS.fragments_max
        }
        None => {
            let total = usize::try_from(fragment.total_len.unwrap()).unwrap();
            model.len() < LIMITS.messages_max && long_enough && len < total
        }
    }
}

/// Feeds one fragment to both and compares. Returns false when time has ended the connection.
fn feed(
    assembler: &mut Assembler,
    model: &mut BTreeMap<u32, Message>,
    now: u64,
    fragment: &Fragment<'_>,
) -> Result<bool, TestCaseError> {
    let id = fragment.request_id;
    let legal = is_legal(model, id, fragment);
    let expected_growth = assembler.growth(fragment);
    let before = assembler.retained_bytes();
    let result = assembler.accept(now, fragment);
    if let Err(error) = &result
        && error.scope() == AssemblyScope::Connection
    {
        prop_assert_eq!(assembler.retained_bytes(), before);
        if matches!(error, AssemblerError::Overdue(_)) {
            prop_assert!(legal, "time is judged after the rules");
            return Ok(false);
        }
        prop_assert!(!legal, "{} was legal", error);
        return Ok(true);
    }
    prop_assert!(legal, "{:?} accepted", fragment);
    let message = model.entry(id).or_insert_with(|| Message {
        opcode: fragment.opcode.0,
        total: usize::try_from(fragment.total_len.unwrap()).unwrap(),
        bytes: Vec::new(),
        fragments: 0,
        kept: true,
    });
    message.bytes.extend_from_slice(fragment.value);
    message.fragments += 1;
    match result {
        Ok(Assembly::Pending) => {
            prop_assert!(fragment.more);
            prop_assert!(message.total <= LIMITS.message_bytes_max || !message.kept);
            if message.kept {
                prop_assert_eq!(assembler.retained_bytes(), before + expected_growth);
            }
        }
        Ok(Assembly::Complete(whole)) => {
            let message = model.remove(&id).unwrap();
            prop_assert!(message.kept && !fragment.more);
            prop_assert_eq!(whole.value, message.bytes);
            prop_assert_eq!((&whole.ext[..], &whole.key[..]), (&b"e"[..], &b"k"[..]));
        }
        Ok(Assembly::Swallowed) => {
            let message = model.remove(&id).unwrap();
            prop_assert!(!message.kept && !fragment.more);
        }
        Err(error) => {
            prop_assert!(message.kept, "a swallowed message is refused once");
            message.kept = false;
            match error {
                AssemblerError::MessageTooLong { .. } => {
                    prop_assert!(message.total > LIMITS.message_bytes_max);
                }
                AssemblerError::RetainedTooMuch { max } => {
                    prop_assert!(before + expected_growth > max);
                }
                other => prop_assert!(false, "{}", other),
            }
            if !fragment.more {
                model.remove(&id);
            }
        }
    }
    Ok(true)
}

fn agrees(assembler: &Assembler, model: &BTreeMap<u32, Message>) -> Result<(), TestCaseError> {
    prop_assert_eq!(assembler.len(), model.len());
    prop_assert!(model.keys().all(|&id| assembler.contains(id)));
    let kept: usize = model
        .values()
        .filter(|m| m.kept)
        .map(|m| m.bytes.len() + 2)
        .sum();
    prop_assert!(
        assembler.retained_bytes() >= kept,
        "everything kept is counted"
    );
    prop_assert!(assembler.retained_bytes() <= LIMITS.retained_bytes_max);
    prop_assert_eq!(assembler.next_deadline().is_some(), !model.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn behaves_like_a_map_of_vectors(steps in prop::collection::vec(step(), 1..60)) {
        let mut assembler = Assembler::new(LIMITS);
        let mut model = BTreeMap::new();
        let mut now = 0;
        let mut byte = 0_u8;
        for step in steps {
            match step {
                Step::Fragment { id, len, declare, opcode } => {
                    byte = byte.wrapping_add(1);
                    let value = vec![byte; len];
                    let fragment = fragment(id, opcode, model.get(&id), declare, &value);
                    if !feed(&mut assembler, &mut model, now, &fragment)? {
                        break;
                    }
                }
                Step::Abort(id) => {
                    prop_assert_eq!(assembler.abort(id), model.remove(&id).is_some());
                }
                Step::Refuse(id) => {
                    prop_assert_eq!(assembler.refuse(id), model.contains_key(&id));
                    if let Some(message) = model.get_mut(&id) {
                        message.kept = false;
                    }
                }
                Step::Wait(ms) => {
                    now += ms;
                    let due = assembler.next_deadline().is_some_and(|deadline| deadline <= now);
                    let overdue = assembler.expire(now);
                    prop_assert_eq!(overdue.is_some(), due, "the deadline is exact");
                    match overdue {
                        Some(Overdue::NoProgress { request_id } | Overdue::TooLong { request_id }) => {
                            prop_assert!(model.remove(&request_id).is_some());
                        }
                        Some(Overdue::TooSlow) => model.clear(),
                        None => {}
                    }
                    if overdue.is_some() {
                        break;
                    }
                }
            }
            agrees(&assembler, &model)?;
        }
    }
}
