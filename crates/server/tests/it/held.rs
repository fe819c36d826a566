//! Nothing is shown before it is durable, and nothing else waits for it.

use std::sync::Arc;

use kv_proto::Opcode;
use kv_testkit::engine::DurableEngine;

use crate::support::{Raw, Setup, TestServer, info, memory, next, plain};

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
