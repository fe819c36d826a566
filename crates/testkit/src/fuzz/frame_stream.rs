//! `frame_stream`: how a stream is cut into reads never changes what comes out of it.

use kv_proto::Suite;

use super::input::Input;
use super::wire::{Way, open_all, pair, write_chosen};

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let suite = Suite::from_number(input.byte() % 3).unwrap_or(Suite::Hmac);
    let step = usize::from(input.short()).saturating_add(1);
    let (mut sealer, mut whole) = pair(suite, 1, Way::ToServer);
    let (_, mut by_pieces) = pair(suite, 1, Way::ToServer);

    let mut stream = Vec::new();
    for _ in 0..input.below(8) {
        write_chosen(&mut input, &mut sealer, &mut stream);
    }
    // Anything may follow, and a bit of what is there may be wrong.
    stream.extend_from_slice(input.take(64));
    if input.byte() % 2 == 1 {
        let at = usize::from(input.short())
            .checked_rem(stream.len())
            .unwrap_or(0);
        if let Some(byte) = stream.get_mut(at) {
            *byte ^= 1 << (input.byte() % 8);
        }
    }
    let end = stream.len();
    stream.extend_from_slice(input.rest());

    let mut buffer = Vec::new();
    let mut opened = Vec::new();
    let mut over = false;
    for piece in stream.chunks(step.min(end.saturating_add(1))) {
        buffer.extend_from_slice(piece);
        let (more, used, ended) = open_all(&mut by_pieces, &mut buffer);
        opened.extend(more);
        buffer.drain(..used);
        over = ended;
        if over {
            break;
        }
    }
    let (expected, _, expected_over) = open_all(&mut whole, &mut stream);
    assert_eq!(opened, expected, "cut every {step} bytes");
    assert_eq!(over, expected_over, "cut every {step} bytes");
}
