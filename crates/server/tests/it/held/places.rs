//! A held request is in flight: its id, its place, its deadline, and what stopping does to it.

use kv_proto::{ErrorCode, Extensions, Opcode};
use kv_server::{Command, Stopped};
use kv_testkit::wait::until;

use super::{answers, engine_has, ids, is_silent, send, server, server_with};
use crate::support::{Setup, assert_code, assert_ok, info, next, plain, rest};

#[tokio::test]
async fn an_id_is_taken_until_its_reply_has_left() {
    let (server, engine) = server().await;
    let mut client = server.raw().await;
    // In one run, so that both are there before the first is executed.
    client.queue(Opcode::Set, 9, &plain(), b"a", b"first");
    client.queue(Opcode::Set, 9, &plain(), b"b", b"second");
    client.queue(Opcode::Get, 8, &plain(), b"c", &[]);
    client.flush().await.unwrap();
    let told = answers(&mut client, 2).await;
    assert_eq!(ids(&told), [8, 9]);
    assert_code(&told[1], ErrorCode::InvalidArgument);
    for opcode in [Opcode::Get, Opcode::Incr, Opcode::Scan, Opcode::Echo] {
        send(
            &mut client,
            opcode,
            9,
            if opcode == Opcode::Echo { b"" } else { b"z" },
            &[],
        )
        .await;
        let refused = next(&mut client).await;
        assert_eq!(refused.id, 9);
        assert_code(&refused, ErrorCode::InvalidArgument);
    }
    engine.advance();
    let first = next(&mut client).await;
    assert_eq!(first.id, 9);
    assert_ok(&first);
    assert_eq!(client.get(b"b").await.unwrap(), None);
    send(&mut client, Opcode::Get, 9, b"a", &[]).await;
    assert_eq!(next(&mut client).await.value, b"first");
}

#[tokio::test]
async fn a_deadline_that_passes_meanwhile_is_the_answer_and_frees_the_id() {
    let (server, engine) = server().await;
    let mut client = server.raw().await;
    let soon = Extensions {
        deadline_ms: Some(20),
        ..plain()
    };
    client.queue(Opcode::Set, 1, &soon, b"k", b"v");
    client.queue(Opcode::Get, 2, &soon, b"k", &[]);
    client.queue(Opcode::Get, 3, &plain(), b"k", &[]);
    client.flush().await.unwrap();
    let over = answers(&mut client, 2).await;
    assert_eq!(ids(&over), [1, 2]);
    for answer in &over {
        assert_code(answer, ErrorCode::DeadlineExceeded);
    }
    assert_eq!(info(&mut client, "clients", "in_flight").await, 1);
    send(&mut client, Opcode::Get, 1, b"other", &[]).await;
    assert!(
        next(&mut client).await.is(Opcode::NotFound),
        "its id is free"
    );
    engine.advance();
    assert_eq!(next(&mut client).await.value, b"v", "it was applied");
    assert!(is_silent(&mut client).await, "nothing is answered twice");
}

#[tokio::test]
async fn a_cancelled_request_ends_when_it_is_durable() {
    let (server, engine) = server().await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 1, b"k", b"v").await;
    send(&mut client, Opcode::Get, 2, b"k", &[]).await;
    send(&mut client, Opcode::Cancel, 1, &[], &[]).await;
    send(&mut client, Opcode::Cancel, 1, &[], &[]).await;
    send(&mut client, Opcode::Cancel, 77, &[], &[]).await;
    assert!(is_silent(&mut client).await);
    let in_flight = info(&mut client, "clients", "in_flight").await;
    assert_eq!(in_flight, 2, "it keeps its place");
    engine.advance();
    let told = answers(&mut client, 2).await;
    assert_eq!(ids(&told), [1, 2]);
    assert!(told[0].is(Opcode::End));
    assert_eq!(told[1].value, b"v");
    assert!(is_silent(&mut client).await);
}

