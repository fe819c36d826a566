//! From the first byte to READY: everything but the right frame in the right place ends the connection.

use std::time::{Duration, Instant};

use kv_proto::{
    ClientHandshake, ClientHello, FrameHead, Header, Opcode, OpcodeByte, PREFIX_LEN, Schedule,
    Sealer, Secret, Suite, Transport, transcript_hash, write_frame,
};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{KEY, Setup, TestServer, assert_ok, call, plain};

/// What the server says to these bytes until it closes; the sender keeps its side open.
async fn answer_to(server: &TestServer, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.dial().await;
    let _ = stream.write_all(bytes).await;
    to_the_end(&mut stream).await
}

async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    answer
}

fn settings() -> kv_proto::ClientSettings {
    raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac])
}

fn hello() -> Vec<u8> {
    let mut out = Vec::new();
    let _ = ClientHandshake::start(settings(), Transport::Plain, raw::random(), &mut out);
    out
}

/// A frame of any opcode byte, unsealed.
fn bare(opcode: u8) -> Vec<u8> {
    let mut frame = raw::unsealed(Opcode::Get, 0, &[], &[]);
    frame[3] = opcode;
    frame
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; PREFIX_LEN];
    within(stream.read_exact(&mut frame)).await.unwrap();
    let header = Header::parse(frame.first_chunk().unwrap()).unwrap();
    frame.resize(PREFIX_LEN + usize::try_from(header.body_len()).unwrap(), 0);
    within(stream.read_exact(&mut frame[PREFIX_LEN..]))
        .await
        .unwrap();
    frame
}

#[tokio::test]
async fn any_other_first_frame_ends_the_connection_without_a_word() {
    let server = TestServer::start().await;
    for opcode in (0..=255u8).filter(|&byte| byte != Opcode::Hello.number()) {
        assert_eq!(
            answer_to(&server, &bare(opcode)).await,
            b"",
            "opcode {opcode}"
        );
    }
}

/// HELLO is sent and WELCOME read; then a frame that is signed as it should be, with any opcode in
/// the place of AUTH.
async fn second_frame(
    server: &TestServer,
    opcode: u8,
    value: impl Fn(&Schedule, &[u8; 32]) -> Vec<u8>,
) -> Vec<u8> {
    let mut stream = server.dial().await;
    let hello = hello();
    stream.write_all(&hello).await.unwrap();
    let mut welcome = read_frame(&mut stream).await;
    welcome[16..PREFIX_LEN].fill(0);
    let transcript = transcript_hash(&hello, &welcome, &Transport::Plain);
    let psk = Secret::new(&KEY);
    let schedule = Schedule::new(&psk, &[0; 32], &Transport::Plain, Suite::Hmac, transcript);
    let mut sealer = Sealer::version_2(Suite::Hmac, schedule.client_to_server());
    let mut frame = Vec::new();
    let value = value(&schedule, &transcript);
    write_frame(
        &mut frame,
        FrameHead::new(Opcode::Auth, 0),
        &[],
        &[],
        &value,
    );
    frame[3] = opcode;
    sealer.seal(&mut frame, 0);
    stream.write_all(&frame).await.unwrap();
    stream.shutdown().await.unwrap();
    to_the_end(&mut stream).await
}

/// AUTH's value.
fn proof(schedule: &Schedule, transcript: &[u8; 32]) -> Vec<u8> {
    let key = kv_proto::MacKey::new(schedule.client_confirm().as_slice());
    key.tag(&[b"kv/2 client", transcript]).to_bytes().to_vec()
}

#[tokio::test]
async fn any_other_second_frame_ends_the_connection_though_its_tag_is_right() {
    let server = TestServer::start().await;
    // The frame itself is right: with AUTH's opcode it opens the session.
    let ready = second_frame(&server, Opcode::Auth.number(), proof).await;
    assert_eq!(ready[3], Opcode::Ready.number());
    for opcode in (0..=255u8).filter(|&byte| byte != Opcode::Auth.number()) {
        assert_eq!(
            second_frame(&server, opcode, proof).await,
            b"",
            "opcode {opcode}"
        );
    }
    // The frame's tag alone proves nothing: the value has to be the proof.
    for wrong in [0, 31, 32, 33] {
        let answer = second_frame(&server, Opcode::Auth.number(), |_, _| vec![7; wrong]).await;
        assert_eq!(answer, b"", "a proof of {wrong} bytes");
    }
}

