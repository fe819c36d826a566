//! A panic in a handler: one request fails, nothing else does.

use kv_proto::{BatchWriter, ErrorCode, Extensions, Opcode};
use kv_testkit::engine::PanicEngine;

use crate::support::{Raw, Setup, TestServer, assert_code, call, memory, next, plain};

async fn server() -> TestServer {
    Setup::new()
        .engine(PanicEngine::new(memory()))
        .start()
        .await
}

const KEYS: [&[u8]; 2] = [PanicEngine::NOW, PanicEngine::LATER];

/// The request between two others, on a connection beside another one.
async fn only_this_fails(
    client: &mut Raw,
    other: &mut Raw,
    (opcode, ext, key, value): (Opcode, Extensions<'_>, &[u8], &[u8]),
) {
    client.queue(Opcode::Set, 1, &plain(), b"before", b"1");
    client.queue(opcode, 2, &ext, key, value);
    client.queue(Opcode::Get, 3, &plain(), b"before", &[]);
    client.flush().await.unwrap();
    let mut answers = [next(client).await, next(client).await, next(client).await];
    answers.sort_by_key(|answer| answer.id);
    let [before, failed, after] = answers;
    assert!(before.is(Opcode::Ok));
    assert_code(&failed, ErrorCode::Internal);
    assert_eq!(after.value, b"1");
    // The id is free, and so is the key's queue.
    assert_eq!(
        call(client, Opcode::Echo, plain(), &[], b"x").await.value,
        b"x"
    );
    assert_eq!(other.get(b"before").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn a_panic_in_any_key_operation_fails_that_request_alone() {
    let server = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    for key in KEYS {
        for opcode in [
            Opcode::Get,
            Opcode::Set,
            Opcode::Del,
            Opcode::Incr,
            Opcode::Touch,
        ] {
            for _ in 0..2 {
                only_this_fails(&mut client, &mut other, (opcode, plain(), key, &[])).await;
            }
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_batch_fails_the_batch_alone() {
    let server = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    for key in KEYS {
        for atomic in [false, true] {
            let mut body = Vec::new();
            for key in [b"a".as_slice(), key, b"b"] {
                BatchWriter::requests(&mut body)
                    .item(Opcode::Set, &[], key, b"v")
                    .unwrap();
            }
            let ext = Extensions { atomic, ..plain() };
            only_this_fails(&mut client, &mut other, (Opcode::Batch, ext, &[], &body)).await;
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_scan_ends_the_stream_with_an_error() {
    let server = server().await;
    let (mut client, mut other) = (server.raw().await, server.raw().await);
    for key in KEYS {
        only_this_fails(&mut client, &mut other, (Opcode::Scan, plain(), key, &[])).await;
    }
}

#[tokio::test]
async fn the_client_library_reports_it_and_goes_on() {
    let server = server().await;
    let client = server.client().await;
    let error = client.get(PanicEngine::NOW).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Internal));
    let (a, b, c) = tokio::join!(
        client.set("a", "1"),
        client.get(PanicEngine::LATER),
        client.get("a")
    );
    assert!(a.is_ok() && b.is_err());
    assert_eq!(c.unwrap().unwrap(), "1");
}
