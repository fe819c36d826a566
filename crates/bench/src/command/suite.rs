//! `kv-bench suite`: the standard shapes and memory figures of our own server.

use std::time::Duration;

use anyhow::Result;

use super::{Places, launch, machine, publish, tell};
use crate::arguments::SuiteArguments;
use crate::results::{Figure, Record, Results, Shape};
use crate::shapes::{Audience, Group, standard};
use crate::system::{Certificates, Kind, Launch, Server};
use crate::trial::Timing;
use crate::{table, trial};

/// How long idle connections are left alone before their memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// How long sessions are opened one after the other.
const SET_UP: Duration = Duration::from_secs(2);
const COLD_STARTS: usize = 5;
const MB: f64 = 1e6;

struct Suite<'a> {
    arguments: &'a SuiteArguments,
    timing: Timing,
    launch: Launch,
    records: Vec<Record>,
    figures: Vec<Figure>,
}

pub(super) fn execute(arguments: &SuiteArguments) -> Result<()> {
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let program = arguments.server.as_ref();
    let launch = launch(Kind::Kv, program, places, &arguments.pin, &certificates)?;
    let description = launch.describe();
    tell(&description)?;
    let mut suite = Suite {
        arguments,
        timing: arguments.timing.timing()?,
        launch,
        records: Vec::new(),
        figures: Vec::new(),
    };
    suite.cold_starts()?;
    suite.idle()?;
    suite.set_ups()?;
    for group in standard(Audience::Ours, arguments.keys) {
        suite.group(group)?;
    }
    let results = Results {
        kind: "suite".into(),
        machine: machine(places, vec![description]),
        records: suite.records,
        figures: suite.figures,
    };
    publish(&results, arguments.json.as_deref())
}

impl Suite<'_> {
    fn wants(&self, name: &str) -> bool {
        let only = &self.arguments.only;
        only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
    }

    fn figure(&mut self, name: &str, readings: Vec<f64>, unit: &str) -> Result<()> {
        let figure = Figure::new("kv", name, readings, unit);
        tell(&format!("{name}: {:.2} {unit}", figure.median))?;
        self.figures.push(figure);
        Ok(())
    }

    fn launch(&self, tls: bool) -> Launch {
        Launch {
            tls,
            ..self.launch.clone()
        }
    }

    /// From the start of the process to the first session.
    fn cold_starts(&mut self) -> Result<()> {
        let name = "cold start to first session";
        if !self.wants(name) {
            return Ok(());
        }
        let launch = self.launch(false);
        let mut server = Server::start(&launch)?;
        let mut readings = Vec::new();
        for _ in 0..COLD_STARTS {
            server = server.restart(&launch)?;
            readings.push(server.started_in.as_secs_f64() * 1e3);
        }
        self.figure(name, readings, "ms")
    }

    /// Memory of a server that has nothing to do, and of connections that have nothing to do.
    fn idle(&mut self) -> Result<()> {
        for tls in [false, true] {
            let also = if tls { " TLS" } else { "" };
            let (rss, each) = (
                format!("idle RSS{also}"),
                format!("RSS per idle{also} connection"),
            );
            if !self.wants(&rss) && !self.wants(&each) {
                continue;
            }
            let server = Server::start(&self.launch(tls))?;
            server.settle(Duration::from_millis(500))?;
            let idle = server.process().rss_bytes()? as f64;
            self.figure(&rss, vec![idle / MB], "MB")?;
            let shape = Shape {
                connections: self.arguments.idle,
                tls,
                ..Shape::default()
            };
            let bytes =
                trial::idle_connections(&server.target, &shape, &mut || server.settle(SETTLE))?;
            self.figure(&each, vec![bytes / 1024.0], "KiB")?;
        }
        Ok(())
    }

    /// What opening a session costs.
    fn set_ups(&mut self) -> Result<()> {
        for (name, suite, tls) in [
            ("set-up with suite 1", 1, false),
            ("set-up with suite 2", 2, false),
            ("set-up with TLS and suite 1", 1, true),
        ] {
            if !self.wants(name) {
                continue;
            }
            let server = Server::start(&self.launch(tls))?;
            let (mut rates, mut cpus) = (Vec::new(), Vec::new());
            for _ in 0..self.timing.runs {
                let (rate, cpu) = trial::set_up(&server.target, suite, tls, SET_UP)?;
                rates.push(rate);
                cpus.extend(cpu);
            }
            self.figure(name, rates, "per second")?;
            self.figure(&format!("{name}, server CPU"), cpus, "us")?;
        }
        Ok(())
    }

    /// Shapes that share a server and its data.
    fn group(&mut self, group: Group) -> Result<()> {
        let Group { base, shapes } = group;
        let memory = format!("RSS per entry of 16 + {}", base.value_bytes);
        let small = base.value_bytes == 64 && !base.tls;
        let shapes: Vec<_> = shapes
            .into_iter()
            .filter(|(name, _)| self.wants(name))
            .collect();
        if shapes.is_empty() && !(small && self.wants(&memory)) {
            return Ok(());
        }
        let server = Server::start(&self.launch(base.tls))?;
        let before = server.process().rss_bytes()?;
        trial::fill(&server.target, &base)?;
        if small && self.wants(&memory) {
            server.settle(SETTLE)?;
            let bytes = server.process().rss_bytes()?.saturating_sub(before);
            self.figure(&memory, vec![bytes as f64 / base.keys as f64], "bytes")?;
        }
        for (name, shape) in shapes {
            let record = trial::record(&server.target, &name, &shape, &self.timing)?;
            tell(&format!("{name}: {}", table::run_line(&record.median)))?;
            self.records.push(record);
        }
        Ok(())
    }
}
