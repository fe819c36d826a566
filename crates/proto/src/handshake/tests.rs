use super::*;
use crate::error::{AuthFailed, ProtocolViolation};
use crate::keys::Transport;
use crate::limits::SessionLimits;
use crate::seal::{FrameHead, write_frame};
use crate::suite::SuiteList;

struct Ring;

impl KeyLookup for Ring {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        match key_id {
            Some("dev") => (Secret::new(&[7; 32]), true),
            _ => (Secret::new(&[99; 32]), false),
        }
    }
}

fn server_settings(suites: &[Suite]) -> ServerSettings {
    ServerSettings {
        suites: SuiteList::new(suites),
        capabilities: Capabilities::LZ4,
        limits: SessionLimits::default(),
        software: "kv-server/test".into(),
        version_1: None,
    }
}

fn client_settings(suites: &[Suite], key: Option<(&str, [u8; 32])>) -> ClientSettings {
    ClientSettings {
        suites: SuiteList::new(suites),
        capabilities: Capabilities::LZ4,
        key: key.map(|(id, secret)| (id.into(), Secret::new(&secret))),
        server_name: "localhost".into(),
        software: "test".into(),
    }
}

fn server_random() -> ServerRandom {
    ServerRandom {
        nonce: [2; 32],
        session_id: [3; 16],
        x25519: [4; 32],
    }
}

fn client_random() -> ClientRandom {
    ClientRandom {
        nonce: [1; 32],
        x25519: [5; 32],
    }
}

struct Outcome {
    client: Established,
    server: Established,
}

/// Runs both roles to the end, changing the bytes of each flight with `tamper(flight, bytes)`.
fn run(
    client: ClientSettings,
    server: &ServerSettings,
    transports: (Transport, Transport),
    tamper: &mut dyn FnMut(u8, &mut Vec<u8>),
) -> Result<Outcome, CloseReason> {
    let mut flight = Vec::new();
    let mut client = ClientHandshake::start(client, transports.0, client_random(), &mut flight);
    let mut server = ServerHandshake::new(server, transports.1, server_random());
    tamper(0, &mut flight);
    let mut reply = Vec::new();
    let ServerStep::Progress = server.recv(&mut flight.as_mut_slice(), &mut reply, &Ring)? else {
        panic!("HELLO was not taken");
    };
    tamper(1, &mut reply);
    let mut auth = Vec::new();
    let ClientStep::Established(client) = client.recv(&mut reply.as_mut_slice(), &mut auth)? else {
        panic!("WELCOME was not taken");
    };
    tamper(2, &mut auth);
    match server.recv(&mut auth.as_mut_slice(), &mut reply, &Ring)? {
        ServerStep::Established(server) => Ok(Outcome {
            client: *client,
            server: *server,
        }),
        _ => panic!("AUTH was not taken"),
    }
}

fn plain() -> (Transport, Transport) {
    (Transport::Plain, Transport::Plain)
}

#[test]
fn every_suite_gives_a_session_in_which_both_directions_work() {
    for suite in Suite::ALL {
        let key = (suite != Suite::Checksum).then_some(("dev", [7; 32]));
        let Outcome {
            mut client,
            mut server,
        } = run(
            client_settings(&[suite], key),
            &server_settings(&Suite::ALL),
            plain(),
            &mut |_, _| {},
        )
        .unwrap();
        assert_eq!((client.suite, server.suite), (suite, suite));
        assert_eq!(client.session_id, server.session_id);
        assert_eq!(server.key_id.as_deref(), key.map(|(id, _)| id));
        for round in 0..3u8 {
            let mut out = Vec::new();
            let start = write_frame(
                &mut out,
                FrameHead::new(Opcode::Set, 9),
                &[],
                b"key",
                &[round; 100],
            );
            client.sealer.seal(&mut out, start);
            let mut input = out.as_mut_slice();
            let frame = server.opener.next(&mut input).unwrap().unwrap();
            assert_eq!(
                (frame.key(), frame.value()),
                (&b"key"[..], &[round; 100][..])
            );
            let mut out = Vec::new();
            let start = write_frame(&mut out, FrameHead::new(Opcode::Ok, 9), &[], &[], &[round]);
            server.sealer.seal(&mut out, start);
            let mut input = out.as_mut_slice();
            let frame = client.opener.next(&mut input).unwrap().unwrap();
            assert_eq!(frame.value(), [round]);
        }
    }
}

#[test]
fn a_wrong_key_at_the_server_is_seen_by_the_client_and_an_unknown_id_looks_the_same() {
    for key in [("dev", [8; 32]), ("nobody", [7; 32])] {
        let result = run(
            client_settings(&[Suite::Hmac], Some(key)),
            &server_settings(&[Suite::Hmac]),
            plain(),
            &mut |_, _| {},
        );
        assert_eq!(result.err(), Some(CloseReason::Auth(AuthFailed)));
    }
}

#[test]
fn a_session_is_bound_to_the_tls_connection_that_carries_it() {
    let run = |client, server| {
        run(
            client_settings(&[Suite::Hmac], Some(("dev", [7; 32]))),
            &server_settings(&[Suite::Hmac]),
            (client, server),
            &mut |_, _| {},
        )
        .err()
    };
    assert_eq!(run(Transport::Tls([1; 32]), Transport::Tls([1; 32])), None);
    for (client, server) in [
        (Transport::Tls([1; 32]), Transport::Tls([2; 32])),
        (Transport::Plain, Transport::Tls([0; 32])),
    ] {
        assert_eq!(run(client, server), Some(CloseReason::Auth(AuthFailed)));
    }
}

