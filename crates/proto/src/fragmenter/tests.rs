//! Cuts at and around each bound, and what the assembler makes of them.

use proptest::prelude::*;

use super::*;
use crate::assembler::{Assembler, AssemblerLimits, Assembly, Fragment};
use crate::opcode::OpcodeByte;

const KIB: usize = 1024;
const LIMITS: CutLimits = CutLimits {
    piece_bytes_max: 64 * KIB,
    frame_bytes_max: 1024 * KIB,
    message_bytes_max: 16 * 1024 * KIB,
};

fn lengths(head: usize, value: usize, limits: &CutLimits) -> Vec<usize> {
    Fragmenter::new(head, value, limits)
        .unwrap()
        .map(|piece| piece.value.len())
        .collect()
}

#[test]
fn a_message_that_fits_goes_in_one_frame_without_total_length() {
    for len in [0, 1, 64 * KIB] {
        let mut fragmenter = Fragmenter::new(100, len, &LIMITS).unwrap();
        assert_eq!(fragmenter.total_len(), None);
        let piece = fragmenter.next().unwrap();
        assert_eq!(
            piece,
            Piece {
                value: 0..len,
                first: true,
                more: false
            }
        );
        assert_eq!(piece.flags(), Flags::NONE);
        assert_eq!((fragmenter.next(), fragmenter.remaining()), (None, 0));
    }
}

#[test]
fn one_byte_more_makes_a_second_piece() {
    let fragmenter = Fragmenter::new(100, 64 * KIB + 1, &LIMITS).unwrap();
    assert_eq!(fragmenter.total_len(), Some(65_537));
    let pieces: Vec<_> = fragmenter.collect();
    assert_eq!(
        pieces,
        [
            Piece {
                value: 0..65_536,
                first: true,
                more: true
            },
            Piece {
                value: 65_536..65_537,
                first: false,
                more: false
            },
        ]
    );
    assert_eq!(pieces[0].flags(), Flags::MORE);
}

#[test]
fn a_piece_fits_the_frame_with_what_stands_before_it() {
    let limits = CutLimits {
        frame_bytes_max: 16 * KIB,
        ..LIMITS
    };
    assert_eq!(
        lengths(1_000, 16 * KIB - 1_000, &limits),
        [16 * KIB - 1_000]
    );
    // The first frame has TOTAL_LEN too, the others have neither extensions nor key.
    assert_eq!(
        lengths(1_000, 40 * KIB, &limits),
        [16 * KIB - 1_006, 16 * KIB, 8 * KIB + 1_006]
    );
    // One that only just does not fit: what remains is smaller than TOTAL_LEN.
    assert_eq!(
        lengths(1_000, 16 * KIB - 999, &limits),
        [16 * KIB - 1_006, 7]
    );
    assert_eq!(
        lengths(1_000, 16 * KIB - 998, &limits),
        [16 * KIB - 1_006, 8]
    );
}

#[test]
fn a_first_piece_is_never_shorter_than_a_receiver_demands() {
    let limits = CutLimits {
        frame_bytes_max: 16 * KIB,
        ..LIMITS
    };
    let head = 12 * KIB - TOTAL_LEN_EXT_BYTES;
    assert_eq!(lengths(head, 5 * KIB, &limits), [4 * KIB, KIB]);
    let error = Fragmenter::new(head + 1, 5 * KIB, &limits).unwrap_err();
    assert_eq!(
        error,
        CutError::HeadTooLong {
            len: head + 1,
            max: 16 * KIB
        }
    );
    // A small value still goes whole.
    assert_eq!(lengths(16 * KIB - 10, 10, &limits), [10]);
    assert_eq!(
        Fragmenter::new(16 * KIB + 1, 0, &limits).unwrap_err(),
        CutError::HeadTooLong {
            len: 16 * KIB + 1,
            max: 16 * KIB
        }
    );
}

#[test]
fn a_message_of_the_longest_length_passes_and_one_byte_more_does_not() {
    let len = LIMITS.message_bytes_max;
    assert_eq!(lengths(10, len, &LIMITS).len(), 256);
    assert_eq!(
        Fragmenter::new(10, len + 1, &LIMITS).unwrap_err(),
        CutError::MessageTooLong {
            len: len + 1,
            max: len
        }
    );
}

#[test]
fn messages_take_turns_by_piece() {
    let mut turns = TakeTurns::new();
    for (name, len) in [('a', 5 * 64 * KIB), ('b', 10), ('c', 2 * 64 * KIB)] {
        turns.push(Fragmenter::new(0, len, &LIMITS).unwrap(), name);
    }
    assert_eq!((turns.len(), turns.remaining()), (3, 7 * 64 * KIB + 10));
    let mut order = String::new();
    let mut write = |name: &mut char, _: Piece| order.push(*name);
    for _ in 0..4 {
        turns.turn(&mut write).unwrap();
    }
    // A newcomer waits for one piece of each, not for the whole of any.
    turns.push(Fragmenter::new(0, 10, &LIMITS).unwrap(), 'd');
    while turns.turn(&mut write).is_some() {}
    assert_eq!(order, "abcacadaa");
    assert!(turns.is_empty());
}

#[test]
fn a_cancelled_message_leaves_the_queue() {
    let mut turns = TakeTurns::default();
    for name in ['a', 'b'] {
        turns.push(Fragmenter::new(0, 100 * KIB, &LIMITS).unwrap(), name);
    }
    turns.turn(|_, _| ()).unwrap();
    turns.retain(|&name| name != 'a');
    assert_eq!(
        turns.turn(|name, piece| (*name, piece.first)),
        Some(('b', true))
    );
    assert_eq!(
        turns.turn(|name, piece| (*name, piece.more)),
        Some(('b', false))
    );
    assert_eq!(turns.turn(|_, _| ()), None);
}

proptest! {
    #[test]
    fn what_was_cut_is_assembled(
        ext in 0..255_usize,
        key in 0..9_000_usize,
        len in 0..300_000_usize,
        piece_bytes_max in 1..100_000_usize,
        frame_bytes_max in 16_384..200_000_usize,
    ) {
        let limits = CutLimits { piece_bytes_max, frame_bytes_max, ..LIMITS };
        let value: Vec<u8> = (0..=250).cycle().take(len).collect();
        let key = vec![b'k'; key];
        let ext_block = vec![b'e'; ext];
        let fragmenter = Fragmenter::new(ext + key.len(), len, &limits).unwrap();
        let total_len = fragmenter.total_len();
        let mut assembler = Assembler::new(AssemblerLimits::default());
        let mut complete = None;
        for piece in fragmenter {
            let head = if piece.first { ext + key.len() } else { 0 };
            let total = if piece.first && total_len.is_some() { TOTAL_LEN_EXT_BYTES } else { 0 };
            prop_assert!(head + total + piece.value.len() <= frame_bytes_max);
            if total_len.is_none() {
                prop_assert_eq!(piece, Piece { value: 0..len, first: true, more: false });
                return Ok(());
            }
            let fragment = Fragment {
                request_id: 1,
                opcode: OpcodeByte(2),
                flags: Flags::NONE,
                more: piece.more,
                total_len: if piece.first { total_len } else { None },
                ext: if piece.first { &ext_block } else { &[] },
                key: if piece.first { &key } else { &[] },
                value: &value[piece.value],
            };
            if let Assembly::Complete(message) = assembler.accept(0, &fragment).unwrap() {
                complete = Some(message);
            }
        }
        let message = complete.unwrap();
        prop_assert_eq!(message.value, value);
        prop_assert_eq!(message.key, key);
    }
}
