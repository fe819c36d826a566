//! INCRs through a proxy that cuts the connection again and again: whether each was applied once.
//!
//! Owns the load and the cuts. What they come to is the caller's to judge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_client::{Backoff, ClientBuilder, MultiplexedClient, Retry};
use kv_testkit::proxy::Proxy;
use tokio::task::JoinSet;

/// Whatever ended a run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The counter.
const KEY: &str = "counter";

/// How writes whose outcome is unknown are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// By the library, under operation numbers.
    Named,
    /// By hand, as if nothing had happened: the canary.
    Blind,
}

/// How much, and how often the connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) operations: u64,
    pub(crate) tasks: u64,
    pub(crate) operations_per_cut: u64,
    pub(crate) repeats: Repeats,
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// What the counter holds.
    pub(crate) counter: i64,
    pub(crate) cuts: u64,
    /// Calls that the library could not tell the outcome of.
    pub(crate) unknown: u64,
}

/// What the tasks share.
struct Work {
    plan: Plan,
    begun: AtomicU64,
    done: AtomicU64,
    unknown: AtomicU64,
}

/// Adds 1 as often as the plan says, through a proxy in front of `server`.
pub(crate) async fn run(
    server: SocketAddr,
    builder: ClientBuilder,
    plan: Plan,
) -> Result<Sum, Failure> {
    let proxy = Arc::new(Proxy::start(server).await?);
    let quick = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
    let builder = builder
        .reconnect(quick)
        .request_timeout(Duration::from_secs(60));
    let builder = match plan.repeats {
        Repeats::Named => builder.retry_writes(),
        Repeats::Blind => builder,
    };
    let client = builder.connect(proxy.address().to_string()).await?;
    let work = Arc::new(Work {
        plan,
        begun: AtomicU64::new(0),
        done: AtomicU64::new(0),
        unknown: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..plan.tasks {
        let (client, work, proxy) = (client.clone(), Arc::clone(&work), Arc::clone(&proxy));
        tasks.spawn(async move {
            while work.begun.fetch_add(1, Ordering::Relaxed) < work.plan.operations {
                add(&client, &work).await?;
                let done = work.done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(work.plan.operations_per_cut) {
                    // Requests of the other tasks are on their way, there and back.
                    proxy.kill();
                }
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    // A read goes on by itself when the last cut hits it.
    let counter = client.get(KEY).await?.unwrap_or_default();
    let counter = std::str::from_utf8(&counter)?.parse()?;
    client.close().await;
    Ok(Sum {
        counter,
        cuts: plan.operations / plan.operations_per_cut,
        unknown: work.unknown.load(Ordering::Relaxed),
    })
}

/// Adds 1, repeated as the plan says until it is done.
async fn add(client: &MultiplexedClient, work: &Work) -> Result<(), Failure> {
    loop {
        let Err(error) = client.incr(KEY, 1).await else {
            return Ok(());
        };
        let unknown = error.retry() == Retry::OutcomeUnknown;
        if unknown {
            work.unknown.fetch_add(1, Ordering::Relaxed);
        }
        let again = unknown || error.retry() == Retry::AfterReconnect;
        if !again || work.plan.repeats == Repeats::Named {
            return Err(error.into());
        }
    }
}