#[tokio::test]
async fn with_the_limit_held_nothing_is_read_and_nothing_is_refused() {
    let (server, engine) = server().await;
    let (mut client, mut witness) = (server.raw().await, server.raw().await);
    for id in 1..=1_100u32 {
        let opcode = if id % 3 == 0 {
            Opcode::Incr
        } else {
            Opcode::Set
        };
        client.queue(opcode, id, &plain(), &id.to_be_bytes(), &[]);
    }
    client.queue(Opcode::Echo, 2_000, &plain(), &[], b"last");
    client.flush().await.unwrap();
    engine_has(&engine, 1_024, &mut witness).await;
    for _ in 0..3 {
        assert_eq!(info(&mut witness, "clients", "in_flight").await, 1_024);
        assert_eq!(engine.staged().get(), 1_024, "no more than the limit");
    }
    engine.advance();
    let mut seen = ids(&answers(&mut client, 1_024).await);
    engine_has(&engine, 1_100, &mut witness).await;
    engine.advance();
    seen.extend(ids(&answers(&mut client, 77).await));
    let expected: Vec<u32> = (1..=1_100).chain([2_000]).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_limit_counts_all_kinds_of_requests_in_flight() {
    let limits = "max_in_flight_per_connection = 4";
    let (server, engine) = server_with(Setup::new().limits(limits)).await;
    let (mut client, mut witness) = (server.raw().await, server.raw().await);
    let paused = Extensions {
        credit: Some(0),
        ..plain()
    };
    client.queue(Opcode::Scan, 1, &paused, b"", &[]);
    for id in 2..=9 {
        client.queue(Opcode::Set, id, &plain(), &id.to_be_bytes(), b"v");
    }
    client.flush().await.unwrap();
    for (writes, released) in [(3, vec![2, 3, 4]), (6, vec![5, 6, 7]), (8, vec![8, 9])] {
        engine_has(&engine, writes, &mut witness).await;
        assert_eq!(engine.staged().get(), writes);
        engine.advance();
        assert_eq!(ids(&answers(&mut client, released.len()).await), released);
    }
}

#[tokio::test]
async fn two_hundred_connections_are_answered_by_one_advance() {
    let (server, engine) = server().await;
    let mut clients = Vec::new();
    for at in 0..200u32 {
        let mut client = server.raw().await;
        send(&mut client, Opcode::Set, 1, &at.to_be_bytes(), b"v").await;
        clients.push(client);
    }
    let mut witness = server.raw().await;
    engine_has(&engine, 200, &mut witness).await;
    engine.advance();
    for client in &mut clients {
        assert_ok(&next(client).await);
    }
    assert_eq!(info(&mut witness, "clients", "in_flight").await, 0);
}

#[tokio::test]
async fn a_connection_that_leaves_takes_what_is_held_with_it() {
    let (server, engine) = server().await;
    let mut witness = server.raw().await;
    for round in 1..=3 {
        let mut client = server.raw().await;
        send(&mut client, Opcode::Set, 1, b"k", &[7; 10_000]).await;
        send(&mut client, Opcode::Get, 2, b"k", &[]).await;
        engine_has(&engine, round, &mut witness).await;
    }
    until(async || (info(&mut witness, "clients", "connections").await == 1).then_some(())).await;
    assert_eq!(info(&mut witness, "clients", "in_flight").await, 0);
    engine.advance();
    assert_eq!(witness.get(b"k").await.unwrap().unwrap(), [7; 10_000]);
}

#[tokio::test]
async fn goodbye_and_a_drain_wait_for_what_is_held() {
    let (mut server, engine) = server().await;
    let (mut client, mut leaving) = (server.raw().await, server.raw().await);
    send(&mut client, Opcode::Set, 1, b"k", b"v").await;
    leaving.queue(Opcode::Set, 1, &plain(), b"l", b"v");
    leaving.queue(Opcode::Goodbye, 0, &plain(), &[], &[]);
    leaving.flush().await.unwrap();
    let mut witness = server.raw().await;
    engine_has(&engine, 2, &mut witness).await;
    drop(witness);
    server.control.send(Command::Stop);
    assert!(next(&mut client).await.is(Opcode::Goaway));
    send(&mut client, Opcode::Get, 2, b"k", &[]).await;
    assert_code(&next(&mut client).await, ErrorCode::ShuttingDown);
    engine.advance();
    assert_ok(&next(&mut client).await);
    assert!(next(&mut client).await.is(Opcode::ServerGoodbye));
    let last = rest(&mut leaving).await;
    let opcodes: Vec<_> = last.iter().map(|message| message.opcode.0).collect();
    assert!(opcodes.contains(&Opcode::Ok.number()));
    assert_eq!(opcodes.last(), Some(&Opcode::ServerGoodbye.number()));
    drop((client, leaving));
    assert_eq!(server.stopped().await, Stopped::Clean);
}

#[tokio::test]
async fn what_never_becomes_durable_is_cut_when_the_drain_is_over() {
    let toml = "[shutdown]\ndrain_timeout = \"200ms\"";
    let (mut server, engine) = server_with(Setup::new().toml(toml)).await;
    let mut client = server.raw().await;
    send(&mut client, Opcode::Set, 7, b"k", b"v").await;
    assert!(is_silent(&mut client).await);
    assert_eq!(engine.staged().get(), 1);
    assert_eq!(server.stop().await, Stopped::Cut(1));
    assert!(
        rest(&mut client)
            .await
            .iter()
            .all(|message| message.id != 7)
    );
}
