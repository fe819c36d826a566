//! Nothing is shown before it is durable, and nothing else waits for it.

mod mixed;
mod places;

use std::sync::Arc;

use kv_proto::{Batch, ErrorCode, Extensions, IF_ABSENT, Opcode, OpcodeByte, Suite, Transport};
use kv_service::Position;
use kv_testkit::certs::{Authority, client_config};
use kv_testkit::engine::DurableEngine;
use kv_testkit::peer::Received;
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::batches::item;
use crate::support::{
    KEY, Raw, Setup, TestServer, assert_code, assert_ok, call, info, memory, next, noise, plain,
};

async fn server() -> (TestServer, Arc<DurableEngine>) {
    server_with(Setup::new()).await
}

async fn server_with(setup: Setup) -> (TestServer, Arc<DurableEngine>) {
    let engine = DurableEngine::new(memory());
    (setup.engine(engine.clone()).start().await, engine)
}

async fn send(client: &mut Raw, opcode: Opcode, id: u32, key: &[u8], value: &[u8]) {
    client.send(opcode, id, &plain(), key, value).await.unwrap();
}

/// Whether the server has nothing more to say than what it is asked now: everything sent before has
/// been executed when this is answered.
async fn is_silent(client: &mut Raw) -> bool {
    let id = client.id();
    send(client, Opcode::Echo, id, &[], b"still there?").await;
    next(client).await.id == id
}

/// As many messages as come for so many requests, by their ids.
async fn answers(client: &mut Raw, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(next(client).await);
    }
    all.sort_by_key(|message| message.id);
    all
}

fn ids(messages: &[Received]) -> Vec<u32> {
    messages.iter().map(|message| message.id).collect()
}

fn absent() -> Extensions<'static> {
    Extensions {
        if_version: Some(IF_ABSENT),
        ..plain()
    }
}

#[tokio::test]
async fn a_write_is_answered_once_it_is_durable_and_seen_by_nobody_before() {
    let (server, engine) = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    send(&mut client, Opcode::Set, 1, b"k", b"v").await;
    send(&mut client, Opcode::Get, 2, b"k", &[]).await;
    assert!(is_silent(&mut client).await);
    send(&mut other, Opcode::Get, 3, b"k", &[]).await;
    assert!(is_silent(&mut other).await);
    assert_eq!(info(&mut other, "clients", "in_flight").await, 3);
    engine.advance();
    let written = next(&mut client).await;
    assert_eq!((written.id, written.is(Opcode::Ok)), (1, true));
    let read = next(&mut client).await;
    assert_eq!((read.id, read.value.as_slice()), (2, &b"v"[..]));
    assert_eq!(next(&mut other).await.value, b"v");
    // What is durable waits for nothing.
    send(&mut other, Opcode::Set, 4, b"another", b"w").await;
    assert_eq!(client.get(b"k").await.unwrap().unwrap(), b"v");
}

/// What the tests here rely on finds an engine that calls durable what is not.
#[tokio::test]
async fn an_engine_that_lies_is_found_out() {
    let engine = DurableEngine::lying(memory());
    let server = Setup::new().engine(engine.clone()).start().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 1, b"k", b"v").await;
    assert!(!is_silent(&mut client).await);
    assert!(engine.durable_in_truth() < engine.staged());
}

#[tokio::test]
async fn reads_of_other_keys_overtake_and_each_reply_leaves_with_its_own_write() {
    let (server, engine) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 1, b"old", b"0").await;
    engine_has(&engine, 1, &mut client).await;
    engine.advance();
    assert_ok(&next(&mut client).await);
    for (id, key) in [(2, b"a"), (3, b"b"), (4, b"c")] {
        client.queue(Opcode::Set, id, &plain(), key, b"1");
    }
    client.queue(Opcode::Get, 5, &plain(), b"a", &[]);
    client.queue(Opcode::Get, 6, &plain(), b"old", &[]);
    client.queue(Opcode::Get, 7, &plain(), b"none", &[]);
    client.queue(Opcode::Del, 8, &plain(), b"none", &[]);
    client.flush().await.unwrap();
    assert_eq!(ids(&answers(&mut client, 3).await), [6, 7, 8]);
    assert!(is_silent(&mut client).await);
    engine.advance_to(Position::of_version(2));
    assert_eq!(ids(&answers(&mut client, 2).await), [2, 5]);
    assert!(is_silent(&mut client).await);
    engine.advance_to(Position::of_version(3));
    assert_eq!(next(&mut client).await.id, 3);
    engine.advance();
    assert_eq!(next(&mut client).await.id, 4);
}

