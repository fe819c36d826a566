//! Requests whose answer waits: order, cancelling, deadlines, limits.

use std::sync::Arc;
use std::time::Duration;

use kv_proto::{Batch, BatchWriter, ErrorCode, Extensions, Opcode, OpcodeByte};
use kv_testkit::engine::{Gate, SlowEngine};
use kv_testkit::wait::{until, within};

use crate::support::{
    Raw, Setup, TestServer, assert_code, assert_ok, call, info, memory, next, plain,
};

async fn server() -> (TestServer, Arc<Gate>) {
    server_with(Setup::new()).await
}

async fn server_with(setup: Setup) -> (TestServer, Arc<Gate>) {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    (setup.engine(engine).start().await, gate)
}

async fn send(client: &mut Raw, opcode: Opcode, id: u32, key: &[u8], value: &[u8]) {
    client.send(opcode, id, &plain(), key, value).await.unwrap();
}

#[tokio::test]
async fn a_slow_request_never_delays_a_fast_one() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Get, 900, &plain(), b"slow", &[]);
    for id in 1..=200 {
        client.queue(Opcode::Set, id, &plain(), b"fast", &id.to_be_bytes());
    }
    client.flush().await.unwrap();
    for id in 1..=200 {
        let answer = next(&mut client).await;
        assert_eq!(answer.id, id);
        assert_ok(&answer);
    }
    assert_eq!(gate.release(1), 1);
    let answer = next(&mut client).await;
    assert!(answer.id == 900 && answer.is(Opcode::NotFound));
}

#[tokio::test]
async fn one_keys_operations_take_effect_in_the_order_sent() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Set, 1, &plain(), b"slow", b"10");
    client.queue(Opcode::Incr, 2, &plain(), b"slow", &[]);
    client.queue(Opcode::Get, 3, &plain(), b"slow", &[]);
    client.queue(Opcode::Get, 4, &plain(), b"slow-other", &[]);
    client.queue(Opcode::Del, 5, &plain(), b"slow", &[]);
    client.flush().await.unwrap();
    within(gate.holds(2)).await;
    assert_eq!(gate.held(), 2, "one of each key is at work");
    assert!(gate.release_key(b"slow-other"));
    assert_eq!(
        next(&mut client).await.id,
        4,
        "keys do not wait for each other"
    );
    let mut seen = Vec::new();
    for _ in 0..4 {
        within(gate.holds(1)).await;
        assert_eq!(gate.release(9), 1);
        let answer = next(&mut client).await;
        assert_ok(&answer);
        seen.push((answer.id, answer.value));
    }
    let counted = 11i64.to_be_bytes().to_vec();
    assert_eq!(
        seen,
        [(1, vec![]), (2, counted), (3, b"11".to_vec()), (5, vec![])]
    );
}

#[tokio::test]
async fn a_cancelled_request_ends_when_its_work_has_and_a_waiting_one_at_once() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 1, b"slow", b"v").await;
    send(&mut client, Opcode::Set, 2, b"slow", b"w").await;
    within(gate.holds(1)).await;
    send(&mut client, Opcode::Cancel, 2, &[], &[]).await;
    let ended = next(&mut client).await;
    assert!(ended.id == 2 && ended.is(Opcode::End), "it never began");
    send(&mut client, Opcode::Cancel, 1, &[], &[]).await;
    send(&mut client, Opcode::Cancel, 1, &[], &[]).await;
    send(&mut client, Opcode::Cancel, 777, &[], &[]).await;
    assert_eq!(
        info(&mut client, "clients", "in_flight").await,
        1,
        "cancelled work keeps its place"
    );
    gate.release(1);
    let ended = next(&mut client).await;
    assert!(ended.id == 1 && ended.is(Opcode::End));
    gate.open();
    assert_eq!(
        client.get(b"slow").await.unwrap().unwrap(),
        b"v",
        "a cancelled write may be applied"
    );
}

