//! One shape on one server: fills it, runs the plan, reads what the server used meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kv_proto::Suite;

use crate::driver::{Driver, Endpoint, Load, Mark, Plan, Refill, Session, Tally};
use crate::measure::{self, Process};
use crate::protocol::{Echo, Memcached, Native, Protocol, Resp};
use crate::results::{Record, Run, Shape, medians};
use crate::system::{Kind, Target};
use crate::workload::Data;

/// How long a shape is run, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Not counted, before each run.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
    /// How many runs the medians are of.
    pub runs: usize,
    /// How long servers are left alone before their memory is read.
    pub settle: Duration,
}

/// Something to be done with whatever codec a target speaks.
trait Task {
    type Output;
    fn with<P: Protocol>(
        self,
        endpoint: &Endpoint,
        make: impl FnMut() -> P,
    ) -> Result<Self::Output>;
}

fn dispatch<T: Task>(target: &Target, suite: u8, tls: bool, task: T) -> Result<T::Output> {
    match target.kind {
        Kind::Kv => {
            let suite = Suite::from_number(suite).context("there is no such suite")?;
            let endpoint = target.endpoint(tls, Native::ALPN)?;
            let key = target.key.clone();
            task.with(&endpoint, move || Native::new(suite, key.clone()))
        }
        Kind::Redis | Kind::Valkey => {
            let endpoint = target.endpoint(tls, Resp::ALPN)?;
            let password = target.password.clone();
            task.with(&endpoint, move || Resp::new(password.clone()))
        }
        Kind::Floor => {
            let endpoint = target.endpoint(tls, Echo::ALPN)?;
            task.with(&endpoint, Echo::default)
        }
        Kind::Memcached => {
            let endpoint = target.endpoint(tls, Memcached::ALPN)?;
            task.with(&endpoint, Memcached::default)
        }
    }
}

/// Writes every key of a shape once, so that reads find them.
///
/// # Errors
/// When the server cannot be reached, or a write is not confirmed.
pub(crate) fn fill(target: &Target, shape: &Shape) -> Result<()> {
    struct Fill(Data, Plan);
    impl Task for Fill {
        type Output = ();
        fn with<P: Protocol>(self, endpoint: &Endpoint, make: impl FnMut() -> P) -> Result<()> {
            let mut driver = Driver::connect(endpoint, 4, make)?;
            let tally = driver.run(&self.1, &self.0, &mut |_| Ok(()))?;
            anyhow::ensure!(
                tally.errors.total() == 0 && tally.unanswered == 0,
                "filling the server failed: {:?}, {} without an answer",
                tally.errors,
                tally.unanswered
            );
            driver.close()
        }
    }
    let plan = Plan {
        in_flight: if shape.value_bytes > 4_096 { 4 } else { 64 },
        load: Load::Fill,
        refill: Refill::Each,
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
        gets: 0.0,
        batch: 1,
        seed: 1,
    };
    dispatch(target, shape.suite, shape.tls, Fill(data(shape)?, plan))
}

fn data(shape: &Shape) -> Result<Data> {
    Data::new(shape.keys, shape.choice, shape.key_bytes, shape.value_bytes)
}

/// One run.
///
/// # Errors
/// When the server cannot be reached, leaves its protocol or stops answering.
pub(crate) fn run(target: &Target, shape: &Shape, timing: &Timing, seed: u64) -> Result<Run> {
    let plan = Plan {
        in_flight: shape.in_flight,
        load: shape.load,
        refill: shape.refill,
        warm_up: timing.warm_up,
        duration: timing.duration,
        gets: shape.gets,
        batch: shape.batch,
        seed,
    };
    let task = Measure {
        data: data(shape)?,
        plan,
        connections: shape.connections,
        server: target.process,
    };
    dispatch(target, shape.suite, shape.tls, task)
}

struct Measure {
    data: Data,
    plan: Plan,
    connections: usize,
    server: Option<Process>,
}

impl Task for Measure {
    type Output = Run;

    fn with<P: Protocol>(self, endpoint: &Endpoint, make: impl FnMut() -> P) -> Result<Run> {
        let mut driver = Driver::connect(endpoint, self.connections, make)?;
        let mut readings = Vec::with_capacity(2);
        let tally = driver.run(&self.plan, &self.data, &mut |_: Mark| {
            readings.push(Reading::take(self.server)?);
            Ok(())
        })?;
        let rss_bytes = self.server.map(Process::rss_bytes).transpose()?;
        driver.close()?;
        let used = match readings.as_slice() {
            [before, after] => after.since(before),
            _ => Reading::default(),
        };
        Ok(summary(&tally, &used, rss_bytes))
    }
}

/// CPU times so far, or their growth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    server: Option<Duration>,
    own: Duration,
    machine: Duration,
}

impl Reading {
    pub(crate) fn take(server: Option<Process>) -> Result<Self> {
        Ok(Self {
            server: server.map(Process::cpu).transpose()?,
            own: Process::own().cpu()?,
            machine: measure::machine_cpu()?,
        })
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            server: self
                .server
                .zip(earlier.server)
                .map(|(now, then)| now.saturating_sub(then)),
            own: self.own.saturating_sub(earlier.own),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }
}