/// Waits until so many writes have been executed.
async fn engine_has(engine: &DurableEngine, writes: u64, witness: &mut Raw) {
    kv_testkit::wait::until(async || {
        info(witness, "clients", "in_flight").await;
        (engine.staged() >= Position::of_version(writes)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn refusals_and_batches_wait_for_what_they_tell() {
    let (server, engine) = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    send(&mut client, Opcode::Set, 1, b"k", b"text").await;
    let tries = [(2, Opcode::Set, absent()), (3, Opcode::Incr, plain())];
    for (id, opcode, ext) in tries {
        other.send(opcode, id, &ext, b"k", &[]).await.unwrap();
    }
    let mut body = Vec::new();
    item(&mut body, Opcode::Get, &plain(), b"none", &[]);
    item(&mut body, Opcode::Get, &plain(), b"k", &[]);
    let mut refused = Vec::new();
    item(&mut refused, Opcode::Set, &plain(), b"other", b"v");
    item(&mut refused, Opcode::Set, &absent(), b"k", b"v");
    let mut applied = Vec::new();
    item(&mut applied, Opcode::Set, &plain(), b"x", b"v");
    item(&mut applied, Opcode::Get, &plain(), b"none", &[]);
    let atomic = Extensions {
        atomic: true,
        ..plain()
    };
    for (id, ext, body) in [
        (4, plain(), &body),
        (5, atomic, &refused),
        (6, atomic, &applied),
    ] {
        other
            .send(Opcode::Batch, id, &ext, &[], body)
            .await
            .unwrap();
    }
    let unheld = call(&mut other, Opcode::Get, plain(), b"other", &[]).await;
    assert!(unheld.is(Opcode::NotFound), "nothing of it was applied");
    assert!(is_silent(&mut other).await);
    engine.advance_to(Position::of_version(1));
    let told = answers(&mut other, 4).await;
    assert_eq!(ids(&told), [2, 3, 4, 5]);
    assert_code(&told[0], ErrorCode::Conflict);
    assert_code(&told[1], ErrorCode::WrongType);
    assert_code(&told[3], ErrorCode::Conflict);
    let kinds: Vec<_> = Batch::replies(&told[2].value)
        .unwrap()
        .iter()
        .map(|item| item.opcode)
        .collect();
    assert_eq!(kinds, [Opcode::NotFound, Opcode::Ok].map(OpcodeByte::from));
    assert!(
        is_silent(&mut other).await,
        "the last one is a write itself"
    );
    engine.advance();
    assert_eq!(next(&mut other).await.id, 6);
    assert_eq!(next(&mut client).await.id, 1);
}

#[tokio::test]
async fn a_scan_waits_for_the_writes_that_it_would_show() {
    let (server, engine) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 1, b"a1", b"v").await;
    send(&mut client, Opcode::Scan, 2, b"a", &[]).await;
    send(&mut client, Opcode::Scan, 3, b"b", &[]).await;
    let empty = next(&mut client).await;
    assert!(empty.id == 3 && empty.is(Opcode::End));
    assert!(is_silent(&mut client).await);
    engine.advance();
    let told = answers(&mut client, 3).await;
    assert_eq!(ids(&told), [1, 2, 2]);
    assert_eq!(told.iter().filter(|m| m.is(Opcode::Item)).count(), 1);
}

/// Held and overtaking replies of all sizes through one session: each arrives whole, under its tag.
async fn mixture<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut RawClient<S>,
    engine: &DurableEngine,
    largest: usize,
) {
    let big = noise(9, largest);
    let sizes = [0, 10, 5_000, 20_000, largest];
    let base = engine.staged().get();
    client.queue(Opcode::Set, 1, &plain(), b"base", b"0");
    client.flush().await.unwrap();
    while engine.staged().get() == base {
        tokio::task::yield_now().await;
    }
    engine.advance();
    assert_ok(&within(client.next()).await.unwrap().unwrap());
    for (id, size) in (10..).step_by(10).zip(sizes) {
        let key = size.to_be_bytes();
        client.queue(Opcode::Set, id, &plain(), &key, &big[..size]);
        client.queue(Opcode::Get, id + 1, &plain(), &key, &[]);
        client.queue(Opcode::Get, id + 2, &plain(), b"base", &[]);
    }
    client.flush().await.unwrap();
    let mut seen = Vec::new();
    for _ in sizes {
        let overtaking = within(client.next()).await.unwrap().unwrap();
        assert_eq!(
            (overtaking.id % 10, overtaking.value.as_slice()),
            (2, &b"0"[..])
        );
    }
    for at in 1..=sizes.len() {
        engine.advance_to(Position::of_version(base + 1 + u64::try_from(at).unwrap()));
        for _ in 0..2 {
            let message = within(client.next()).await.unwrap().unwrap();
            assert!(message.is(Opcode::Ok), "{}", raw::describe(&message));
            if message.id % 10 == 1 {
                assert!(message.value == big[..sizes[at - 1]]);
            }
            seen.push(message.id);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [10, 11, 20, 21, 30, 31, 40, 41, 50, 51]);
}

const ALL_SUITES: &str = "[protocol]\n\
    suites = [\"hmac-sha256\", \"checksum\", \"x25519-aes256ctr-hmac-sha256\"]\n\
    v1 = true\nv1_key = \"app\"\n\
    [auth]\nanonymous = [\"read\", \"write\"]";

#[tokio::test]
async fn tags_are_right_in_whatever_order_replies_leave() {
    let (server, engine) = server_with(Setup::new().toml(ALL_SUITES)).await;
    for suite in [Suite::Checksum, Suite::Hmac, Suite::Encrypted] {
        let mut client = server.raw_in(suite).await;
        mixture(&mut client, &engine, 3_000_000).await;
    }
    let mut old = RawClient::version_1(server.dial().await, &KEY);
    mixture(&mut old, &engine, 60_000).await;
}

#[tokio::test]
async fn tags_are_right_over_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("kv test");
    let _ = authority.server().write(directory.path(), "server");
    let engine = DurableEngine::new(memory());
    let server = Setup::new()
        .tls()
        .toml("[tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"")
        .engine(engine.clone())
        .start_in(directory)
        .await;
    let connector = TlsConnector::from(client_config(&authority, None, &[b"kv/2"]));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = within(connector.connect(name, server.dial().await))
        .await
        .unwrap();
    let (_, tls) = stream.get_ref();
    let exporter = tls
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .unwrap();
    let settings = raw::settings(
        Some(("app", kv_proto::Secret::new(&KEY))),
        &[Suite::Encrypted],
    );
    let transport = Transport::Tls(exporter);
    let mut client = within(RawClient::connect_over(stream, settings, transport))
        .await
        .unwrap();
    mixture(&mut client, &engine, 1_000_000).await;
}

#[tokio::test]
async fn a_store_that_fails_leaves_writes_unknown_and_shows_nothing_of_them() {
    let (server, engine) = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    send(&mut client, Opcode::Set, 1, b"kept", b"v").await;
    engine_has(&engine, 1, &mut other).await;
    engine.advance();
    assert_ok(&next(&mut client).await);
    let mut body = Vec::new();
    item(&mut body, Opcode::Set, &plain(), b"x", b"v");
    client.queue(Opcode::Set, 2, &plain(), b"k", b"v");
    client.queue(Opcode::Get, 3, &plain(), b"k", &[]);
    client.queue(Opcode::Set, 4, &absent(), b"k", b"w");
    client.queue(Opcode::Batch, 5, &plain(), &[], &body);
    client.queue(Opcode::Del, 6, &plain(), b"k", &[]);
    client.queue(Opcode::Incr, 7, &plain(), b"n", &[]);
    client.flush().await.unwrap();
    assert!(is_silent(&mut client).await);
    engine.fail();
    let told = answers(&mut client, 6).await;
    let codes: Vec<_> = told.iter().map(raw::code).collect();
    let (unknown, not_done) = (ErrorCode::OutcomeUnknown, ErrorCode::Overloaded);
    assert_eq!(ids(&told), [2, 3, 4, 5, 6, 7]);
    assert_eq!(
        codes,
        [unknown, not_done, not_done, unknown, unknown, unknown]
    );
    let late = call(&mut client, Opcode::Get, plain(), b"x", &[]).await;
    assert_code(&late, not_done);
    let refused = call(&mut client, Opcode::Set, plain(), b"y", b"v").await;
    assert_code(&refused, not_done);
    assert_eq!(other.get(b"kept").await.unwrap().unwrap(), b"v");
}
