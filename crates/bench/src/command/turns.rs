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

/// How long idle connections are left alone before their memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// How long sessions are opened one after the other, in each run.
const SET_UP: Duration = Duration::from_secs(1);
const MB: f64 = 1e6;

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

    fn figure(&mut self, kind: Kind, name: &str, readings: Vec<f64>, unit: &str) -> Result<()> {
        let figure = Figure::new(kind.name(), name, readings, unit);
        tell(&format!(
            "{name}, {}: {:.2} {unit}",
            kind.name(),
            figure.median
        ))?;
        self.figures.push(figure);
        Ok(())
    }

    /// Every system's server. One of the others that does not start (built without TLS, say) is left
    /// out with a note; ours must start.
    fn servers(&mut self, tls: bool) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for launch in &self.launches {
            let launch = Launch {
                tls,
                ..launch.clone()
            };
            match Server::start(&launch) {
                Ok(server) => servers.push(server),
                Err(error) if launch.kind == Kind::Kv => return Err(error),
                Err(error) => {
                    let with = if tls { " with TLS" } else { "" };
                    let note = format!("{}{with} is left out: {error:#}", launch.kind.name());
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
            self.figure(launch.kind, name, readings, "ms")?;
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
            for server in self.servers(tls)? {
                let kind = server.target.kind;
                server.settle(SETTLE)?;
                let idle = server.process().rss_bytes()? as f64;
                self.figure(kind, &rss, vec![idle / MB], "MB")?;
                let shape = Shape {
                    connections: self.idle,
                    tls,
                    ..Shape::default()
                };
                let settle = &mut || server.settle(SETTLE);
                let bytes = trial::idle_connections(&server.target, &shape, settle)?;
                self.figure(kind, &each, vec![bytes / 1024.0], "KiB")?;
            }
        }
        Ok(())
    }

    /// What opening a session costs.
    pub(super) fn set_ups(&mut self, set_ups: &[(&str, u8, bool)]) -> Result<()> {
        for &(name, suite, tls) in set_ups {
            if !self.wants(name) {
                continue;
            }
            let servers = self.servers(tls)?;
            let mut readings: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); servers.len()];
            for _ in 0..self.timing.runs {
                for (server, (rates, cpus)) in servers.iter().zip(&mut readings) {
                    let (rate, cpu) = trial::set_up(&server.target, suite, tls, SET_UP)?;
                    rates.push(rate);
                    cpus.extend(cpu);
                }
            }
            for (server, (rates, cpus)) in servers.iter().zip(readings) {
                let kind = server.target.kind;
                self.figure(kind, name, rates, "per second")?;
                self.figure(kind, &format!("{name}, server CPU"), cpus, "us")?;
            }
        }
        Ok(())
    }

    /// Shapes that share what is stored.
    pub(super) fn group(&mut self, group: Group) -> Result<()> {
        let Group { base, shapes } = group;
        let memory = format!("RSS per entry of {} + {}", base.key_bytes, base.value_bytes);
        let memory =
            (base.value_bytes <= 1_024 && !base.tls && self.wants(&memory)).then_some(memory);
        let shapes: Vec<_> = shapes
            .into_iter()
            .filter(|(name, _)| self.wants(name))
            .collect();
        if shapes.is_empty() && memory.is_none() {
            return Ok(());
        }
        let servers = self.servers(base.tls)?;
        for server in servers.iter().filter(|server| server.target.kind.stores()) {
            let before = server.process().rss_bytes()?;
            trial::fill(&server.target, &base)?;
            if let Some(name) = &memory {
                server.settle(SETTLE)?;
                let bytes = server.process().rss_bytes()?.saturating_sub(before);
                let each = bytes as f64 / base.keys as f64;
                self.figure(server.target.kind, name, vec![each], "bytes")?;
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
                let run = trial::run(&server.target, shape, &self.timing, trial::seed(nth))?;
                runs.entry(index).or_default().push(run);
            }
        }
        for (server, runs) in servers.iter().zip(runs.into_values()) {
            let system = server.target.kind.name();
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
