//! BACKUP: everything at one moment, under credit, with a count and a checksum at the end.

use std::time::Duration;

use kv_proto::{ErrorCode, Extensions, Opcode};
use kv_testkit::engine::CaptureEngine;
use kv_testkit::peer::Received;
use kv_testkit::raw;
use kv_testkit::wait::until;
use sha2::{Digest as _, Sha256};

use crate::support::{
    READER_KEY, Raw, Setup, TestServer, assert_code, assert_ok, call, memory, next, plain,
};

async fn capturing() -> TestServer {
    let engine = CaptureEngine::new(memory());
    Setup::new().engine(engine).start().await
}

fn credit(items: u32) -> Extensions<'static> {
    Extensions {
        credit: Some(items),
        ..plain()
    }
}

async fn start(client: &mut Raw, id: u32, ext: Extensions<'_>) {
    client
        .send(Opcode::Backup, id, &ext, &[], &[])
        .await
        .unwrap();
}

/// The items up to the final answer, and that.
async fn items(client: &mut Raw) -> (Vec<Received>, Received) {
    let mut items = Vec::new();
    loop {
        let message = next(client).await;
        if !message.is(Opcode::Item) {
            return (items, message);
        }
        items.push(message);
    }
}

fn numbers(value: &[u8]) -> Vec<u64> {
    let numbers = value.chunks_exact(8);
    numbers
        .map(|n| u64::from_be_bytes(n.try_into().unwrap()))
        .collect()
}

/// The checksum by the rule of the document.
fn checksum(entries: &[Received], taken: u64) -> Vec<u8> {
    let mut digest = Sha256::new();
    for entry in entries {
        let ext = entry.extensions();
        digest.update(u16::try_from(entry.key.len()).unwrap().to_be_bytes());
        digest.update(u32::try_from(entry.value.len()).unwrap().to_be_bytes());
        digest.update(ext.version.unwrap().to_be_bytes());
        digest.update(ext.ttl_ms.map_or(0, |ttl| taken + ttl).to_be_bytes());
        digest.update([ext.content_type.unwrap_or(0)]);
        digest.update(&entry.key);
        digest.update(&entry.value);
    }
    digest.finalize().to_vec()
}

#[tokio::test]
async fn a_backup_has_every_entry_and_ends_with_their_count_and_checksum() {
    let server = capturing().await;
    let mut client = server.raw().await;
    let mut version = 0;
    for i in 0..300u32 {
        version = client
            .set(format!("key{i:03}").as_bytes(), &i.to_be_bytes())
            .await
            .unwrap();
    }
    let ttl = Extensions {
        ttl_ms: Some(60_000),
        content_type: Some(3),
        ..plain()
    };
    assert_ok(&call(&mut client, Opcode::Set, ttl, b"long", &vec![7; 200_000]).await);
    start(&mut client, 1, credit(10_000)).await;
    let (mut all, end) = items(&mut client).await;
    assert!(end.is(Opcode::End) && end.value.is_empty());
    let (first, last) = (all.remove(0), all.pop().unwrap());
    assert!(first.key.is_empty() && last.key.is_empty());
    let [format, taken, about] = numbers(&first.value)[..] else {
        panic!("{}", raw::describe(&first))
    };
    assert_eq!((format, about), (1, 301));
    assert_eq!(first.extensions().version, Some(version + 1));
    let keys: Vec<_> = all.iter().map(|entry| entry.key.clone()).collect();
    assert!(keys.is_sorted() && keys.len() == 301);
    let long = all.last().unwrap().extensions();
    assert_eq!(long.content_type, Some(3));
    assert!(long.ttl_ms.is_some_and(|ttl| ttl <= 60_000));
    assert_eq!(numbers(&last.value[..8]), [301]);
    assert_eq!(last.value[8..], checksum(&all, taken));
}

#[tokio::test]
async fn a_backup_takes_credit_for_every_item_also_for_the_first_and_the_last() {
    let server = capturing().await;
    let mut client = server.raw().await;
    client.set(b"a", b"1").await.unwrap();
    client.set(b"b", b"2").await.unwrap();
    start(&mut client, 1, credit(0)).await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        // Nothing comes without credit: the answer to this overtakes it.
        assert!(client.get(b"none").await.unwrap().is_none());
        client
            .send(Opcode::Credit, 1, &plain(), &[], &1u32.to_be_bytes())
            .await
            .unwrap();
        keys.push(next(&mut client).await.key);
    }
    assert_eq!(keys, [&b""[..], b"a", b"b", b""]);
    assert!(next(&mut client).await.is(Opcode::End));
}

