//! IDEMPOTENCY: a repeat of a write gets the first answer and changes nothing.

use kv_proto::{Batch, ErrorCode, Extensions, IF_ABSENT, Idempotency, Opcode, OpcodeByte, returns};
use kv_testkit::engine::SlowEngine;
use kv_testkit::peer::Received;

use crate::batches::item;
use crate::support::{
    KEY, Raw, Setup, TestServer, assert_code, assert_ok, call, memory, next, plain, write_key,
};

fn named(client: u8, operation: u64) -> Extensions<'static> {
    Extensions {
        idempotency: Some(Idempotency {
            client: [client; 16],
            operation,
        }),
        ..plain()
    }
}

async fn incr(client: &mut Raw, operation: u64) -> Received {
    call(client, Opcode::Incr, named(1, operation), b"n", &[]).await
}

/// All of a reply but its request id.
#[track_caller]
fn assert_same(first: &Received, again: &Received) {
    assert_eq!(
        (first.opcode, &first.ext, &first.key, &first.value),
        (again.opcode, &again.ext, &again.key, &again.value)
    );
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_on_every_connection() {
    let server = TestServer::start().await;
    let (mut a, mut b) = (server.raw().await, server.raw().await);
    let first = incr(&mut a, 1).await;
    assert_ok(&first);
    assert_same(&first, &incr(&mut a, 1).await);
    assert_same(&first, &incr(&mut b, 1).await);
    assert_eq!(incr(&mut b, 2).await.value[..], 2i64.to_be_bytes());
    assert_same(&first, &incr(&mut a, 1).await);
    assert_eq!(a.get(b"n").await.unwrap().unwrap(), b"2");
}

#[tokio::test]
async fn every_write_has_its_first_answer_again_also_where_it_was_refused() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client.set(b"k", b"old").await.unwrap();
    let with = |mut ext: Extensions<'static>, operation| {
        ext.idempotency = named(7, operation).idempotency;
        ext
    };
    let absent = Extensions {
        if_version: Some(IF_ABSENT),
        ..plain()
    };
    let previous = Extensions {
        returns: Some(returns::PREVIOUS),
        ..plain()
    };
    let calls: [(Opcode, Extensions<'_>, &[u8], &[u8]); 7] = [
        (Opcode::Set, absent, b"k", b"x"),
        (Opcode::Set, previous, b"k", b"new"),
        (Opcode::Incr, plain(), b"k", b""),
        (Opcode::Touch, plain(), b"k", b""),
        (Opcode::Del, previous, b"k", b""),
        (Opcode::Del, plain(), b"k", b""),
        (Opcode::Touch, plain(), b"k", b""),
    ];
    let mut answers = Vec::new();
    for (operation, (opcode, ext, key, value)) in (1..).zip(calls) {
        answers.push(call(&mut client, opcode, with(ext, operation), key, value).await);
    }
    let kinds: Vec<_> = answers.iter().map(|answer| answer.opcode).collect();
    let [ok, err, none] = [Opcode::Ok, Opcode::Err, Opcode::NotFound].map(OpcodeByte::from);
    assert_eq!(kinds, [err, ok, err, ok, ok, none, none]);
    assert_eq!(
        (&answers[1].value[..], &answers[4].value[..]),
        (&b"old"[..], &b"new"[..])
    );
    // Now every one of them would come to something else.
    client.set(b"k", b"5").await.unwrap();
    for ((operation, (opcode, ext, key, value)), first) in (1..).zip(calls).zip(&answers) {
        let again = call(&mut client, opcode, with(ext, operation), key, value).await;
        assert_same(first, &again);
    }
    assert_eq!(client.get(b"k").await.unwrap().unwrap(), b"5");
}

#[tokio::test]
async fn a_batch_is_repeated_as_a_whole_and_one_with_a_refused_item_does_nothing() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    for (round, atomic) in [(1u64, false), (2, true)] {
        let mut body = Vec::new();
        item(&mut body, Opcode::Incr, &plain(), b"n", &[]);
        item(&mut body, Opcode::Get, &plain(), b"n", &[]);
        item(&mut body, Opcode::Del, &plain(), b"none", &[]);
        let ext = Extensions {
            atomic,
            ..named(1, round)
        };
        let first = call(&mut client, Opcode::Batch, ext, &[], &body).await;
        assert_ok(&first);
        assert_eq!(Batch::replies(&first.value).unwrap().len(), 3);
        assert_same(
            &first,
            &call(&mut client, Opcode::Batch, ext, &[], &body).await,
        );
        assert_eq!(
            client.get(b"n").await.unwrap().unwrap(),
            round.to_string().as_bytes()
        );
        // An item that no store ever sees: the whole is refused, and its number stays unused.
        item(&mut body, Opcode::Scan, &plain(), b"", &[]);
        let ext = Extensions {
            atomic,
            ..named(1, round + 10)
        };
        for _ in 0..2 {
            let refused = call(&mut client, Opcode::Batch, ext, &[], &body).await;
            assert_code(&refused, ErrorCode::Unsupported);
            assert_eq!(refused.key[..], 3u32.to_be_bytes());
        }
        assert_eq!(
            client.get(b"n").await.unwrap().unwrap(),
            round.to_string().as_bytes()
        );
    }
}