#[tokio::test]
async fn frames_of_the_handshake_and_of_the_other_side_end_an_open_session() {
    let server = TestServer::start().await;
    let unknown = (128..=255u8).filter(|&byte| Opcode::try_from(OpcodeByte(byte)).is_err());
    let known = Opcode::ALL
        .iter()
        .filter(|o| o.number() >= 128)
        .map(|o| o.number());
    let handshake = [Opcode::Hello.number(), Opcode::Auth.number()];
    for opcode in unknown.chain(known).chain(handshake) {
        let mut client = server.raw().await;
        client.ends().send_unknown(opcode, 5);
        client.flush().await.unwrap();
        let rest = crate::support::rest(&mut client).await;
        assert!(
            rest.iter().all(|message| message.id == 0),
            "opcode {opcode} was answered"
        );
    }
}

#[tokio::test]
async fn another_version_is_told_which_ones_there_are() {
    let server = TestServer::start().await;
    for version in (0..=255u8).filter(|version| *version != 2) {
        let mut frame = hello();
        frame[2] = version;
        let answer = answer_to(&server, &frame).await;
        assert_eq!((answer[2], answer[3]), (1, Opcode::Err.number()));
        assert_eq!(
            &answer[PREFIX_LEN..],
            b"UNSUPPORTED_VERSION: supported versions 2-2"
        );
    }
}

#[tokio::test]
async fn a_hello_in_a_wrong_form_ends_the_connection() {
    let server = TestServer::start().await;
    let good = hello();
    let header = [(4, "request id"), (8, "flags"), (16, "tag"), (47, "tag")];
    for (at, what) in header {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(answer_to(&server, &bad).await, b"", "{what}");
    }
    let value = &good[PREFIX_LEN..];
    let decoded = ClientHello::decode(value).unwrap();
    let alone = |change: &dyn Fn(&mut ClientHello)| {
        let mut hello = decoded.clone();
        change(&mut hello);
        hello.encode()
    };
    let twice = [value, value].concat();
    for (what, bad) in [
        ("nothing", Vec::new()),
        ("a cut field", value[..value.len() - 1].to_vec()),
        ("fields twice", twice),
        ("no suite", alone(&|hello| hello.suites = Vec::new())),
        (
            "suites of tomorrow",
            alone(&|hello| hello.suites = vec![77]),
        ),
        (
            "a suite that is off",
            alone(&|hello| hello.suites = vec![0]),
        ),
        (
            "suite 2 without a share",
            alone(&|hello| hello.suites = vec![2]),
        ),
        (
            "a range that is none",
            alone(&|hello| hello.versions = (3, 2)),
        ),
    ] {
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameHead::new(Opcode::Hello, 0), &[], &[], &bad);
        let answer = answer_to(&server, &frame).await;
        assert_eq!(answer, b"", "{what}");
    }
    let mut frame = Vec::new();
    let tomorrow = alone(&|hello| hello.versions = (3, 9));
    write_frame(
        &mut frame,
        FrameHead::new(Opcode::Hello, 0),
        &[],
        &[],
        &tomorrow,
    );
    let answer = answer_to(&server, &frame).await;
    assert!(answer.is_empty() || answer[3] == Opcode::Err.number());
}

