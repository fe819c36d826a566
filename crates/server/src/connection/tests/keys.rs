//! Who has proven what, and when: keys that change during a handshake, version 1 before its first frame.

use std::time::Duration;

use kv_proto::{ClientHandshake, ClientStep, Opcode, Secret, Suite, Transport};
use kv_service::{Identity, KeyEntry, Role};
use kv_testkit::raw::{self, RawClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::{Bench, KEY, plain};

fn entry(secret: [u8; 32]) -> KeyEntry {
    KeyEntry {
        id: "app".into(),
        secret: kv_service::Secret::new(secret.to_vec()).unwrap(),
        identity: Identity::new("app").unwrap(),
        permissions: Role::Reader.permissions(),
    }
}

/// A handshake up to AUTH, which is returned unsent.
async fn up_to_auth(stream: &mut DuplexStream) -> Vec<u8> {
    let settings = raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac]);
    let mut out = Vec::new();
    let mut handshake = ClientHandshake::start(settings, Transport::Plain, raw::random(), &mut out);
    stream.write_all(&out).await.unwrap();
    out.clear();
    let mut input = Vec::new();
    loop {
        assert!(stream.read_buf(&mut input).await.unwrap() > 0);
        match handshake.recv(&mut input.as_mut_slice(), &mut out).unwrap() {
            ClientStep::NeedMore => {}
            ClientStep::Established(_) => return out,
            ClientStep::Refused(text) => panic!("{text}"),
        }
    }
}

/// C9: a key that goes, or gets another secret, between HELLO and AUTH opens nothing.
#[tokio::test(start_paused = true)]
async fn a_key_that_changes_during_the_handshake_opens_no_session() {
    for after in [vec![], vec![entry([9; 32])]] {
        let mut bench = Bench::new("");
        let mut stream = bench.dial(4096);
        let auth = up_to_auth(&mut stream).await;
        bench.shared.keys.replace(after).unwrap();
        stream.write_all(&auth).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
        bench.ends_within(Duration::ZERO).await;
    }
}

/// C9: what the key grants is decided when the session opens.
#[tokio::test(start_paused = true)]
async fn a_permission_that_goes_during_the_handshake_is_gone_in_the_session() {
    let mut bench = Bench::new("");
    let mut stream = bench.dial(4096);
    let auth = up_to_auth(&mut stream).await;
    bench.shared.keys.replace(vec![entry(KEY)]).unwrap();
    stream.write_all(&auth).await.unwrap();
    super::settle().await;
    assert_eq!(bench.shared.registry.len(), 1);
    let mut ready = vec![0; 4096];
    let read = stream.read(&mut ready).await.unwrap();
    let text = String::from_utf8_lossy(&ready[..read]).into_owned();
    assert!(text.contains("read") && !text.contains("write"), "{text}");
}

/// P8: sixteen bytes that say "version 1" prove nothing, and wait no longer than others may.
#[tokio::test(start_paused = true)]
async fn a_version_1_connection_is_no_session_before_its_first_frame_verified() {
    let mut bench = Bench::with(
        "",
        "[protocol]\nv1 = true\nv1_key = \"app\"",
        super::memory(),
    );
    let mut unused = RawClient::version_1(bench.dial(4096), &KEY);
    unused.queue(Opcode::Get, 1, &plain(), b"k", &[]);
    let frame = std::mem::take(unused.ends().output());
    for said in [16, frame.len() - 1] {
        let began = Instant::now();
        let mut stream = bench.dial(4096);
        stream.write_all(&frame[..said]).await.unwrap();
        super::settle().await;
        assert_eq!(bench.shared.registry.len(), 0, "after {said} bytes");
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
    let mut client = RawClient::version_1(bench.dial(4096), &KEY);
    client.send_bytes(&frame).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is(Opcode::NotFound));
    assert_eq!(bench.shared.registry.len(), 1);
}

/// S11: who dribbles a handshake does not hold up a server that stops.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_has_begun_gets_a_second_when_the_server_drains() {
    let mut bench = Bench::new("");
    let mut stream = bench.dial(4096);
    stream.write_all(&[0xCA]).await.unwrap();
    super::settle().await;
    bench.shared.registry.drain();
    let mut answer = Vec::new();
    let began = Instant::now();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_100));
    assert!(String::from_utf8_lossy(&answer).contains("SHUTTING_DOWN: "));
    bench.ends_within(Duration::from_secs(1)).await;
}
