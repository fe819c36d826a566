//! One request on its way through the stages of [`stages`], for a tool that counts the instructions
//! between the entry and the exit of each of them: `kv-counts get`, `kv-counts set`. Whoever counts
//! is `cargo xtask bench --counts`; this program only goes the way, and fails when it went wrong.
//!
//! The way is gone twice. The first time pays for what happens once (the CPU's features are looked
//! up, buffers and the table grow); the second one is what counts. Nothing here is random but the
//! secret of the engine's hash, and the engine holds one entry, so that no secret can put another
//! into its way.
#![forbid(unsafe_code)]

mod session;
mod stages;

use std::hint::black_box;
use std::process::ExitCode;

use kv_proto::Opcode;
use kv_store::{MemoryConfig, MemoryEngine};

use crate::session::{Failed, Session};
use crate::stages::{Reply, VALUE_BYTES};

const KEY: &[u8; 16] = b"key:000000000042";
const VALUE: &[u8; VALUE_BYTES] = &[b'v'; VALUE_BYTES];
/// Look-ups of the run that is counted beside the single one.
const RUN: usize = 16;

fn main() -> ExitCode {
    let counted = match std::env::args().nth(1).as_deref() {
        Some("get") => twice(Opcode::Get, &[], VALUE),
        Some("set") => twice(Opcode::Set, VALUE, &[]),
        _ => Err(Failed),
    };
    match counted {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::FAILURE,
    }
}

fn twice(opcode: Opcode, value: &[u8], expected: &[u8]) -> Result<(), Failed> {
    let engine = MemoryEngine::new(MemoryConfig::default());
    stages::fill(&engine, KEY, VALUE)?;
    let mut session = Session::new();
    for _ in 0..2 {
        once(&mut session, &engine, opcode, value)?;
        session.is_accepted(expected)?;
    }
    Ok(())
}

fn once(
    session: &mut Session,
    engine: &MemoryEngine,
    opcode: Opcode,
    value: &[u8],
) -> Result<(), Failed> {
    let mut request = session.request(opcode, KEY, value);
    let mut input = request.as_mut_slice();
    let frame = stages::verify(&mut session.opener, &mut input).ok_or(Failed)?;
    let op = stages::decode(&frame).ok_or(Failed)?;
    let mut reply = Reply::default();
    stages::look_up_run(engine, black_box(&[op; RUN]), &mut reply);
    stages::look_up(engine, black_box(&[op]), &mut reply);
    if reply.answered != RUN + 1 {
        return Err(Failed);
    }
    session.output.clear();
    let start = stages::encode(&mut session.output, frame.request_id(), &reply);
    stages::sign(&mut session.sealer, &mut session.output, start);
    Ok(())
}
