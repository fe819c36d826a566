use super::*;
use crate::error::Limit;
use crate::keys::{Schedule, Transport};
use crate::seal::{FrameHead, Sealer, write_frame};
use crate::suite::Secret;

fn pair(suite: Suite) -> (Sealer, Opener) {
    let schedule = Schedule::new(
        &Secret::new(&[1; 32]),
        &[2; 32],
        &Transport::Plain,
        suite,
        [3; 32],
    );
    (
        Sealer::version_2(suite, schedule.client_to_server()),
        Opener::version_2(suite, schedule.client_to_server(), 1 << 20),
    )
}

fn three_frames(sealer: &mut Sealer) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, opcode) in [(1, Opcode::Get), (2, Opcode::Set), (3, Opcode::Del)] {
        let value = vec![u8::try_from(id).unwrap(); usize::try_from(id).unwrap() * 7];
        let start = write_frame(
            &mut out,
            FrameHead::new(opcode, id),
            &[],
            b"some key",
            &value,
        );
        sealer.seal(&mut out, start);
    }
    out
}

fn drain(opener: &mut Opener, input: &mut &mut [u8]) -> Result<Vec<(u32, Vec<u8>)>, CloseReason> {
    let mut seen = Vec::new();
    while let Some(frame) = opener.next(input)? {
        seen.push((frame.request_id(), frame.value().to_vec()));
    }
    Ok(seen)
}

#[test]
fn every_split_of_a_three_frame_stream_gives_the_same_frames() {
    for suite in Suite::ALL {
        let stream = three_frames(&mut pair(suite).0);
        let whole = drain(&mut pair(suite).1, &mut stream.clone().as_mut_slice()).unwrap();
        assert_eq!(whole.len(), 3);
        for split in 0..=stream.len() {
            let mut opener = pair(suite).1;
            let mut bytes = stream.clone();
            let (first, _) = bytes.split_at_mut(split);
            let mut input = first;
            let mut seen = drain(&mut opener, &mut input).unwrap();
            let consumed = split - input.len();
            seen.extend(drain(&mut opener, &mut &mut bytes[consumed..]).unwrap());
            assert_eq!(seen, whole, "{suite:?} split at {split}");
        }
    }
}

#[test]
fn byte_by_byte_gives_the_same_frames() {
    for suite in Suite::ALL {
        let stream = three_frames(&mut pair(suite).0);
        let mut opener = pair(suite).1;
        let (mut buffer, mut seen) = (Vec::new(), Vec::new());
        for byte in &stream {
            buffer.push(*byte);
            let len = buffer.len();
            let mut input = buffer.as_mut_slice();
            seen.extend(drain(&mut opener, &mut input).unwrap());
            let consumed = len - input.len();
            buffer.drain(..consumed);
        }
        assert_eq!(
            seen.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert!(buffer.is_empty());
    }
}

#[test]
fn every_single_bit_flip_of_a_thousand_frames_is_refused() {
    let (mut sealer, _) = pair(Suite::Hmac);
    let mut refused = 0u32;
    for number in 0..1_000u32 {
        let mut frame = Vec::new();
        let value = number.to_be_bytes();
        let start = write_frame(
            &mut frame,
            FrameHead::new(Opcode::Set, number + 1),
            &[],
            b"key",
            &value,
        );
        sealer.seal(&mut frame, start);
        // One bit per byte in turn keeps the number of checks near sixty thousand.
        for byte in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[byte] ^= 1 << ((byte + number as usize) % 8);
            let mut opener = pair(Suite::Hmac).1;
            for _ in 0..number.min(3) {
                let (mut other, _) = pair(Suite::Hmac);
                let mut filler = three_frames(&mut other);
                let _ = opener.next(&mut filler.as_mut_slice());
            }
            assert!(!matches!(
                opener.next(&mut flipped.as_mut_slice()),
                Ok(Some(_))
            ));
            refused += 1;
        }
    }
    assert!(refused > 50_000);
}

#[test]
fn replay_swap_deletion_and_reflection_fail_the_same_check() {
    let bad = Some(CloseReason::Auth(AuthFailed));
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let frames = || {
            let mut stream = three_frames(&mut pair(suite).0);
            let third = stream.split_off(63 + 14 + 56);
            let second = stream.split_off(63);
            (stream, second, third)
        };
        let (first, second, third) = frames();
        for order in [
            vec![&first, &first],
            vec![&second, &first],
            vec![&first, &third],
        ] {
            let mut bytes: Vec<u8> = order.into_iter().flatten().copied().collect();
            assert_eq!(
                drain(&mut pair(suite).1, &mut bytes.as_mut_slice()).err(),
                bad
            );
        }
        let schedule = Schedule::new(
            &Secret::new(&[1; 32]),
            &[2; 32],
            &Transport::Plain,
            suite,
            [3; 32],
        );
        let mut back = Opener::version_2(suite, schedule.server_to_client(), 1 << 20);
        assert_eq!(
            drain(&mut back, &mut first.clone().as_mut_slice()).err(),
            bad
        );
    }
}

#[test]
fn a_length_one_past_the_limit_closes_before_the_body_is_there() {
    let (_, mut opener) = pair(Suite::Hmac);
    opener.set_frame_bytes_max(100);
    for (len, expected) in [
        (100, Ok(true)),
        (101, Err(CloseReason::Limit(Limit::FrameBytes))),
    ] {
        let mut out = Vec::new();
        write_frame(
            &mut out,
            FrameHead::new(Opcode::Set, 1),
            &[],
            &[],
            &vec![0; len],
        );
        out.truncate(20);
        assert_eq!(
            opener.next(&mut out.as_mut_slice()).map(|f| f.is_none()),
            expected
        );
    }
}

