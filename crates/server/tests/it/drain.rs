//! Stopping, and keys that come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_client::{MultiplexedClient, Retry};
use kv_proto::{ErrorCode, Extensions, Opcode, PREFIX_LEN, Secret};
use kv_server::{Command, Stopped};
use kv_testkit::engine::{Gate, SlowEngine};
use kv_testkit::raw;
use kv_testkit::wait::{until, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{
    KEY, READER_KEY, Setup, TestServer, assert_code, assert_ok, builder, memory, next, plain, rest,
    write_key,
};

async fn slow(toml: &str) -> (TestServer, Arc<Gate>) {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    (Setup::new().toml(toml).engine(engine).start().await, gate)
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_answered_before_the_server_stops() {
    let (mut server, gate) = slow("").await;
    let mut client = server.raw().await;
    let paused = Extensions {
        credit: Some(0),
        ..plain()
    };
    client.queue(Opcode::Scan, 6, &paused, b"", &[]);
    client.queue(Opcode::Set, 7, &plain(), b"slow", b"v");
    client.flush().await.unwrap();
    within(gate.holds(1)).await;
    let mut idle = server.raw().await;
    server.control.send(Command::Stop);
    let away = next(&mut client).await;
    assert!(away.is(Opcode::Goaway));
    assert_eq!(
        away.value[..4],
        7u32.to_be_bytes(),
        "the last request that is served"
    );
    let scan = next(&mut client).await;
    assert_eq!(scan.id, 6);
    assert_code(&scan, ErrorCode::ShuttingDown);
    let seen: Vec<_> = rest(&mut idle).await.iter().map(|m| m.opcode.0).collect();
    assert_eq!(
        seen,
        [Opcode::Goaway, Opcode::ServerGoodbye].map(Opcode::number)
    );

    client
        .send(Opcode::Get, 8, &plain(), b"fast", &[])
        .await
        .unwrap();
    let refused = next(&mut client).await;
    let (code, retry_after, _) = raw::error(&refused);
    assert_eq!((refused.id, code), (8, ErrorCode::ShuttingDown));
    assert!(retry_after > 0);
    until(async || {
        TcpStream::connect(server.address)
            .await
            .is_err()
            .then_some(())
    })
    .await;

    gate.release(1);
    assert_ok(&next(&mut client).await);
    assert!(next(&mut client).await.is(Opcode::ServerGoodbye));
    assert!(rest(&mut client).await.is_empty());
    drop((client, idle));
    assert_eq!(server.stopped().await, Stopped::Clean);
}

#[tokio::test]
async fn work_that_does_not_end_in_time_is_cut() {
    let (mut server, gate) = slow("[shutdown]\ndrain_timeout = \"200ms\"").await;
    let mut client = server.raw().await;
    client
        .send(Opcode::Set, 7, &plain(), b"slow", b"v")
        .await
        .unwrap();
    within(gate.holds(1)).await;
    assert_eq!(server.stop().await, Stopped::Cut(1));
    let last = rest(&mut client).await;
    assert!(
        last.iter().all(|message| message.id != 7),
        "no answer was made up"
    );
}

#[tokio::test]
async fn a_second_request_to_stop_does_not_wait() {
    let (mut server, gate) = slow("[shutdown]\ndrain_timeout = \"50m\"").await;
    let mut client = server.raw().await;
    client
        .send(Opcode::Set, 7, &plain(), b"slow", b"v")
        .await
        .unwrap();
    within(gate.holds(1)).await;
    server.control.send(Command::Stop);
    assert!(next(&mut client).await.is(Opcode::Goaway));
    server.control.send(Command::Stop);
    assert_eq!(server.stopped().await, Stopped::Cut(1));
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_hold_up_the_end() {
    let mut server = Setup::new()
        .toml("[shutdown]\ndrain_timeout = \"50m\"")
        .start()
        .await;
    let mut silent = server.dial().await;
    assert_eq!(server.stop().await, Stopped::Clean);
    let mut told = Vec::new();
    within(silent.read_to_end(&mut told)).await.unwrap();
    assert_eq!(
        &told[PREFIX_LEN..],
        b"SHUTTING_DOWN: the server is shutting down"
    );
}

/// Writes until the server is gone; what was acknowledged.
async fn write(client: MultiplexedClient, writer: usize) -> Vec<(String, u64)> {
    let mut acknowledged = Vec::new();
    for at in 0.. {
        let key = format!("w{writer}/{at}");
        match client.set(&key, b"v").await {
            Ok(set) => acknowledged.push((key, set.version)),
            Err(error) => {
                assert_ne!(error.retry(), Retry::No, "{error:?}");
                break;
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_a_server_stops_under_load() {
    for _ in 0..5 {
        let engine = memory();
        let mut server = Setup::new().engine(Arc::clone(&engine)).start().await;
        let mut tasks = JoinSet::new();
        for writer in 0..8 {
            let client = within(builder().no_reconnect().connect(server.address.to_string()))
                .await
                .unwrap();
            tasks.spawn(write(client, writer));
        }
        let mut witness = server.raw().await;
        until(async || {
            (crate::support::info(&mut witness, "keyspace", "keys").await > 50).then_some(())
        })
        .await;
        drop(witness);
        assert_eq!(server.stop().await, Stopped::Clean);
        let acknowledged: Vec<_> = within(tasks.join_all())
            .await
            .into_iter()
            .flatten()
            .collect();
        assert!(acknowledged.len() > 50);
        let ops: Vec<_> = acknowledged
            .iter()
            .map(|(key, _)| kv_service::Op::Get {
                key: key.as_bytes(),
            })
            .collect();
        let mut found = 0;
        let now = kv_service::Now::from_unix_ms(1);
        engine.run(
            now,
            &ops,
            &mut |at: usize, outcome: kv_service::Outcome<'_>, _: kv_service::Position| {
                let kv_service::Outcome::Found(entry) = outcome else {
                    panic!("{} was acknowledged and is not there", acknowledged[at].0)
                };
                assert_eq!(entry.version, acknowledged[at].1);
                found += 1;
            },
        );
        assert_eq!(found, acknowledged.len());
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_ends_its_sessions_and_no_others() {
    let server = TestServer::start().await;
    let (mut old, mut reader) = (
        server.raw().await,
        server.raw_as("reader", &READER_KEY).await.unwrap(),
    );
    let began = Instant::now();
    write_key(server.directory(), "app", &[0x77; 32]);
    server.control.send(Command::Reload);
    let last = next(&mut old).await;
    assert_eq!(last.id, 0);
    assert_code(&last, ErrorCode::AuthFailed);
    assert!(rest(&mut old).await.is_empty());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(reader.get(b"k").await.unwrap(), None);
    assert!(server.raw_as("app", &KEY).await.is_err());
    server
        .raw_as("app", &[0x77; 32])
        .await
        .unwrap()
        .set(b"k", b"v")
        .await
        .unwrap();
    // A file that is no key leaves what is in force in force.
    std::fs::write(server.file("app.key"), "no key").unwrap();
    server.control.send(Command::Reload);
    write_key(server.directory(), "reader", &[0x44; 32]);
    server.control.send(Command::Reload);
    assert_eq!(reader.get(b"k").await.unwrap().unwrap(), b"v");
    server.raw_as("app", &[0x77; 32]).await.unwrap();
}

#[tokio::test]
async fn the_client_library_reports_a_revoked_key_and_does_not_repeat_itself_for_ever() {
    let server = TestServer::start().await;
    let client = within(
        builder()
            .request_timeout(Duration::from_millis(300))
            .connect(server.address.to_string()),
    )
    .await
    .unwrap();
    write_key(server.directory(), "app", &[0x77; 32]);
    server.control.send(Command::Reload);
    until(async || client.get("k").await.is_err().then_some(())).await;
    let again = MultiplexedClient::builder().key("app", Secret::new(&[0x77; 32]));
    within(again.connect(server.address.to_string()))
        .await
        .unwrap();
}
