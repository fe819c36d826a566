//! Sessions of both versions through the codec: whole, split, damaged, ended.

use proptest::prelude::*;

use super::*;
use crate::error::{AuthFailed, Limit};
use crate::ext::Extensions;
use crate::handshake::{
    ClientHandshake, ClientRandom, ClientSettings, ClientStep, KeyLookup, ServerHandshake,
    ServerRandom, ServerSettings, ServerStep,
};
use crate::header::Flags;
use crate::keys::Transport;
use crate::limits::SessionLimits;
use crate::opcode::OpcodeByte;
use crate::suite::{Capabilities, Secret, Suite, SuiteList};

struct OneKey;

impl KeyLookup for OneKey {
    fn find(&self, _: Option<&str>) -> (Secret, bool) {
        (Secret::new(&[7; 32]), true)
    }
}

/// Client and server after a handshake.
fn session(suite: Suite) -> (KvCodec, KvCodec) {
    let server = ServerSettings {
        suites: SuiteList::new(&[suite]),
        capabilities: Capabilities::NONE,
        limits: SessionLimits {
            frame_bytes_max: 64 * 1024,
            ..SessionLimits::default()
        },
        software: "server".into(),
        version_1: None,
    };
    let client = ClientSettings {
        suites: SuiteList::new(&[suite]),
        capabilities: Capabilities::NONE,
        key: (suite != Suite::Checksum).then(|| ("dev".into(), Secret::new(&[7; 32]))),
        server_name: "localhost".into(),
        software: "client".into(),
    };
    let random = ServerRandom {
        nonce: [2; 32],
        session_id: [3; 16],
        x25519: [4; 32],
    };
    let mut server = ServerHandshake::new(&server, Transport::Plain, random);
    let random = ClientRandom {
        nonce: [1; 32],
        x25519: [5; 32],
    };
    let (mut hello, mut welcome, mut auth) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = ClientHandshake::start(client, Transport::Plain, random, &mut hello);
    let Ok(ServerStep::Progress) = server.recv(&mut hello.as_mut_slice(), &mut welcome, &OneKey)
    else {
        panic!("HELLO was not taken");
    };
    let Ok(ClientStep::Established(client)) = client.recv(&mut welcome.as_mut_slice(), &mut auth)
    else {
        panic!("WELCOME was not taken");
    };
    let Ok(ServerStep::Established(server)) =
        server.recv(&mut auth.as_mut_slice(), &mut welcome, &OneKey)
    else {
        panic!("AUTH was not taken");
    };
    (KvCodec::version_2(*client), KvCodec::version_2(*server))
}

fn version_1() -> (KvCodec, KvCodec) {
    (
        KvCodec::version_1_client(&[7; 32]),
        KvCodec::version_1_server(&[7; 32]),
    )
}

fn set(request_id: u32, value: &[u8]) -> KvMessage {
    KvMessage::new(Opcode::Set, request_id, "key", value.to_vec())
}

/// ENCRYPTED is the session's business; the rest has to arrive as it was sent.
fn clear(message: KvMessage) -> KvMessage {
    KvMessage {
        flags: Flags(message.flags.0 & !Flags::ENCRYPTED.0),
        ..message
    }
}

#[test]
fn every_field_arrives_in_every_suite() {
    for suite in Suite::ALL {
        let (mut client, mut server) = session(suite);
        let extensions = Extensions {
            ttl_ms: Some(9),
            ..Extensions::default()
        };
        let messages = [
            set(1, b"value").with_extensions(&extensions),
            KvMessage {
                flags: Flags::COMPRESSED.with(Flags::MORE),
                ..set(u32::MAX, &[1; 40_000])
            },
            KvMessage::new(OpcodeByte(99), 3, "", ""),
        ];
        let mut wire = BytesMut::new();
        for message in &messages {
            client.encode(message.clone(), &mut wire).unwrap();
        }
        for message in messages {
            let received = server.decode(&mut wire).unwrap().unwrap();
            assert_eq!(
                received.flags.contains(Flags::ENCRYPTED),
                suite == Suite::Encrypted
            );
            assert_ne!(received.tag, [0; TAG_LEN]);
            assert_eq!(clear(received), message);
        }
        assert!(wire.is_empty());
        // What came from one session goes on into the next, ENCRYPTED or not.
        let (mut client, mut server) = session(Suite::Hmac);
        let relayed = KvMessage {
            flags: Flags::ENCRYPTED,
            ..set(1, b"v")
        };
        client.encode(relayed.clone(), &mut wire).unwrap();
        assert_eq!(server.decode(&mut wire).unwrap(), Some(clear(relayed)));
    }
}