#[tokio::test]
async fn a_deadline_is_answered_in_time_and_once_and_its_id_is_free_again() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    let soon = Extensions {
        deadline_ms: Some(20),
        ..plain()
    };
    client
        .send(Opcode::Set, 1, &soon, b"slow", b"late")
        .await
        .unwrap();
    client
        .send(Opcode::Set, 2, &soon, b"slow", b"never")
        .await
        .unwrap();
    let mut over = [next(&mut client).await, next(&mut client).await];
    over.sort_by_key(|answer| answer.id);
    for answer in &over {
        assert_code(answer, ErrorCode::DeadlineExceeded);
    }
    assert_eq!(over.map(|answer| answer.id), [1, 2]);
    send(&mut client, Opcode::Get, 1, b"fast", &[]).await;
    let again = next(&mut client).await;
    assert!(
        again.is(Opcode::NotFound),
        "{}",
        kv_testkit::raw::describe(&again)
    );
    send(&mut client, Opcode::Get, 2, b"slow", &[]).await;
    within(gate.holds(1)).await;
    gate.open();
    let read = next(&mut client).await;
    assert_eq!(
        (read.id, read.value.as_slice()),
        (2, &b"late"[..]),
        "what never began was not applied"
    );
    let passed = Extensions {
        deadline_ms: Some(0),
        ..plain()
    };
    assert_code(
        &call(&mut client, Opcode::Get, passed, b"fast", &[]).await,
        ErrorCode::DeadlineExceeded,
    );
}

#[tokio::test]
async fn beyond_the_in_flight_limit_requests_are_refused_until_others_have_ended() {
    let (server, gate) = server_with(Setup::new().limits("max_in_flight_per_connection = 8")).await;
    let mut client = server.raw().await;
    for id in 1..=8u32 {
        client.queue(
            Opcode::Get,
            id,
            &plain(),
            format!("slow{id}").as_bytes(),
            &[],
        );
    }
    client.queue(Opcode::Get, 9, &plain(), b"slow9", &[]);
    client.flush().await.unwrap();
    let refused = next(&mut client).await;
    assert_eq!(refused.id, 9);
    let (code, retry_after, _) = kv_testkit::raw::error(&refused);
    assert_eq!(code, ErrorCode::TooManyInFlight);
    assert!(retry_after > 0);
    assert!(
        call(&mut client, Opcode::Get, plain(), b"fast", &[])
            .await
            .is(Opcode::NotFound)
    );
    // A cancelled one keeps its place until it has ended.
    send(&mut client, Opcode::Cancel, 1, &[], &[]).await;
    send(&mut client, Opcode::Get, 20, b"slow20", &[]).await;
    assert_code(&next(&mut client).await, ErrorCode::TooManyInFlight);
    gate.release(1);
    assert!(next(&mut client).await.is(Opcode::End));
    send(&mut client, Opcode::Get, 21, b"slow21", &[]).await;
    within(gate.holds(8)).await;
    gate.open();
    for _ in 0..8 {
        assert!(next(&mut client).await.is(Opcode::NotFound));
    }
}

#[tokio::test]
async fn a_request_id_in_flight_is_refused_and_the_first_goes_on() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 5, b"slow", b"first").await;
    send(&mut client, Opcode::Set, 5, b"other", b"second").await;
    assert_code(&next(&mut client).await, ErrorCode::InvalidArgument);
    within(gate.holds(1)).await;
    gate.open();
    assert_ok(&next(&mut client).await);
    assert_eq!(client.get(b"other").await.unwrap(), None);
    assert_eq!(client.get(b"slow").await.unwrap().unwrap(), b"first");
}

fn items(keys: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for key in keys {
        BatchWriter::requests(&mut body)
            .item(Opcode::Set, &[], key, b"v")
            .unwrap();
    }
    body
}

