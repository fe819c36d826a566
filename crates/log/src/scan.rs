//! What stands behind the last valid group of the last segment: nothing, the remains of groups
//! that were never durable, or the proof that a durable group was lost.

use std::io;

use crate::format::{GROUP_ALIGNMENT, GROUP_HEADER_BYTES, GroupHeader, Position, SegmentHeader};
use crate::window::Window;

/// Bytes looked at in one step; a multiple of the alignment.
const STEP: u64 = 1 << 20;
const _: () = assert!(STEP.is_multiple_of(GROUP_ALIGNMENT as u64));

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing that was appended to this segment.
    Clean,
    /// Bytes of groups that were appended and not synced, up to this offset.
    Unsynced { end: u64 },
    /// The header at this offset was written after the lost group had become durable.
    Witness { offset: u64 },
}

/// Looks at everything from `offset` on, where the group with position `expected` should be.
///
/// Only headers are looked for: one that is valid proves what it says about its past, whether or
/// not its payload was written. So the work is linear, whatever the bytes.
pub(crate) fn tail(
    window: &mut Window,
    segment: &SegmentHeader,
    offset: u64,
    expected: Position,
) -> io::Result<Tail> {
    let seed = segment.seed();
    let mut tail = Tail::Clean;
    let mut at = offset;
    while at < window.end() {
        let end = window.end();
        let step = STEP.min(end - at);
        // The last headers of a step reach into the next one.
        let reach = (step + GROUP_HEADER_BYTES as u64).min(end - at);
        let Some(bytes) = window.get(at, reach)? else {
            break;
        };
        let body = usize::try_from(step)
            .ok()
            .and_then(|step| bytes.get(..step));
        let body = body.unwrap_or(bytes);
        if !segment.recycled
            && let Some(index) = body.iter().rposition(|byte| *byte != 0)
        {
            let end = at + index as u64 + 1;
            tail = Tail::Unsynced { end };
        }
        for (index, start) in (at..at + step).step_by(GROUP_ALIGNMENT).enumerate() {
            let Some(header) = bytes
                .get(index * GROUP_ALIGNMENT..)
                .and_then(|bytes| GroupHeader::decode(bytes, &seed))
            else {
                continue;
            };
            if header.synced >= expected {
                return Ok(Tail::Witness { offset: start });
            }
            let group_end = start + GROUP_HEADER_BYTES as u64 + header.padded_bytes();
            tail = match tail {
                Tail::Unsynced { end: known } => Tail::Unsynced {
                    end: known.max(group_end.min(end)),
                },
                _ => Tail::Unsynced {
                    end: group_end.min(end),
                },
            };
        }
        at += step;
    }
    Ok(tail)
}
