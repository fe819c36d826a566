//! The second driver: through the public client, one client shared by many tasks.
//!
//! It measures what a program sees that uses the library as it is meant to be used, and what a call
//! costs in allocations when an allocator that counts is installed. Invariant: nothing here knows the
//! wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kv_client::{MultiplexedClient, Suite};
use tokio::task::JoinSet;

use crate::driver::Tally;
use crate::protocol::Answer;
use crate::results::{Run, Shape};
use crate::system::Target;
use crate::trial::{Reading, Timing, summary};
use crate::workload::{Data, Request, Rng, Verb};

/// Tells how many allocations there were so far.
pub type AllocationCounter = fn() -> u64;

/// How the library is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Tasks that share the client, each with one call at a time.
    pub(crate) tasks: usize,
    /// Worker threads of the runtime; with 1 everything runs on one thread.
    pub(crate) threads: usize,
}

/// What a run came to, and allocations per call if they were counted.
#[derive(Clone, Debug)]
pub(crate) struct ClientRun {
    pub(crate) run: Run,
    pub(crate) allocations: Option<f64>,
}

const WARMING_UP: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// One run: every task reads or writes one key after the other.
///
/// # Errors
/// When the client cannot connect, or a call fails.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    usage: Usage,
    timing: &Timing,
    seed: u64,
    counter: Option<AllocationCounter>,
) -> Result<ClientRun> {
    let mut builder = if usage.threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(usage.threads);
        builder
    };
    let runtime = builder.enable_all().build().context("the runtime")?;
    runtime.block_on(measure(target, shape, usage, timing, seed, counter))
}

async fn connect(target: &Target, shape: &Shape) -> Result<MultiplexedClient> {
    ensure!(!shape.tls, "the client driver measures plain connections");
    let suite = Suite::from_number(shape.suite).context("there is no such suite")?;
    let mut builder = MultiplexedClient::builder().suites(&[suite]);
    builder = match &target.key {
        Some((id, secret)) if suite != Suite::Checksum => builder.key(id, secret.clone()),
        _ => builder.anonymous(),
    };
    let client = builder.connect(target.address.to_string()).await?;
    Ok(client)
}

async fn measure(
    target: &Target,
    shape: &Shape,
    usage: Usage,
    timing: &Timing,
    seed: u64,
    counter: Option<AllocationCounter>,
) -> Result<ClientRun> {
    let client = connect(target, shape).await?;
    let data = Arc::new(Data::new(
        shape.keys,
        shape.choice,
        shape.key_bytes,
        shape.value_bytes,
    )?);
    let phase = Arc::new(AtomicU8::new(WARMING_UP));
    let mut tasks = JoinSet::new();
    for nth in 0..usage.tasks {
        let caller = Caller {
            client: client.clone(),
            data: Arc::clone(&data),
            phase: Arc::clone(&phase),
            gets: shape.gets,
            rng: Rng::new(seed.wrapping_mul(0x1000).wrapping_add(nth as u64)),
        };
        tasks.spawn(caller.call());
    }
    let allocated = || counter.map(|count| count());
    tokio::time::sleep(timing.warm_up).await;
    let (before, first) = (Reading::take(target.process)?, allocated());
    let begun = Instant::now();
    phase.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(timing.duration).await;
    phase.store(OVER, Ordering::Relaxed);
    let elapsed = begun.elapsed();
    let (after, last) = (Reading::take(target.process)?, allocated());
    let mut tally = Tally::new()?;
    while let Some(task) = tasks.join_next().await {
        tally.merge(&task.context("a task")??)?;
    }
    client.close().await;
    tally.elapsed = elapsed;
    let calls = tally.operations.max(1) as f64;
    Ok(ClientRun {
        allocations: first
            .zip(last)
            .map(|(first, last)| last.saturating_sub(first) as f64 / calls),
        run: summary(&tally, &after.since(&before), None),
    })
}

/// One task.
struct Caller {
    client: MultiplexedClient,
    data: Arc<Data>,
    phase: Arc<AtomicU8>,
    gets: f64,
    rng: Rng,
}

impl Caller {
    async fn call(mut self) -> Result<Tally> {
        let mut tally = Tally::new()?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            if phase == OVER {
                return Ok(tally);
            }
            let get = self.gets >= 1.0 || (self.gets > 0.0 && self.rng.unit() < self.gets);
            let request = Request {
                verb: if get { Verb::Get } else { Verb::Set },
                first: self.data.choose(&mut self.rng),
                count: 1,
            };
            key.clear();
            self.data.write_key(request.first, &mut key);
            let begun = Instant::now();
            if get {
                let found = self.client.get(&key).await?;
                let latency = begun.elapsed();
                let answer = found
                    .as_ref()
                    .map_or(Answer::Missing, |value| Answer::Value { key: None, value });
                self.note(&mut tally, phase, &request, &answer, latency);
            } else {
                value.clear();
                self.data.write_value(request.first, &mut value);
                self.client.set(&key, &value).await?;
                let latency = begun.elapsed();
                self.note(&mut tally, phase, &request, &Answer::Done, latency);
            }
        }
    }

    /// Counts a call that began while counting.
    fn note(
        &self,
        tally: &mut Tally,
        phase: u8,
        request: &Request,
        answer: &Answer<'_>,
        latency: Duration,
    ) {
        tally.measuring = phase == COUNTING;
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let latency = tally.measuring.then_some(latency);
        tally.answered(request, answer, &self.data, latency);
    }
}
