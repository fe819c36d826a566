//! The stages: each a function that is never inlined, so that a tool finds its entry and its exit.
//! Their names stand in the committed baseline.
//!
//! They call what the server calls, in the order in which it does. What the server puts between them
//! (permissions, rate limits, counters) is not part of them.

use kv_proto::{Extensions, Frame, FrameHead, Opcode, Opener, Sealer, ext_tag, write_frame};
use kv_store::{Condition, Engine, Expiry, MemoryEngine, Now, Op, Outcome, Value};

use crate::session::Failed;

/// Bytes of the value that is written and read.
pub(crate) const VALUE_BYTES: usize = 64;

/// The time of every operation.
const NOW: Now = Now::from_unix_ms(1_700_000_000_000);

/// What the engine answered, kept until it is encoded.
pub(crate) struct Reply {
    value: [u8; VALUE_BYTES],
    /// Bytes of `value` that count.
    len: usize,
    version: u64,
    pub(crate) answered: usize,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            value: [0; VALUE_BYTES],
            len: 0,
            version: 0,
            answered: 0,
        }
    }
}

/// Length bound, tag, header.
#[inline(never)]
pub(crate) fn verify<'b>(opener: &mut Opener, input: &mut &'b mut [u8]) -> Option<Frame<'b>> {
    opener.next(input).ok().flatten()
}

/// Opcode, extensions, operation.
#[inline(never)]
pub(crate) fn decode<'b>(frame: &Frame<'b>) -> Option<Op<'b>> {
    let opcode = Opcode::try_from(frame.opcode()).ok()?;
    let ext = Extensions::decode(frame.ext(), opcode.info().ext).ok()?;
    match opcode {
        Opcode::Get => Some(Op::Get { key: frame.key() }),
        Opcode::Set => Some(Op::Set {
            key: frame.key(),
            value: Value::Inline(frame.value()),
            content_type: ext.content_type.unwrap_or(0),
            expiry: ext
                .ttl_ms
                .map_or(Expiry::Never, |ttl| Expiry::At(NOW.plus_ms(ttl).unix_ms())),
            condition: ext.if_version.map_or(Condition::Always, Condition::Version),
            previous: false,
        }),
        _ => None,
    }
}

/// One look-up alone: the copy of the value for a GET, the write for a SET.
#[inline(never)]
pub(crate) fn look_up(engine: &MemoryEngine, ops: &[Op<'_>; 1], reply: &mut Reply) {
    run(engine, ops, reply);
}

/// The same sixteen times, as one run.
#[inline(never)]
pub(crate) fn look_up_run(engine: &MemoryEngine, ops: &[Op<'_>; 16], reply: &mut Reply) {
    run(engine, ops, reply);
}

#[inline]
fn run(engine: &MemoryEngine, ops: &[Op<'_>], reply: &mut Reply) {
    engine.run(
        NOW,
        ops,
        &mut |_: usize, outcome: Outcome<'_>, _: kv_store::Position| {
            match outcome {
                Outcome::Found(entry) => {
                    let value = entry.value.as_slice();
                    let Some(place) = reply.value.get_mut(..value.len()) else {
                        return;
                    };
                    place.copy_from_slice(value);
                    reply.len = value.len();
                    reply.version = entry.version;
                }
                Outcome::Written { version, .. } => reply.version = version,
                _ => return,
            }
            reply.answered = reply.answered.wrapping_add(1);
        },
    );
}

/// The reply, unsealed.
#[inline(never)]
pub(crate) fn encode(output: &mut Vec<u8>, request_id: u32, reply: &Reply) -> usize {
    // The server writes this block into a few bytes of its own.
    let mut ext = [ext_tag::VERSION, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some(place) = ext.last_chunk_mut() {
        *place = reply.version.to_be_bytes();
    }
    let head = FrameHead::new(Opcode::Ok, request_id);
    let value = reply.value.get(..reply.len).unwrap_or_default();
    write_frame(output, head, &ext, &[], value)
}

/// Its tag.
#[inline(never)]
pub(crate) fn sign(sealer: &mut Sealer, output: &mut [u8], start: usize) {
    sealer.seal(output, start);
}

/// Puts the one entry into the engine, uncounted.
pub(crate) fn fill(engine: &MemoryEngine, key: &[u8], value: &[u8]) -> Result<(), Failed> {
    let op = Op::Set {
        key,
        value: Value::Inline(value),
        content_type: 0,
        expiry: Expiry::Never,
        condition: Condition::Always,
        previous: false,
    };
    let mut reply = Reply::default();
    run(engine, &[op], &mut reply);
    if reply.answered == 1 {
        Ok(())
    } else {
        Err(Failed)
    }
}
