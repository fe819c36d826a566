//! What held replies cost while they are held, and what the metrics say of them.

use std::time::Duration;

use kv_service::{Door, Operation, Position};
use kv_testkit::engine::DurableEngine;
use kv_testkit::raw;

use super::{Bench, Client, Opcode, memory, plain, settle};

async fn client(limits: &str) -> (Bench, Client, std::sync::Arc<DurableEngine>) {
    let engine = DurableEngine::new(memory());
    let mut bench = Bench::with(limits, "", engine.clone());
    let client = bench.client(1 << 20).await;
    (bench, client, engine)
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_counted_until_it_leaves_or_its_connection_does() {
    let (mut bench, mut client, engine) = client("").await;
    let before = bench.held();
    let set = |client: &mut Client, id, len| {
        client.queue(Opcode::Set, id, &plain(), &[1], &vec![1; len]);
        client.queue(Opcode::Get, id + 1, &plain(), &[1], &[]);
    };
    for (id, len) in (1..).step_by(2).zip([100, 10_000, 300_000]) {
        set(&mut client, id, len);
    }
    client.flush().await.unwrap();
    settle().await;
    assert_eq!(bench.shared.registry.peers()[0].holding().1, 6);
    let held = bench.held() - before;
    assert!((310_100..400_000).contains(&held), "{held}");
    engine.advance();
    for _ in 0..6 {
        let reply = client.next().await.unwrap().unwrap();
        assert!(reply.is(Opcode::Ok), "{}", raw::describe(&reply));
    }
    settle().await;
    assert_eq!(bench.held(), before);
    assert_eq!(bench.shared.metrics.in_flight(Door::Native), 0);
    set(&mut client, 9, 50_000);
    client.flush().await.unwrap();
    settle().await;
    assert_eq!(bench.shared.metrics.in_flight(Door::Native), 2);
    drop(client);
    bench.ends_within(Duration::from_secs(2)).await;
    assert_eq!(bench.shared.metrics.in_flight(Door::Native), 0);
    engine.advance();
}

#[tokio::test(start_paused = true)]
async fn a_requests_duration_includes_its_wait_and_it_counts_when_it_is_answered() {
    let (bench, mut client, engine) = client("").await;
    let metrics = &bench.shared.metrics;
    for id in 1..=3 {
        client.queue(Opcode::Set, id, &plain(), b"k", b"v");
    }
    client.flush().await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let seen = |operation| {
        let durations = metrics.durations(Door::Native, operation);
        (durations.count(), durations.sum_seconds())
    };
    assert_eq!(seen(Operation::Set).0, 0);
    engine.advance_to(Position::of_version(2));
    settle().await;
    let (count, seconds) = seen(Operation::Set);
    assert_eq!(count, 2);
    assert!((13.9..14.2).contains(&seconds), "{seconds}");
    engine.fail();
    settle().await;
    assert_eq!(seen(Operation::Set).0, 3);
    let unknown = kv_service::Code::OutcomeUnknown;
    assert_eq!(metrics.requests(Door::Native, Operation::Set, unknown), 1);
}

/// R1: what waits for the disk is output like any other.
#[tokio::test(start_paused = true)]
async fn held_output_stops_the_reading_of_requests() {
    let (bench, mut client, engine) = client("output_soft_bytes = \"1MiB\"").await;
    client.queue(Opcode::Set, 1, &plain(), b"k", &[1; 16_000]);
    super::ask(&mut client, b"k", 600);
    let requests = std::mem::take(client.ends().output());
    client.send_bytes(&requests).await.unwrap();
    settle().await;
    let held = bench.held();
    assert!((1 << 20..4 << 20).contains(&held), "{held}");
    assert!(bench.shared.metrics.in_flight(Door::Native) < 200);
    engine.advance();
    let mut seen = 0;
    while seen < 601 {
        let reply = client.next().await.unwrap().unwrap();
        seen += u32::from(reply.id != 0);
    }
}