#[tokio::test]
async fn one_number_for_two_requests_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    assert_ok(&incr(&mut client, 1).await);
    let other = call(&mut client, Opcode::Set, named(1, 1), b"n", b"x").await;
    assert_code(&other, ErrorCode::InvalidArgument);
    let mut body = Vec::new();
    item(&mut body, Opcode::Incr, &plain(), b"n", &[]);
    item(&mut body, Opcode::Incr, &plain(), b"n", &[]);
    let other = call(&mut client, Opcode::Batch, named(1, 1), &[], &body).await;
    assert_code(&other, ErrorCode::InvalidArgument);
    assert_eq!(client.get(b"n").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn a_repeat_of_what_is_under_way_waits_and_gets_the_same() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let server = Setup::new().engine(engine).start().await;
    let (mut a, mut b) = (server.raw().await, server.raw().await);
    let ext = named(1, 1);
    a.send(Opcode::Incr, 1, &ext, b"slow", &[]).await.unwrap();
    gate.holds(1).await;
    b.send(Opcode::Incr, 1, &ext, b"slow", &[]).await.unwrap();
    // On the first connection it waits behind the first, because it is about the same key.
    a.send(Opcode::Incr, 2, &ext, b"slow", &[]).await.unwrap();
    gate.holds(2).await;
    gate.open();
    let (first, again, other) = (next(&mut a).await, next(&mut a).await, next(&mut b).await);
    assert_ok(&first);
    assert_same(&first, &again);
    assert_same(&first, &other);
    assert_eq!(a.get(b"slow").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn named_and_plain_requests_on_one_key_take_effect_in_the_order_sent() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Set, 1, &plain(), b"n", b"10");
    client.queue(Opcode::Incr, 2, &named(1, 1), b"n", &[]);
    client.queue(Opcode::Set, 3, &plain(), b"n", b"20");
    client.queue(Opcode::Incr, 4, &named(1, 2), b"n", &[]);
    client.queue(Opcode::Get, 5, &plain(), b"n", &[]);
    client.flush().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(next(&mut client).await);
    }
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(answers[1].value[..], 11i64.to_be_bytes());
    assert_eq!(answers[3].value[..], 21i64.to_be_bytes());
    assert_eq!(&answers[4].value[..], b"21");
}

/// S12: the client id of somebody else is of no use.
#[tokio::test]
async fn two_identities_with_one_client_id_do_not_meet() {
    let directory = tempfile::tempdir().unwrap();
    write_key(directory.path(), "second", &[0x66; 32]);
    let key = "[[auth.keys]]\nid = \"second\"\nsecret_file = \"second.key\"\nroles = [\"admin\"]\n";
    let server = Setup::new().toml(key).start_in(directory).await;
    let mut app = server.raw_as("app", &KEY).await.unwrap();
    let mut second = server.raw_as("second", &[0x66; 32]).await.unwrap();
    assert_eq!(incr(&mut app, 1).await.value[..], 1i64.to_be_bytes());
    assert_eq!(incr(&mut second, 1).await.value[..], 2i64.to_be_bytes());
    assert_eq!(incr(&mut app, 1).await.value[..], 1i64.to_be_bytes());
}

#[tokio::test]
async fn a_number_that_has_left_the_window_is_answered_as_such() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    for operation in 1..=1_500 {
        assert_ok(&incr(&mut client, operation).await);
    }
    let late = incr(&mut client, 1).await;
    assert_code(&late, ErrorCode::OutcomeUnknown);
    let (_, _, text) = kv_testkit::raw::error(&late);
    assert!(text.contains("window"), "{text}");
    assert_eq!(client.get(b"n").await.unwrap().unwrap(), b"1500");
    assert_eq!(
        incr(&mut client, 1_500).await.value[..],
        1_500i64.to_be_bytes()
    );
}
