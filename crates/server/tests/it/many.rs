//! Many requests at once on one connection, also while it is cut.

use std::sync::Arc;

use bytes::Bytes;
use kv_client::{Error, MultiplexedClient, Retry};
use kv_testkit::proxy::{Fault, Proxy, Schedule, Side};
use kv_testkit::rng::{Rng, seeds};
use kv_testkit::wait::within;
use tokio::task::JoinSet;

use crate::support::{TestServer, builder};

const GETS: usize = 1_000;

fn value(at: usize) -> Bytes {
    format!("value {at} {}", "x".repeat(at % 300)).into()
}

async fn fill(server: &TestServer) {
    let client = server.client().await;
    for from in (0..GETS).step_by(100) {
        let mut batch = client.batch();
        for at in from..from + 100 {
            batch = batch.set(format!("k{at}"), value(at));
        }
        batch.await.unwrap();
    }
}

/// Reads every key at once; each answer beside the number of its key.
async fn read_all(client: &MultiplexedClient) -> Vec<(usize, Result<Option<Bytes>, Error>)> {
    let mut tasks = JoinSet::new();
    for at in 0..GETS {
        let client = client.clone();
        tasks.spawn(async move { (at, client.get(format!("k{at}")).await) });
    }
    within(tasks.join_all()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_gets_on_one_connection_get_their_own_values() {
    let server = TestServer::start().await;
    fill(&server).await;
    let client = server.client().await;
    for (at, got) in read_all(&client).await {
        assert_eq!(got.unwrap(), Some(value(at)));
    }
    let connections = client.clients().await.unwrap();
    assert!(
        connections.as_array().unwrap().len() <= 2,
        "one connection, and the one that filled"
    );
}

/// A schedule that kills the connection at a random frame of either direction.
fn killing(seed: u64) -> Schedule {
    let mut rng = Rng::new(seed);
    let side = if rng.below(2) == 0 {
        Side::ToServer
    } else {
        Side::ToClient
    };
    let frame = 2 + rng.below(GETS);
    let mut schedule = Schedule::new().with(side, frame, Fault::Kill);
    schedule.seed = Some(seed);
    schedule
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_connection_killed_at_random_points_every_call_ends_and_none_is_wrong() {
    let server = TestServer::start().await;
    fill(&server).await;
    let mut lost = 0;
    for seed in seeds(16) {
        let proxy = Proxy::start(server.address).await.unwrap();
        proxy.plan(killing(seed));
        let client = within(
            builder()
                .no_reconnect()
                .connect(proxy.address().to_string()),
        )
        .await
        .unwrap();
        for (at, got) in read_all(&client).await {
            match got {
                Ok(got) => assert_eq!(got, Some(value(at)), "seed {seed}"),
                Err(error) => {
                    lost += 1;
                    // Reading again changes nothing, so no call may end as "outcome unknown".
                    assert_ne!(
                        error.retry(),
                        Retry::OutcomeUnknown,
                        "seed {seed}: {error:?}"
                    );
                }
            }
        }
    }
    assert!(lost > 0, "no schedule hit anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_connects_again_reads_everything_over_killed_connections() {
    let server = TestServer::start().await;
    fill(&server).await;
    for seed in seeds(8) {
        let proxy = Proxy::start(server.address).await.unwrap();
        proxy.plan(killing(seed));
        proxy.plan(killing(seed + 1_000));
        let client = within(builder().connect(proxy.address().to_string()))
            .await
            .unwrap();
        for (at, got) in read_all(&client).await {
            assert_eq!(got.unwrap(), Some(value(at)), "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_over_killed_connections_count_each_acknowledged_increment_once() {
    let server = TestServer::start().await;
    let plain = server.client().await;
    for seed in seeds(8) {
        let proxy = Proxy::start(server.address).await.unwrap();
        proxy.plan(killing(seed));
        let client = Arc::new(
            within(builder().connect(proxy.address().to_string()))
                .await
                .unwrap(),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..GETS {
            let client = Arc::clone(&client);
            tasks.spawn(async move { client.incr(format!("n{seed}"), 1).await });
        }
        let results = within(tasks.join_all()).await;
        let mut sums: Vec<i64> = results
            .iter()
            .filter_map(|result| result.as_ref().ok().copied())
            .collect();
        let unknown = results
            .iter()
            .flatten_err()
            .filter(|e| e.retry() == Retry::OutcomeUnknown)
            .count();
        let acknowledged = sums.len();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), acknowledged, "seed {seed}: a sum came twice");
        let stored = plain.get(format!("n{seed}")).await.unwrap().unwrap();
        let stored: usize = std::str::from_utf8(&stored).unwrap().parse().unwrap();
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&stored),
            "seed {seed}: {acknowledged} acknowledged, {unknown} unknown, {stored} applied"
        );
    }
}

/// The errors among results.
trait FlattenErr<'r, E: 'r> {
    fn flatten_err(self) -> impl Iterator<Item = &'r E>;
}

impl<'r, T: 'r, E: 'r, I: Iterator<Item = &'r Result<T, E>>> FlattenErr<'r, E> for I {
    fn flatten_err(self) -> impl Iterator<Item = &'r E> {
        self.filter_map(|result| result.as_ref().err())
    }
}