#[test]
fn three_frames_arrive_whole_for_every_split_point() {
    for split in 0..=3 * 48 + 3 * 3 + 15 {
        for pair in [session(Suite::Encrypted), session(Suite::Hmac)] {
            let (mut client, mut server) = pair;
            let messages = [set(1, b"first"), set(2, b"second, longer"), set(3, b"")];
            let mut wire = BytesMut::new();
            for message in &messages {
                client.encode(message.clone(), &mut wire).unwrap();
            }
            let rest = wire.split_off(split.min(wire.len()));
            let mut input = wire;
            let mut received = Vec::new();
            for part in [BytesMut::new(), rest] {
                input.unsplit(part);
                while let Some(message) = server.decode(&mut input).unwrap() {
                    received.push(clear(message));
                }
            }
            assert_eq!(received, messages);
        }
    }
}

#[test]
fn frames_arrive_byte_by_byte() {
    let (mut client, mut server) = session(Suite::Hmac);
    let mut wire = BytesMut::new();
    for id in 1..=3 {
        client.encode(set(id, b"value"), &mut wire).unwrap();
    }
    let mut input = BytesMut::new();
    let mut ids = Vec::new();
    for byte in wire {
        input.extend_from_slice(&[byte]);
        ids.extend(
            server
                .decode(&mut input)
                .unwrap()
                .map(|message| message.request_id),
        );
    }
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn every_flipped_bit_ends_the_connection_for_good() {
    let (mut client, _) = session(Suite::Hmac);
    let mut frame = BytesMut::new();
    client.encode(set(1, b"value"), &mut frame).unwrap();
    for bit in 0..frame.len() * 8 {
        let (_, mut server) = session(Suite::Hmac);
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // In a length the frame may now be incomplete; nothing of it is handed out either way.
        match server.decode(&mut damaged) {
            Ok(None) => assert!((9 * 8..16 * 8).contains(&bit), "bit {bit}"),
            Ok(Some(_)) => panic!("bit {bit} went through"),
            Err(_) => {
                let mut good = frame.clone();
                assert!(matches!(
                    server.decode(&mut good),
                    Err(CodecError::Close(_))
                ));
            }
        }
    }
}

#[test]
fn a_frame_sent_again_is_refused() {
    let (mut client, mut server) = session(Suite::Hmac);
    let mut wire = BytesMut::new();
    client.encode(set(1, b"value"), &mut wire).unwrap();
    wire.extend_from_slice(&wire.clone());
    assert!(server.decode(&mut wire).unwrap().is_some());
    let error = server.decode(&mut wire).unwrap_err();
    assert!(matches!(
        error,
        CodecError::Close(CloseReason::Auth(AuthFailed))
    ));

    let (mut client, mut server) = version_1();
    let mut wire = BytesMut::new();
    client
        .encode(set(1, b"value").version_1(), &mut wire)
        .unwrap();
    wire.extend_from_slice(&wire.clone());
    assert!(server.decode(&mut wire).unwrap().is_some());
    let error = server.decode(&mut wire).unwrap_err();
    assert!(matches!(
        error,
        CodecError::Close(CloseReason::Violation(
            crate::error::ProtocolViolation::Replayed
        ))
    ));
}

#[test]
fn a_frame_beyond_the_limit_is_neither_sent_nor_awaited() {
    let (mut client, mut server) = session(Suite::Hmac);
    let mut wire = BytesMut::new();
    let longest = 64 * 1024 - 3;
    client.encode(set(1, &vec![0; longest]), &mut wire).unwrap();
    assert!(server.decode(&mut wire).unwrap().is_some());
    let error = client
        .encode(set(2, &vec![0; longest + 1]), &mut wire)
        .unwrap_err();
    assert!(matches!(
        error,
        CodecError::Message(MessageError::FrameTooLong { .. })
    ));
    assert!(wire.is_empty());

    let huge = KvMessage::new(Opcode::Set, 2, "key", "").header(3).unwrap();
    let huge = Header {
        value_len: u32::MAX,
        ..huge
    };
    let mut input = BytesMut::from(&huge.to_bytes()[..]);
    let capacity = input.capacity();
    let error = server.decode(&mut input).unwrap_err();
    assert!(matches!(
        error,
        CodecError::Close(CloseReason::Limit(Limit::FrameBytes))
    ));
    assert_eq!(input.capacity(), capacity);
}

#[test]
fn only_messages_of_the_sessions_version_are_sent() {
    let mut wire = BytesMut::new();
    let error = version_1().0.encode(set(1, b""), &mut wire).unwrap_err();
    assert!(matches!(
        error,
        CodecError::Message(MessageError::WrongVersion(2))
    ));
    let error = session(Suite::Hmac)
        .0
        .encode(set(1, b"").version_1(), &mut wire)
        .unwrap_err();
    assert!(matches!(
        error,
        CodecError::Message(MessageError::WrongVersion(1))
    ));
    assert!(wire.is_empty());
}

#[test]
fn a_key_update_moves_both_sides() {
    let (mut client, mut server) = session(Suite::Encrypted);
    let mut wire = BytesMut::new();
    for id in 1..4 {
        client
            .encode(KvMessage::new(Opcode::KeyUpdate, 0, "", ""), &mut wire)
            .unwrap();
        client
            .encode(set(id, b"under the next key"), &mut wire)
            .unwrap();
        let update = server.decode(&mut wire).unwrap().unwrap();
        assert_eq!(update.value, id.to_be_bytes().as_slice());
        let message = server.decode(&mut wire).unwrap().unwrap();
        assert_eq!(clear(message), set(id, b"under the next key"));
    }
}

#[test]
fn the_end_of_the_stream_inside_a_frame_is_an_error() {
    let (mut client, mut server) = session(Suite::Hmac);
    let mut wire = BytesMut::new();
    client.encode(set(1, b"value"), &mut wire).unwrap();
    client.encode(set(2, b"value"), &mut wire).unwrap();
    wire.truncate(wire.len() - 1);
    assert!(server.decode_eof(&mut wire).unwrap().is_some());
    assert!(matches!(
        server.decode_eof(&mut wire),
        Err(CodecError::Truncated)
    ));
    wire.clear();
    assert!(server.decode_eof(&mut wire).unwrap().is_none());
}

#[test]
fn the_codec_gives_its_halves_back() {
    let (client, mut server) = session(Suite::Hmac);
    assert!(!client.sealer().key_update_due());
    let (_, mut sealer) = client.into_parts();
    let mut out = Vec::new();
    let head = crate::seal::FrameHead::new(Opcode::Get, 5);
    let start = crate::seal::write_frame(&mut out, head, &[], b"key", &[]);
    sealer.seal(&mut out, start);
    let mut wire = BytesMut::from(out.as_slice());
    assert_eq!(server.decode(&mut wire).unwrap().unwrap().request_id, 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_messages_arrive_in_any_slices(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 1..6),
        slice in 1..30_000_usize,
    ) {
        let (mut client, mut server) = session(Suite::Encrypted);
        let mut wire = BytesMut::new();
        for value in &values {
            client.encode(set(1, value), &mut wire).unwrap();
        }
        let mut input = BytesMut::new();
        let mut received = Vec::new();
        for part in wire.chunks(slice) {
            input.extend_from_slice(part);
            while let Some(message) = server.decode(&mut input).unwrap() {
                received.push(message.value);
            }
        }
        prop_assert_eq!(received, values);
    }
}