#[tokio::test]
async fn batches_and_scans_wait_as_a_whole_and_hold_all_their_keys() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    let atomic = Extensions {
        atomic: true,
        ..plain()
    };
    let body = items(&[b"a", b"slow", b"b"]);
    client
        .send(Opcode::Batch, 1, &plain(), &[], &body)
        .await
        .unwrap();
    client
        .send(Opcode::Batch, 2, &atomic, &[], &body)
        .await
        .unwrap();
    send(&mut client, Opcode::Get, 3, b"b", &[]).await;
    send(&mut client, Opcode::Get, 4, b"c", &[]).await;
    assert_eq!(
        next(&mut client).await.id,
        4,
        "only what shares a key waits"
    );
    for id in [1, 2] {
        within(gate.holds(1)).await;
        gate.release(1);
        let answer = client.reply(id).await.unwrap();
        assert_ok(&answer);
        let kinds: Vec<_> = Batch::replies(&answer.value)
            .unwrap()
            .iter()
            .map(|item| item.opcode)
            .collect();
        assert_eq!(kinds, [OpcodeByte::from(Opcode::Ok); 3]);
    }
    let read = client.reply(3).await.unwrap();
    assert_eq!(read.value, b"v");
    send(&mut client, Opcode::Scan, 5, b"slow", &[]).await;
    within(gate.holds(1)).await;
    assert_ok(&call(&mut client, Opcode::Echo, plain(), &[], b"meanwhile").await);
    gate.release(1);
    assert!(client.reply(5).await.unwrap().is(Opcode::Item));
    assert!(client.reply(5).await.unwrap().is(Opcode::End));
    send(&mut client, Opcode::Scan, 6, b"slow", &[]).await;
    within(gate.holds(1)).await;
    send(&mut client, Opcode::Cancel, 6, &[], &[]).await;
    assert!(client.reply(6).await.unwrap().is(Opcode::End));
    gate.open();
    assert_ok(&call(&mut client, Opcode::Echo, plain(), &[], b"after").await);
}

#[tokio::test]
async fn an_answer_that_the_engine_loses_is_an_internal_error_of_that_request() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Get, 1, b"slow", &[]).await;
    send(&mut client, Opcode::Get, 2, b"slow", &[]).await;
    within(gate.holds(1)).await;
    assert!(gate.lose());
    let lost = next(&mut client).await;
    assert_eq!(lost.id, 1);
    assert_code(&lost, ErrorCode::Internal);
    within(gate.holds(1)).await;
    gate.release(1);
    assert_eq!(next(&mut client).await.id, 2);
}

#[tokio::test]
async fn a_connection_that_leaves_with_work_under_way_leaves_nothing_behind() {
    let (server, gate) = server().await;
    let mut witness = server.raw().await;
    for round in 1..=3 {
        let mut client = server.raw().await;
        send(&mut client, Opcode::Set, 1, b"slow", b"v").await;
        within(gate.holds(round)).await;
    }
    until(async || (info(&mut witness, "clients", "connections").await == 1).then_some(())).await;
    assert_eq!(info(&mut witness, "clients", "in_flight").await, 0);
    gate.open();
    assert_eq!(
        call(&mut witness, Opcode::Get, plain(), b"slow", &[])
            .await
            .value,
        b"v"
    );
}

#[tokio::test]
async fn goodbye_waits_for_what_is_under_way() {
    let (server, gate) = server().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Set, 1, &plain(), b"slow", b"v");
    client.queue(Opcode::Goodbye, 0, &plain(), &[], &[]);
    client.flush().await.unwrap();
    within(gate.holds(1)).await;
    gate.release(1);
    assert_ok(&next(&mut client).await);
    assert!(next(&mut client).await.is(Opcode::ServerGoodbye));
    assert!(crate::support::rest(&mut client).await.is_empty());
}

#[tokio::test]
async fn a_call_that_the_client_library_gave_up_is_cancelled_at_the_server() {
    let (server, gate) = server().await;
    let client = server.client().await;
    let mut witness = server.raw().await;
    let late = client
        .get("slow-1")
        .timeout(Duration::from_millis(30))
        .await
        .unwrap_err();
    assert!(
        matches!(late.kind(), kv_client::ErrorKind::Timeout)
            || late.code() == Some(ErrorCode::DeadlineExceeded),
        "{late:?}"
    );
    {
        let mut dropped = Box::pin(async { client.get("slow-2").await });
        let gate = Arc::clone(&gate);
        tokio::select! {
            _ = &mut dropped => panic!("it cannot end"),
            () = async move { gate.holds(2).await } => {}
        }
    }
    gate.open();
    until(async || (info(&mut witness, "clients", "in_flight").await == 0).then_some(())).await;
    assert_eq!(client.get("fast").await.unwrap(), None);
}