#[tokio::test]
async fn two_backups_at_once_and_no_more_until_one_is_over() {
    let server = capturing().await;
    let mut client = server.raw().await;
    client.set(b"a", b"1").await.unwrap();
    start(&mut client, 1, credit(1)).await;
    start(&mut client, 2, credit(1)).await;
    for _ in 0..2 {
        assert!(next(&mut client).await.is(Opcode::Item));
    }
    start(&mut client, 3, credit(9)).await;
    assert_code(&next(&mut client).await, ErrorCode::Overloaded);
    client
        .send(Opcode::Cancel, 1, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(next(&mut client).await.is(Opcode::End));
    // The thread gives its turn back when it has seen that nobody asks any more.
    let mut id = 10;
    until(async || {
        id += 1;
        start(&mut client, id, credit(9)).await;
        let (items, end) = items(&mut client).await;
        (end.is(Opcode::End) && items.len() == 3).then_some(())
    })
    .await;
    // So does a connection that goes away with one under way.
    drop(client);
    let mut client = server.raw().await;
    let mut id = 1;
    until(async || {
        id += 2;
        start(&mut client, id, credit(1)).await;
        start(&mut client, id + 1, credit(1)).await;
        let both = [next(&mut client).await, next(&mut client).await];
        // A refusal may come before the first item of the other.
        for answer in both.iter().filter(|answer| answer.is(Opcode::Item)) {
            client
                .send(Opcode::Cancel, answer.id, &plain(), &[], &[])
                .await
                .unwrap();
            assert!(next(&mut client).await.is(Opcode::End));
        }
        both.iter()
            .all(|answer| answer.is(Opcode::Item))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backup_needs_the_permission_and_an_engine_that_can() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let refused = call(&mut client, Opcode::Backup, plain(), &[], &[]).await;
    assert_code(&refused, ErrorCode::Unsupported);
    assert!(
        raw::error(&refused).2.contains("export"),
        "{}",
        raw::describe(&refused)
    );
    let refused = call(&mut client, Opcode::Backup, plain(), b"key", &[]).await;
    assert_code(&refused, ErrorCode::InvalidArgument);
    let mut reader = server.raw_as("reader", &READER_KEY).await.unwrap();
    let refused = call(&mut reader, Opcode::Backup, plain(), &[], &[]).await;
    assert_code(&refused, ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn a_backup_that_breaks_off_ends_with_an_error_and_has_no_last_item() {
    let inner = memory();
    let engine = CaptureEngine::failing(inner, 3);
    let server = Setup::new().engine(engine).start().await;
    let mut client = server.raw().await;
    for key in [&b"a"[..], b"b", b"c", b"d", b"e"] {
        client.set(key, b"1").await.unwrap();
    }
    start(&mut client, 1, plain()).await;
    let (items, end) = items(&mut client).await;
    assert_code(&end, ErrorCode::Corrupt);
    assert_eq!(items.iter().filter(|item| item.key.is_empty()).count(), 1);
    assert_eq!(items.len(), 4);
    // The connection stays.
    assert_eq!(client.get(b"d").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn others_are_served_while_a_backup_waits_for_credit() {
    let server = capturing().await;
    let (mut reading, mut other) = (server.raw().await, server.raw().await);
    for i in 0..100u32 {
        other.set(&i.to_be_bytes(), &[1; 10_000]).await.unwrap();
    }
    start(&mut reading, 1, credit(50)).await;
    other.set(&7u32.to_be_bytes(), b"later").await.unwrap();
    let mut seen = 0;
    while seen < 50 {
        assert!(next(&mut reading).await.is(Opcode::Item));
        seen += 1;
    }
    let waits = tokio::time::timeout(Duration::ZERO, reading.next());
    assert!(waits.await.is_err());
    assert_eq!(
        other.get(&7u32.to_be_bytes()).await.unwrap().unwrap(),
        b"later"
    );
}