#[tokio::test]
async fn a_hello_may_have_4096_bytes_and_not_one_more() {
    let server = TestServer::start().await;
    let mut value = hello().split_off(PREFIX_LEN);
    // A field that nobody knows is skipped.
    let room = 4096 - value.len() - 3;
    value.push(0xC8);
    value.extend_from_slice(&u16::try_from(room).unwrap().to_be_bytes());
    value.resize(4096, 0);
    let mut frame = Vec::new();
    write_frame(
        &mut frame,
        FrameHead::new(Opcode::Hello, 0),
        &[],
        &[],
        &value,
    );
    let mut stream = server.dial().await;
    stream.write_all(&frame).await.unwrap();
    assert_eq!(read_frame(&mut stream).await[3], Opcode::Welcome.number());
    let mut long = frame.clone();
    long[12..16].copy_from_slice(&4097u32.to_be_bytes());
    // The header alone is enough to know.
    assert_eq!(answer_to(&server, &long[..16]).await, b"");
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_at_once_and_without_a_word() {
    let server = Setup::new()
        .limits("authentication_timeout = \"20s\"")
        .start()
        .await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xCA\xFF",
        b"\x00",
    ] {
        let began = Instant::now();
        assert_eq!(answer_to(&server, bytes).await, b"", "{bytes:?}");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "closed by the timer, not for what it is"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_one_look_the_same() {
    let server = TestServer::start().await;
    let mut shapes = Vec::new();
    for id in ["app", "nobody"] {
        let settings = raw::settings(Some((id, Secret::new(&[9; 32]))), &[Suite::Hmac]);
        let mut out = Vec::new();
        let _ = ClientHandshake::start(settings, Transport::Plain, raw::random(), &mut out);
        let mut stream = server.dial().await;
        stream.write_all(&out).await.unwrap();
        let welcome = read_frame(&mut stream).await;
        // It cannot sign AUTH without the key; what it sends is as wrong in both cases.
        let auth = raw::unsealed(Opcode::Auth, 0, &[], &[7; 32]);
        stream.write_all(&auth).await.unwrap();
        shapes.push((
            welcome.len(),
            welcome[..16].to_vec(),
            to_the_end(&mut stream).await,
        ));
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[0].2, b"");
}

#[tokio::test]
async fn a_session_without_a_key_is_only_there_where_it_was_allowed() {
    let server = TestServer::start().await;
    let anonymous = |suite| raw::settings(None, &[suite]);
    for suite in Suite::ALL {
        let opened = within(RawClient::connect(server.dial().await, anonymous(suite))).await;
        assert!(opened.is_err(), "{suite:?}");
    }
    let open = Setup::new()
        .toml(
            "[protocol]\nsuites = [\"hmac-sha256\", \"checksum\"]\n[auth]\nanonymous = [\"read\"]",
        )
        .start()
        .await;
    let mut client = within(RawClient::connect(
        open.dial().await,
        anonymous(Suite::Checksum),
    ))
    .await
    .unwrap();
    assert_eq!(client.get(b"k").await.unwrap(), None);
    let refused = call(&mut client, Opcode::Set, plain(), b"k", b"v").await;
    crate::support::assert_code(&refused, kv_proto::ErrorCode::PermissionDenied);
    // On plain TCP nothing would keep a signed session without a key from being anybody's.
    assert!(
        within(RawClient::connect(
            open.dial().await,
            anonymous(Suite::Hmac)
        ))
        .await
        .is_err()
    );
}

#[tokio::test]
async fn a_silent_peer_is_let_go_and_holds_up_nobody() {
    let server = Setup::new()
        .limits("authentication_timeout = \"300ms\"")
        .start()
        .await;
    let mut silent = Vec::new();
    for half in 0..40 {
        let mut stream = server.dial().await;
        let hello = hello();
        stream
            .write_all(&hello[..hello.len() * half / 40])
            .await
            .unwrap();
        silent.push(stream);
    }
    let began = Instant::now();
    let mut client = server.raw().await;
    client.set(b"k", b"v").await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(250),
        "a login among silent peers: {:?}",
        began.elapsed()
    );
    for mut stream in silent {
        assert_eq!(to_the_end(&mut stream).await, b"");
    }
    assert_eq!(
        client.get(b"k").await.unwrap().unwrap(),
        b"v",
        "the time is for the handshake alone"
    );
}

#[tokio::test]
async fn a_whole_session_may_come_byte_by_byte() {
    let server = TestServer::start().await;
    let mut stream = server.dial().await;
    let mut out = Vec::new();
    let mut handshake =
        ClientHandshake::start(settings(), Transport::Plain, raw::random(), &mut out);
    for byte in std::mem::take(&mut out) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut welcome = read_frame(&mut stream).await;
    let Ok(kv_proto::ClientStep::Established(mut session)) =
        handshake.recv(&mut welcome.as_mut_slice(), &mut out)
    else {
        panic!("no session")
    };
    for id in 1..=3u32 {
        let start = write_frame(&mut out, FrameHead::new(Opcode::Incr, id), &[], b"n", &[]);
        session.sealer.seal(&mut out, start);
    }
    for byte in out {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut frame = read_frame(&mut stream).await;
        let frame = session
            .opener
            .next(&mut frame.as_mut_slice())
            .unwrap()
            .unwrap()
            .value()
            .to_vec();
        seen.push(frame);
    }
    assert_eq!(seen[1..], [1i64, 2, 3].map(|n| n.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn the_session_names_its_limits_and_takes_requests_behind_auth() {
    let server = Setup::new()
        .limits("max_frame_bytes = \"32KiB\"\nmax_in_flight_per_connection = 77\nkeep_alive_interval = \"7s\"")
        .start()
        .await;
    let mut client = within(RawClient::authenticate(
        server.dial().await,
        settings(),
        Transport::Plain,
    ))
    .await
    .unwrap();
    let limits = *client.ends().limits();
    assert_eq!(
        (
            limits.frame_bytes_max,
            limits.in_flight_max,
            limits.ping_after_ms
        ),
        (32 * 1024, 77, 7_000)
    );
    client.queue(Opcode::Set, 1, &plain(), b"k", b"v");
    client.flush().await.unwrap();
    let ready = crate::support::next(&mut client).await;
    assert!(ready.is(Opcode::Ready));
    let value = kv_proto::typed::Value::decode(&ready.value).unwrap();
    assert_eq!(value.at("identity").unwrap().as_str(), Some("app"));
    assert_ok(&crate::support::next(&mut client).await);
}
