//! Systems measured in turns: each run of a shape goes over all of them before the next one, so that
//! what the machine does meanwhile falls on all alike.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::tell;
use crate::results::{Figure, Record, Shape};
use crate::shapes::Group;
use crate::system::{Kind, Launch, Server};
use crate::trial::Timing;
use crate::{table, trial};

/// How long sessions are opened one after the other in each run, at most.
const SET_UP_MAX: Duration = Duration::from_secs(1);
/// How long a server may go on with what is left of being filled.
const CALM_MAX: Duration = Duration::from_secs(60);
const MB: f64 = 1e6;

/// A way of opening a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetUp {
    pub(super) name: &'static str,
    /// Of kv.
    pub(super) suite: u8,
    pub(super) tls: bool,
    /// Whether Redis wants a password; those that have none are left out then.
    pub(super) password: bool,
}

/// What is measured, on whom, and what has come of it.
pub(super) struct Turns {
    pub(super) launches: Vec<Launch>,
    pub(super) timing: Timing,
    /// Only shapes and figures whose name contains one of these; all when empty.
    pub(super) only: Vec<String>,
    /// Idle connections whose memory is measured.
    pub(super) idle: usize,
    pub(super) records: Vec<Record>,
    pub(super) figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub(super) notes: Vec<String>,
}

impl Turns {
    /// Nothing measured yet, and nothing left out.
    pub(super) const fn new(launches: Vec<Launch>, timing: Timing) -> Self {
        Self {
            launches,
            timing,
            only: Vec::new(),
            idle: 1_000,
            records: Vec::new(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    fn figure(&mut self, system: &str, name: &str, readings: Vec<f64>, unit: &str) -> Result<()> {
        let figure = Figure::new(system, name, readings, unit);
        tell(&format!("{name}, {system}: {:.2} {unit}", figure.median))?;
        self.figures.push(figure);
        Ok(())
    }

    /// Every system's server. One of the others that does not start (built without TLS, say) is left
    /// out with a note; ours must start.
    fn servers(&mut self, tls: bool, password: bool) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for launch in &self.launches {
            let launch = Launch {
                tls,
                password,
                ..launch.clone()
            };
            if password && launch.kind == Kind::Memcached {
                continue;
            }
            match Server::start(&launch) {
                Ok(server) => servers.push(server),
                Err(error) if launch.kind == Kind::Kv => return Err(error),
                Err(error) => {
                    let with = if tls { " with TLS" } else { "" };
                    let note = format!("{}{with} is left out: {error:#}", launch.name);
                    tell(&note)?;
                    self.notes.push(note);
                }
            }
        }
        Ok(servers)
    }

    /// From the start of the process to the first session.
    pub(super) fn cold_starts(&mut self) -> Result<()> {
        let name = "cold start to first session";
        if !self.wants(name) {
            return Ok(());
        }
        for launch in self.launches.clone() {
            // The first start makes what later ones find.
            let mut server = Server::start(&launch)?;
            let mut readings = Vec::new();
            for _ in 0..self.timing.runs {
                server = server.restart(&launch)?;
                readings.push(server.started_in.as_secs_f64() * 1e3);
            }
            self.figure(&launch.name, name, readings, "ms")?;
        }
        Ok(())
    }

    /// Memory of servers that have nothing to do, and of connections that have nothing to do.
    pub(super) fn idle(&mut self) -> Result<()> {
        for tls in [false, true] {
            let also = if tls { " TLS" } else { "" };
            let rss = format!("idle RSS{also}");
            let each = format!("RSS per idle{also} connection");
            if !self.wants(&rss) && !self.wants(&each) {
                continue;
            }
            let settle = self.timing.settle;
            for server in self.servers(tls, false)? {
                let system = &server.target.name;
                server.settle(settle)?;
                let idle = server.process().rss_bytes()? as f64;
                self.figure(system, &rss, vec![idle / MB], "MB")?;
                let shape = Shape {
                    connections: self.idle,
                    tls,
                    ..Shape::default()
                };
                let settle = &mut || server.settle(settle);
                let bytes = trial::idle_connections(&server.target, &shape, settle)?;
                self.figure(system, &each, vec![bytes / 1024.0], "KiB")?;
            }
        }
        Ok(())
    }

    /// What opening a session costs.
    pub(super) fn set_ups(&mut self, set_ups: &[SetUp]) -> Result<()> {
        let time = self.timing.duration.min(SET_UP_MAX);
        for set_up in set_ups {
            let &SetUp {
                name, suite, tls, ..
            } = set_up;
            if !self.wants(name) {
                continue;
            }
            let servers = self.servers(tls, set_up.password)?;
            let mut readings: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); servers.len()];
            for _ in 0..self.timing.runs {
                for (server, (rates, cpus)) in servers.iter().zip(&mut readings) {
                    let (rate, cpu) = trial::set_up(&server.target, suite, tls, time)?;
                    rates.push(rate);
                    cpus.extend(cpu);
                }
            }
            for (server, (rates, cpus)) in servers.iter().zip(readings) {
                let system = &server.target.name;
                self.figure(system, name, rates, "per second")?;
                self.figure(system, &format!("{name}, server CPU"), cpus, "us")?;
            }
        }
        Ok(())
    }

    /// Shapes that share what is stored.
    pub(super) fn group(&mut self, group: Group) -> Result<()> {
        let Group {
            base,
            memory,
            shapes,
        } = group;
        let name = format!("RSS per entry of {} + {}", base.key_bytes, base.value_bytes);
        let memory = (memory && self.wants(&name)).then_some(name);
        let shapes: Vec<_> = shapes
            .into_iter()
            .filter(|(name, _)| self.wants(name))
            .collect();
        if shapes.is_empty() && memory.is_none() {
            return Ok(());
        }
        let servers = self.servers(base.tls, false)?;
        for server in servers.iter().filter(|server| server.target.kind.stores()) {
            let before = server.process().rss_bytes()?;
            trial::fill(&server.target, &base)?;
            if let Some(name) = &memory {
                server.settle(self.timing.settle)?;
                let bytes = server.process().rss_bytes()?.saturating_sub(before);
                let each = bytes as f64 / base.keys as f64;
                self.figure(&server.target.name, name, vec![each], "bytes")?;
            }
        }
        for server in &servers {
            if !server.calm(CALM_MAX)? {
                let name = &server.target.name;
                let note = format!("{name} was still at work on what it was filled with");
                tell(&note)?;
                self.notes.push(note);
            }
        }
        for (name, shape) in shapes {
            self.shape(&servers, &name, &shape)?;
        }
        Ok(())
    }

    /// One shape on all servers, in turns; every run begins with another one.
    pub(super) fn shape(&mut self, servers: &[Server], name: &str, shape: &Shape) -> Result<()> {
        let mut runs = BTreeMap::<usize, Vec<_>>::new();
        for nth in 0..self.timing.runs {
            for turn in 0..servers.len() {
                let index = (nth + turn) % servers.len();
                let Some(server) = servers.get(index) else {
                    continue;
                };
                if shape.batch > 1 && !server.target.kind.batches() {
                    continue;
                }
                let run = trial::run(&server.target, shape, &self.timing, trial::seed(nth))?;
                runs.entry(index).or_default().push(run);
            }
        }
        for (index, runs) in runs {
            let Some(server) = servers.get(index) else {
                continue;
            };
            let system = &server.target.name;
            let record = trial::recorded(system, name, shape, runs);
            tell(&format!(
                "{name}, {system}: {}",
                table::run_line(&record.median)
            ))?;
            self.records.push(record);
        }
        Ok(())
    }
}
