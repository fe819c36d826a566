//! Sequences of frames through the assembler.

use kv_proto::{
    Assembler, AssemblerError, AssemblerLimits, Assembly, AssemblyScope, Extensions, Flags,
    Fragment, HEADER_LEN, Header, Opcode,
};
use sha2::{Digest, Sha256};

use crate::bodies::all_extensions;
use crate::vector::{Outcome, Vector, hex, same};

/// What one frame led to, in the words of the vectors.
enum Step {
    Nothing,
    Event(serde_json::Value),
    Closes(&'static str),
}

pub(crate) fn continuation(vector: &Vector) -> Outcome {
    let max_message = vector.number("max_message");
    let limits = AssemblerLimits {
        messages_max: vector.number("max_unfinished"),
        ..AssemblerLimits::with_message_bytes_max(max_message)
    };
    let mut assembler = Assembler::new(limits);
    let mut events = Vec::new();
    let mut error = None;
    let frames = vector.0["frames"].as_array().unwrap();
    for (index, frame) in frames.iter().enumerate() {
        match feed(
            &mut assembler,
            &crate::vector::unhex(frame.as_str().unwrap()),
        ) {
            Step::Nothing => {}
            Step::Event(mut event) => {
                event["after_frame"] = index.into();
                events.push(event);
            }
            Step::Closes(class) => {
                same("the frame that closes", index, frames.len() - 1)?;
                error = Some(class);
            }
        }
    }
    same("error", error, vector.error())?;
    same("events", &events, vector.0["events"].as_array().unwrap())?;
    if error.is_none() {
        same("unfinished", assembler.len(), vector.number("unfinished"))?;
    }
    Ok(())
}

fn feed(assembler: &mut Assembler, bytes: &[u8]) -> Step {
    let (raw, body) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
    let header = Header::parse(raw).unwrap();
    let (ext, rest) = body.split_at(usize::from(header.ext_len));
    let (key, value) = rest.split_at(usize::from(header.key_len));
    let more = header.flags.contains(Flags::MORE);
    let flags = Flags(header.flags.0 & !Flags::MORE.0);
    let total_len = Extensions::decode(ext, all_extensions()).unwrap().total_len;
    let whole = !more && total_len.is_none() && !assembler.contains(header.request_id);
    if whole {
        return Step::Event(message(&header, flags, ext, key, value));
    }
    let known = Opcode::try_from(header.opcode);
    if known.is_ok_and(|opcode| !opcode.info().continued) {
        return Step::Closes("continuation");
    }
    let first = !assembler.contains(header.request_id);
    let fragment = Fragment {
        request_id: header.request_id,
        opcode: header.opcode,
        flags,
        more,
        total_len,
        ext,
        key,
        value,
    };
    match assembler.accept(0, &fragment) {
        Ok(Assembly::Pending) if first && known.is_err() => {
            assert!(assembler.refuse(header.request_id));
            refused(&header, "UNSUPPORTED")
        }
        Ok(Assembly::Pending | Assembly::Swallowed) => Step::Nothing,
        Ok(Assembly::Complete(whole)) => Step::Event(message(
            &header,
            whole.flags,
            &whole.ext,
            &whole.key,
            &whole.value,
        )),
        Err(AssemblerError::TooManyMessages { .. } | AssemblerError::TooManyFragments { .. }) => {
            Step::Closes("limit")
        }
        Err(error @ AssemblerError::MessageTooLong { .. }) => {
            assert_eq!(error.scope(), AssemblyScope::Request);
            refused(&header, "TOO_LARGE")
        }
        Err(error) => {
            assert_eq!(error.scope(), AssemblyScope::Connection, "{error:?}");
            Step::Closes("continuation")
        }
    }
}

fn refused(header: &Header, code: &str) -> Step {
    Step::Event(
        serde_json::json!({ "event": "refused", "request_id": header.request_id, "code": code }),
    )
}

fn message(
    header: &Header,
    flags: Flags,
    ext: &[u8],
    key: &[u8],
    value: &[u8],
) -> serde_json::Value {
    serde_json::json!({
        "event": "message",
        "opcode": header.opcode.0,
        "request_id": header.request_id,
        "flags": flags.0,
        "ext": hex(ext),
        "key": hex(key),
        "value_len": value.len(),
        "value_sha256": hex(&Sha256::digest(value)),
    })
}
