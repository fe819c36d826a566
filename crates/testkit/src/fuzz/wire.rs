//! What the targets share: keys of a session, frames chosen by the input, frames kept for
//! comparison.

use kv_proto::{
    Flags, Frame, FrameHead, Header, Opcode, Opener, Schedule, Sealer, Secret, Suite, Transport,
    write_frame,
};

use super::input::Input;

/// Body limit of the receivers here: small, so that the fuzzer reaches it.
pub(super) const FRAME_BYTES_MAX: u32 = 2048;

/// Which way the frames of a session go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// Sender and receiver of one direction of the session with this number.
pub(super) fn pair(suite: Suite, session: u8, way: Way) -> (Sealer, Opener) {
    let keys = || {
        let secret = Secret::new(&[7; 32]);
        let transcript = [session; 32];
        let schedule = Schedule::new(&secret, &[0; 32], &Transport::Plain, suite, transcript);
        match way {
            Way::ToServer => schedule.client_to_server(),
            Way::ToClient => schedule.server_to_client(),
        }
    };
    (
        Sealer::version_2(suite, keys()),
        Opener::version_2(suite, keys(), FRAME_BYTES_MAX),
    )
}

/// Everything a receiver can see of a frame, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    header: Header,
    ext: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Kept {
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        Self {
            header: *frame.header(),
            ext: frame.ext().to_vec(),
            key: frame.key().to_vec(),
            value: frame.value().to_vec(),
        }
    }
}

/// Appends one sealed frame of the input's choice to `out`.
pub(super) fn write_chosen(input: &mut Input<'_>, sealer: &mut Sealer, out: &mut Vec<u8>) {
    let commands = Opcode::ALL;
    let opcode = commands
        .get(input.below(commands.len()))
        .copied()
        .unwrap_or(Opcode::Get);
    if matches!(opcode, Opcode::KeyUpdate | Opcode::ServerKeyUpdate) {
        // Refused in a suite without keys, and then nothing was written.
        let _ = sealer.update_keys(out, opcode);
        return;
    }
    let head = FrameHead {
        opcode,
        request_id: u32::from(input.byte()),
        flags: [Flags::NONE, Flags::MORE, Flags::COMPRESSED]
            .get(input.below(4))
            .copied()
            .unwrap_or_default(),
    };
    let (ext, key, value) = (input.below(8), input.below(32), usize::from(input.byte()));
    let (ext, key, value) = (input.take(ext), input.take(key), input.take(value));
    let start = write_frame(out, head, ext, key, value);
    sealer.seal(out, start);
}

/// Opens frames until there is no whole one or the connection is over; gives what was opened, how
/// many bytes that took, and whether the connection is over.
pub(super) fn open_all(opener: &mut Opener, buffer: &mut [u8]) -> (Vec<Kept>, usize, bool) {
    let total = buffer.len();
    let mut rest = buffer;
    let mut opened = Vec::new();
    loop {
        match opener.next(&mut rest) {
            Ok(Some(frame)) => opened.push(Kept::of(&frame)),
            Ok(None) => {
                if let Some(wanted) = opener.wanted(rest) {
                    assert!(wanted > rest.len(), "a whole frame was left in the buffer");
                    assert!(
                        wanted <= 48 + FRAME_BYTES_MAX as usize,
                        "wants more than the limit"
                    );
                }
                return (opened, total.saturating_sub(rest.len()), false);
            }
            Err(_) => return (opened, total.saturating_sub(rest.len()), true),
        }
    }
}