/// What a run came to.
pub(crate) fn summary(tally: &Tally, used: &Reading, rss_bytes: Option<u64>) -> Run {
    let seconds = tally.elapsed.as_secs_f64();
    let share = |cpu: Duration| cpu.as_secs_f64() / seconds;
    Run {
        operations: tally.operations,
        seconds,
        rate: tally.rate(),
        latency: tally.latencies.percentiles(),
        distribution: tally.latencies.distribution(),
        errors: tally.errors,
        unanswered: tally.unanswered,
        server_cpu_us: used
            .server
            .filter(|_| tally.operations > 0)
            .map(|cpu| cpu.as_secs_f64() * 1e6 / tally.operations as f64),
        server_busy: used.server.map(share),
        generator_busy: Some(share(used.own)),
        others_busy: used
            .server
            .map(|server| share(used.machine.saturating_sub(server + used.own))),
        rss_bytes,
    }
}

/// The seed of the nth run: the same keys for every system, others in every run.
#[must_use]
pub(crate) const fn seed(nth: usize) -> u64 {
    0x5eed + nth as u64
}

/// A record of finished runs.
#[must_use]
pub(crate) fn recorded(system: &str, name: &str, shape: &Shape, runs: Vec<Run>) -> Record {
    Record {
        system: system.to_owned(),
        name: name.to_owned(),
        shape: shape.clone(),
        median: medians(&runs),
        runs,
    }
}

/// What opening sessions costs: rate per second, and microseconds of server CPU each.
///
/// # Errors
/// When a session cannot be opened.
pub(crate) fn set_up(
    target: &Target,
    suite: u8,
    tls: bool,
    duration: Duration,
) -> Result<(f64, Option<f64>)> {
    struct Open(Duration, Option<Process>);
    impl Task for Open {
        type Output = (f64, Option<f64>);
        fn with<P: Protocol>(
            self,
            endpoint: &Endpoint,
            mut make: impl FnMut() -> P,
        ) -> Result<Self::Output> {
            let mut scratch = Vec::new();
            let before = self.1.map(Process::cpu).transpose()?;
            let start = Instant::now();
            let mut count = 0_u32;
            while start.elapsed() < self.0 {
                Session::open(endpoint, make(), &mut scratch)?.close()?;
                count += 1;
            }
            let seconds = start.elapsed().as_secs_f64();
            let after = self.1.map(Process::cpu).transpose()?;
            let cpu = before
                .zip(after)
                .map(|(a, b)| b.saturating_sub(a).as_secs_f64() * 1e6 / f64::from(count.max(1)));
            Ok((f64::from(count) / seconds, cpu))
        }
    }
    dispatch(target, suite, tls, Open(duration, target.process))
}

/// Memory per idle connection, in bytes: opened, used for one request each, and left alone for
/// `settle` while `watch` looks after the server.
///
/// # Errors
/// When a connection cannot be opened, or the server ends.
pub(crate) fn idle_connections(
    target: &Target,
    shape: &Shape,
    settle: &mut dyn FnMut() -> Result<()>,
) -> Result<f64> {
    struct Idle<'a>(Data, Process, usize, &'a mut dyn FnMut() -> Result<()>);
    impl Task for Idle<'_> {
        type Output = f64;
        fn with<P: Protocol>(self, endpoint: &Endpoint, make: impl FnMut() -> P) -> Result<f64> {
            let Self(data, server, count, settle) = self;
            let before = server.rss_bytes()?;
            let mut driver = Driver::connect(endpoint, count, make)?;
            let plan = Plan {
                in_flight: 1,
                load: Load::Fill,
                refill: Refill::Each,
                warm_up: Duration::ZERO,
                duration: Duration::ZERO,
                gets: 0.0,
                batch: 1,
                seed: 1,
            };
            driver.run(&plan, &data, &mut |_| Ok(()))?;
            settle()?;
            let after = server.rss_bytes()?;
            driver.close()?;
            Ok((after as f64 - before as f64) / count as f64)
        }
    }
    let server = target
        .process
        .context("the server's process is not known")?;
    let keys = shape.connections as u64;
    let data = Data::new(keys, shape.choice, shape.key_bytes, shape.value_bytes)?;
    let task = Idle(data, server, shape.connections, settle);
    dispatch(target, shape.suite, shape.tls, task)
}

/// Opens one session and ends it.
///
/// # Errors
/// When the server does not open one.
pub(crate) fn touch(target: &Target, tls: bool) -> Result<()> {
    struct Touch;
    impl Task for Touch {
        type Output = ();
        fn with<P: Protocol>(self, endpoint: &Endpoint, mut make: impl FnMut() -> P) -> Result<()> {
            Session::open(endpoint, make(), &mut Vec::new())?.close()
        }
    }
    dispatch(target, 1, tls, Touch)
}