#[test]
fn wrong_magic_closes_at_its_first_byte() {
    let (_, mut opener) = pair(Suite::Hmac);
    for start in [&b"G"[..], b"\xCAX", b"\x16\x03"] {
        let mut bytes = start.to_vec();
        assert_eq!(
            opener.next(&mut bytes.as_mut_slice()).err(),
            Some(CloseReason::NotThisProtocol)
        );
    }
    assert!(opener.next(&mut [0xCA].as_mut_slice()).unwrap().is_none());
}

#[test]
fn key_update_moves_one_direction_and_a_wrong_epoch_closes() {
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let (mut sealer, mut opener) = pair(suite);
        let mut out = three_frames(&mut sealer);
        sealer.update_keys(&mut out, Opcode::KeyUpdate).unwrap();
        out.extend(three_frames(&mut sealer));
        sealer.update_keys(&mut out, Opcode::KeyUpdate).unwrap();
        out.extend(three_frames(&mut sealer));
        assert_eq!(
            drain(&mut opener, &mut out.as_mut_slice()).unwrap().len(),
            11
        );

        let (mut sealer, mut opener) = pair(suite);
        let mut out = Vec::new();
        let start = write_frame(
            &mut out,
            FrameHead::new(Opcode::KeyUpdate, 0),
            &[],
            &[],
            &[0, 0, 0, 2],
        );
        sealer.seal(&mut out, start);
        assert_eq!(
            drain(&mut opener, &mut out.as_mut_slice()).err(),
            Some(ProtocolViolation::KeyUpdate.into())
        );
    }
    let (mut sealer, _) = pair(Suite::Checksum);
    let mut out = Vec::new();
    assert!(sealer.update_keys(&mut out, Opcode::KeyUpdate).is_err());
    assert!(out.is_empty());
}

#[test]
fn flags_are_checked_after_the_tag() {
    let outcome = |suite: Suite, flags: u8| {
        let (mut sealer, mut opener) = pair(suite);
        let mut out = Vec::new();
        let head = FrameHead {
            opcode: Opcode::Set,
            request_id: 1,
            flags: Flags(flags),
        };
        let start = write_frame(&mut out, head, &[], b"k", b"v");
        sealer.seal(&mut out, start);
        drain(&mut opener, &mut out.as_mut_slice()).map(|frames| frames.len())
    };
    assert_eq!(outcome(Suite::Hmac, 1 | 4), Ok(1));
    assert_eq!(
        outcome(Suite::Hmac, 2),
        Err(ProtocolViolation::EncryptedFlag.into())
    );
    assert_eq!(outcome(Suite::Encrypted, 2), Ok(1));
    for bit in 3..8 {
        assert_eq!(
            outcome(Suite::Hmac, 1 << bit),
            Err(ProtocolViolation::ReservedFlags.into())
        );
    }
}

#[test]
fn a_detached_value_is_sealed_like_an_inline_one() {
    for suite in [Suite::Checksum, Suite::Hmac] {
        let value = vec![5; 40_000];
        let head = FrameHead::new(Opcode::Ok, 4);
        let mut inline = Vec::new();
        let start = write_frame(&mut inline, head, &[2, 0], b"k", &value);
        pair(suite).0.seal(&mut inline, start);
        let mut front = Vec::new();
        let start = crate::seal::write_frame_front(&mut front, head, &[2, 0], b"k", value.len());
        pair(suite)
            .0
            .seal_detached(&mut front, start, &value)
            .unwrap();
        front.extend_from_slice(&value);
        assert_eq!(inline, front);
    }
    let (mut sealer, _) = pair(Suite::Encrypted);
    assert!(sealer.seal_detached(&mut Vec::new(), 0, b"value").is_err());
}

#[test]
fn the_first_version_1_frame_has_the_limit_of_an_unproven_peer() {
    let frame = |id, len| {
        let mut out = Vec::new();
        let start = write_frame(
            &mut out,
            FrameHead::new(Opcode::Set, id),
            &[],
            b"key",
            &vec![7; len],
        );
        Sealer::version_1(&[1; 32]).seal(&mut out, start);
        out
    };
    let open = |opener: &mut Opener, mut bytes: Vec<u8>| {
        opener
            .next(&mut bytes.as_mut_slice())
            .map(|frame| frame.is_some())
    };
    let limited = || {
        let mut opener = Opener::version_1_server(&[1; 32], 8_192);
        opener.limit_first_frame(4_096);
        opener
    };
    let too_long = Err(CloseReason::Limit(Limit::FrameBytes));
    assert_eq!(open(&mut limited(), frame(1, 4_094)), too_long);
    let mut opener = limited();
    assert_eq!(open(&mut opener, frame(1, 4_093)), Ok(true));
    assert_eq!(open(&mut opener, frame(2, 8_189)), Ok(true));
    assert_eq!(open(&mut opener, frame(3, 8_190)), too_long);
    // A frame that fails proves nothing.
    let mut opener = limited();
    let mut forged = frame(1, 10);
    forged[20] ^= 1;
    assert!(open(&mut opener, forged).is_err());
    assert_eq!(open(&mut opener, frame(1, 4_094)), too_long);
}
