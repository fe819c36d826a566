//! `assembler_ops`: any sequence of calls, legal or not, against a map from id to the bytes that were
//! taken. What comes out is what went in; what is refused leaves no trace; bounds hold throughout.

use std::collections::BTreeMap;

use kv_proto::{
    Assembler, AssemblerError, AssemblerLimits, Assembly, AssemblyScope, Flags, Fragment,
    OpcodeByte,
};

use super::input::Input;

/// Small enough for every bound to be met within a short input.
const LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 96,
    messages_max: 3,
    retained_bytes_max: 160,
    fragment_charge_min: 8,
    fragment_bytes_min: 4,
    fragments_max: 6,
    progress_timeout_ms: 100,
    message_timeout_ms: 300,
    rate_bytes_per_second_min: 200,
    rate_window_ms: 50,
};

/// One message that is under way.
struct Message {
    total: usize,
    bytes: Vec<u8>,
    refused: bool,
}

type Model = BTreeMap<u32, Message>;

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut assembler = Assembler::new(LIMITS);
    let mut model = Model::new();
    let mut now_ms = 0_u64;
    while !input.is_empty() {
        let action = input.byte();
        let id = u32::from(input.byte() % 5);
        match action % 16 {
            0 => assert_eq!(assembler.abort(id), model.remove(&id).is_some()),
            1 => {
                assert_eq!(assembler.refuse(id), model.contains_key(&id));
                if let Some(message) = model.get_mut(&id) {
                    message.refused = true;
                }
            }
            // Time may also be said to go back; it does not.
            2 => {
                now_ms = now_ms
                    .wrapping_add(u64::from(input.byte()))
                    .saturating_sub(8)
            }
            3 => {
                let _ = assembler.expire(now_ms);
                model.retain(|id, _| assembler.contains(*id));
            }
            4 => assembler.postpone(u64::from(input.byte())),
            _ => feed(&mut input, &mut assembler, &mut model, id, now_ms),
        }
        check(&assembler, &model);
    }
}

/// One fragment: mostly the next piece of its message, sometimes anything.
fn feed(input: &mut Input<'_>, assembler: &mut Assembler, model: &mut Model, id: u32, now_ms: u64) {
    let wild = input.byte();
    let begins = !model.contains_key(&id);
    let len = input.below(32);
    let value = input.take(len);
    let left = model
        .get(&id)
        .map_or(usize::MAX, |m| m.total.saturating_sub(m.bytes.len()));
    let declared = begins.then(|| u32::from(input.byte()));
    let fragment = Fragment {
        request_id: id,
        opcode: OpcodeByte(if wild % 32 == 31 { 6 } else { 2 }),
        flags: Flags::NONE,
        more: if wild % 16 == 15 {
            len.is_multiple_of(2)
        } else {
            value.len() < left
        },
        total_len: if wild % 64 == 63 { Some(7) } else { declared },
        ext: b"",
        key: if begins { &b"key"[..] } else { b"" },
        value,
    };
    let before = (assembler.retained_bytes(), assembler.len());
    let growth = assembler.growth(&fragment);
    match assembler.accept(now_ms, &fragment) {
        Ok(outcome) => {
            took(model, &fragment);
            if outcome == Assembly::Pending {
                let message = model.get(&id);
                if message.is_some_and(|message| !message.refused) {
                    assert_eq!(assembler.retained_bytes(), before.0.saturating_add(growth));
                }
            } else {
                ended(outcome, model.remove(&id));
            }
        }
        Err(error) if error.scope() == AssemblyScope::Connection => {
            assert_eq!(
                (assembler.retained_bytes(), assembler.len()),
                before,
                "{error}"
            );
        }
        Err(error) => {
            assert!(error.error_code().is_some() && error.close_reason().is_none());
            took(model, &fragment);
            refused(&error, model, id);
            if !fragment.more {
                model.remove(&id);
            }
        }
    }
}

/// The fragment was taken, whether it is kept or swallowed.
fn took(model: &mut Model, fragment: &Fragment<'_>) {
    let total = usize::try_from(fragment.total_len.unwrap_or(0)).unwrap_or(usize::MAX);
    let message = model.entry(fragment.request_id).or_insert_with(|| Message {
        total,
        bytes: Vec::new(),
        refused: false,
    });
    message.bytes.extend_from_slice(fragment.value);
    assert!(
        message.bytes.len() <= message.total,
        "more was taken than declared"
    );
}

fn refused(error: &AssemblerError, model: &mut Model, id: u32) {
    let message = model.get_mut(&id);
    assert!(
        message.as_ref().is_some_and(|m| !m.refused),
        "refused twice: {error}"
    );
    if let Some(message) = message {
        message.refused = true;
    }
}

fn ended(outcome: Assembly, message: Option<Message>) {
    let bytes = message.as_ref().map(|message| &message.bytes[..]);
    let was_refused = message.as_ref().is_some_and(|message| message.refused);
    match outcome {
        Assembly::Complete(whole) => {
            assert!(!was_refused, "a refused message came out");
            assert_eq!(Some(&whole.value[..]), bytes);
            assert_eq!(&whole.key[..], b"key");
        }
        Assembly::Swallowed => assert!(was_refused, "a message was lost"),
        Assembly::Pending => {}
    }
}

fn check(assembler: &Assembler, model: &Model) {
    assert_eq!(assembler.len(), model.len());
    assert!(model.keys().all(|id| assembler.contains(*id)));
    assert!(assembler.len() <= LIMITS.messages_max);
    assert!(assembler.retained_bytes() <= LIMITS.retained_bytes_max);
    let kept: usize = model
        .values()
        .filter(|m| !m.refused)
        .map(|m| m.bytes.len())
        .sum();
    assert!(
        assembler.retained_bytes() >= kept,
        "held and not accounted for"
    );
    assert_eq!(assembler.next_deadline().is_none(), model.is_empty());
}