#[test]
fn every_bit_of_every_flight_is_covered() {
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let attempt = |tamper: &mut dyn FnMut(u8, &mut Vec<u8>)| {
            run(
                client_settings(&[suite], Some(("dev", [7; 32]))),
                &server_settings(&Suite::ALL),
                plain(),
                tamper,
            )
        };
        let mut lengths = [0usize; 3];
        attempt(&mut |flight, bytes| lengths[usize::from(flight)] = bytes.len()).unwrap();
        for (flight, &len) in lengths.iter().enumerate() {
            for bit in 0..len * 8 {
                // Lengths that grow make the frame incomplete; it is the deadline that ends those.
                let mut incomplete = false;
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    attempt(&mut |at, bytes| {
                        if usize::from(at) == flight {
                            bytes[bit / 8] ^= 1 << (bit % 8);
                            incomplete = Header::parse(bytes.first_chunk().unwrap())
                                .is_ok_and(|h| h.body_len() + 48 > bytes.len() as u64);
                        }
                    })
                    .map(|_| ())
                }));
                match result {
                    Ok(Ok(())) => panic!("flight {flight}, bit {bit} was accepted"),
                    Ok(Err(_)) => {}
                    Err(_) => assert!(incomplete, "flight {flight}, bit {bit} panicked"),
                }
            }
        }
    }
}

#[test]
fn no_suite_is_offered_that_the_caller_did_not_want() {
    let refused = run(
        client_settings(&[Suite::Checksum], None),
        &server_settings(&[Suite::Hmac]),
        plain(),
        &mut |_, _| {},
    );
    assert_eq!(refused.err(), Some(CloseReason::NoCommonSuite));
    // A client with a key drops suite 0, so there is nothing left to agree on.
    let keyed = run(
        client_settings(&[Suite::Checksum], Some(("dev", [7; 32]))),
        &server_settings(&Suite::ALL),
        plain(),
        &mut |_, _| {},
    );
    assert_eq!(keyed.err(), Some(CloseReason::NoCommonSuite));
}

#[test]
fn every_opcode_but_hello_as_first_frame_closes() {
    let settings = server_settings(&Suite::ALL);
    let mut closed = 0;
    for opcode in (0..=u8::MAX).filter(|&byte| byte != Opcode::Hello.number()) {
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameHead::new(Opcode::Hello, 0), &[], &[], b"x");
        frame[3] = opcode;
        let mut server = ServerHandshake::new(&settings, Transport::Plain, server_random());
        let result = server.recv(&mut frame.as_mut_slice(), &mut Vec::new(), &Ring);
        assert_eq!(
            result.err(),
            Some(ProtocolViolation::UnexpectedFrame.into())
        );
        closed += 1;
    }
    assert_eq!(closed, 255);
}

#[test]
fn every_version_but_the_known_ones_is_named_unsupported() {
    let settings = server_settings(&Suite::ALL);
    for version in (0..=u8::MAX).filter(|&v| v != VERSION_2) {
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameHead::new(Opcode::Hello, 0), &[], &[], &[]);
        frame[2] = version;
        let mut server = ServerHandshake::new(&settings, Transport::Plain, server_random());
        let result = server.recv(&mut frame.as_mut_slice(), &mut Vec::new(), &Ring);
        assert_eq!(result.err(), Some(CloseReason::UnsupportedVersion(version)));
    }
}

#[test]
fn a_version_1_connection_begins_with_its_first_request() {
    let mut settings = server_settings(&[Suite::Hmac]);
    settings.version_1 = Some(Secret::new(&[6; 32]));
    let mut frame = Vec::new();
    let start = write_frame(&mut frame, FrameHead::new(Opcode::Get, 1), &[], b"key", &[]);
    Sealer::version_1(&[6; 32]).seal(&mut frame, start);
    let mut again = frame.clone();
    let mut server = ServerHandshake::new(&settings, Transport::Plain, server_random());
    let mut input = frame.as_mut_slice();
    let Ok(ServerStep::Version1 { mut opener, .. }) =
        server.recv(&mut input, &mut Vec::new(), &Ring)
    else {
        panic!("not taken as version 1");
    };
    assert_eq!(opener.next(&mut input).unwrap().unwrap().key(), b"key");
    assert_eq!(
        opener.next(&mut again.as_mut_slice()).err(),
        Some(ProtocolViolation::Replayed.into())
    );
}

#[test]
fn a_refusal_is_readable_before_any_session() {
    let mut out = Vec::new();
    refusal(&mut out, None, "the server is full\n");
    let mut hello = Vec::new();
    let mut client = ClientHandshake::start(
        client_settings(&[Suite::Hmac], None),
        Transport::Plain,
        client_random(),
        &mut hello,
    );
    let Ok(ClientStep::Refused(text)) = client.recv(&mut out.as_mut_slice(), &mut Vec::new())
    else {
        panic!("not read as a refusal");
    };
    assert_eq!(&*text, "the server is full\\n");
}
