//! The tables of opcodes, extensions and errors.

use std::collections::BTreeSet;

use kv_proto::{
    Answer, Direction, ErrorCode, ExtError, Extensions, Needs, Opcode, OpcodeByte, Retry,
};

use crate::bodies::all_extensions;
use crate::vector::{Outcome, Vector, same};

pub(crate) fn code(vector: &Vector) -> Outcome {
    match vector.text("table") {
        "opcode" => opcode(vector),
        "extension" => extension(vector),
        "error" => error(vector),
        other => Err(format!("unknown table {other}")),
    }
}

fn opcode(vector: &Vector) -> Outcome {
    let number = vector.number("number");
    let opcode = Opcode::try_from(OpcodeByte(number)).map_err(|e| e.to_string())?;
    let info = opcode.info();
    same("name", info.name, vector.text("symbol"))?;
    let since = if vector.text("versions") == "1, 2" {
        1
    } else {
        2
    };
    same("lowest version", info.since, since)?;
    same(
        "continued",
        info.continued,
        vector.0["continued"].as_bool().unwrap(),
    )?;
    // PING is answered, but by no reply to a request.
    let answer = match info.answer {
        Answer::Single if opcode != Opcode::Ping => Some("single"),
        Answer::Stream => Some("stream"),
        Answer::Single | Answer::None => None,
    };
    same("answer", answer, vector.0["answer"].as_str())?;
    let permission = match info.needs {
        Needs::Session if answer.is_some() => Some("none"),
        Needs::Session => None,
        Needs::Read => Some("read"),
        Needs::Write => Some("write"),
        Needs::Scan => Some("scan"),
        Needs::Observe => Some("observe"),
        Needs::Admin => Some("admin"),
        Needs::Publish => Some("publish"),
        Needs::Subscribe => Some("subscribe"),
        Needs::Queue => Some("queue"),
    };
    same("permission", permission, vector.0["permission"].as_str())?;
    let listed: Vec<_> = vector.0["extensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_u64().unwrap())
        .collect();
    let ours: Vec<_> = (0..=u8::MAX)
        .filter(|&tag| has_meaning(opcode, tag))
        .map(u64::from)
        .collect();
    same("extensions", ours, listed)
}

/// Whether an extension of the right length comes through the decoder of this opcode.
fn has_meaning(opcode: Opcode, tag: u8) -> bool {
    lengths(tag).is_some_and(|len| {
        let block = block(tag, len);
        Extensions::decode(&block, opcode.info().ext)
            .is_ok_and(|e| !e.encode().as_bytes().is_empty())
    })
}

fn block(tag: u8, len: u8) -> Vec<u8> {
    let mut block = vec![tag, len];
    block.resize(2 + usize::from(len), 0);
    block
}

/// The least length that this crate takes for a tag; `None` when it does not know the tag.
fn lengths(tag: u8) -> Option<u8> {
    (0..=253).find(|&len| {
        Extensions::decode(&block(tag, len), all_extensions())
            .is_ok_and(|e| !e.encode().as_bytes().is_empty())
    })
}

fn extension(vector: &Vector) -> Outcome {
    let (tag, min, max) = (
        vector.number("number"),
        vector.number("bytes_min"),
        vector.number("bytes_max"),
    );
    for len in 0..=253u8 {
        let block = block(tag, len);
        let result = Extensions::decode(&block, all_extensions());
        let fits = (min..=max).contains(&len);
        match (&result, fits) {
            (Ok(e), true) if !e.encode().as_bytes().is_empty() => {}
            (Err(ExtError::Malformed(_)), false) => {}
            _ => return Err(format!("{len} bytes: {result:?}")),
        }
    }
    Ok(())
}

fn error(vector: &Vector) -> Outcome {
    let code = ErrorCode::from_number(vector.number("number")).ok_or("unknown here")?;
    same("name", code.name(), vector.text("symbol"))?;
    let repeat = match code.retry() {
        Retry::No => "no",
        Retry::Safe => "yes",
        Retry::OutcomeUnknown => "with IDEMPOTENCY",
        Retry::Maybe => "maybe",
    };
    same("repeat", repeat, vector.text("repeat"))
}

/// Nothing that this crate knows is missing in the tables.
pub(crate) fn complete(vectors: &[Vector]) {
    let numbers = |table: &str| -> BTreeSet<u64> {
        vectors
            .iter()
            .filter(|v| v.text("table") == table)
            .map(|v| v.number("number"))
            .collect()
    };
    let opcodes: BTreeSet<_> = Opcode::ALL.iter().map(|o| u64::from(o.number())).collect();
    assert_eq!(numbers("opcode"), opcodes);
    let errors: BTreeSet<_> = ErrorCode::ALL
        .iter()
        .map(|e| u64::from(e.number()))
        .collect();
    assert_eq!(numbers("error"), errors);
    let tags: BTreeSet<_> = (0..=u8::MAX)
        .filter(|&tag| lengths(tag).is_some())
        .map(u64::from)
        .collect();
    assert_eq!(numbers("extension"), tags);
    for opcode in Opcode::ALL {
        let to_server = opcode.number() < 128;
        assert_eq!(
            opcode.direction() == Direction::ToServer,
            to_server,
            "{opcode:?}"
        );
    }
}
