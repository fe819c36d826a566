//! Counting through a connection that is cut again and again: exact with IDEMPOTENCY, and the same
//! harness finds a wrong sum without it. `cargo run --release -p kv-server --example retries` counts
//! to a million.

pub(crate) mod harness;

use harness::{Plan, Repeats, run};
use kv_testkit::wait::within;

use crate::support::{TestServer, builder};

const PLAN: Plan = Plan {
    operations: 20_000,
    tasks: 64,
    operations_per_cut: 200,
    repeats: Repeats::Named,
};

/// S12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_that_are_repeated_under_their_numbers_add_up() {
    let server = TestServer::start().await;
    let sum = within(run(server.address, builder(), PLAN)).await.unwrap();
    assert_eq!((sum.counter, sum.cuts, sum.unknown), (20_000, 100, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_numbers_the_same_count_is_wrong() {
    let server = TestServer::start().await;
    let plan = Plan {
        repeats: Repeats::Blind,
        ..PLAN
    };
    let sum = within(run(server.address, builder(), plan)).await.unwrap();
    assert!(sum.unknown > 0, "no cut hit a request: {sum:?}");
    assert!(sum.counter > 20_000, "the harness finds nothing: {sum:?}");
}
