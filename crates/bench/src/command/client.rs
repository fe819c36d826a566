//! `kv-bench client`: kv-server through the public client.

use anyhow::{Result, ensure};

use super::{Places, launch, machine, publish, tell};
use crate::arguments::ClientArguments;
use crate::results::{Figure, Results, Shape};
use crate::system::{Certificates, Kind, Server};
use crate::through_client::{AllocationCounter, Usage, run};
use crate::{table, trial};

pub(super) fn execute(
    arguments: &ClientArguments,
    counter: Option<AllocationCounter>,
) -> Result<()> {
    let timing = arguments.timing.timing()?;
    ensure!(arguments.threads > 0, "--threads is at least 1");
    ensure!(
        arguments.tasks.iter().all(|&tasks| tasks > 0) && !arguments.tasks.is_empty(),
        "--tasks are numbers above 0"
    );
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let program = arguments.server.as_ref();
    let launch = launch(Kind::Kv, program, places, &arguments.pin, &certificates)?;
    let server = Server::start(&launch)?;
    let base = Shape {
        keys: arguments.timing.keys(arguments.keys),
        suite: arguments.suite,
        ..Shape::default()
    };
    trial::fill(&server.target, &base)?;
    let (mut records, mut figures) = (Vec::new(), Vec::new());
    for &tasks in &arguments.tasks {
        for (verb, gets) in [("get", 1.0), ("set", 0.0)] {
            let usage = Usage {
                tasks,
                threads: arguments.threads,
            };
            let shape = Shape {
                gets,
                in_flight: u16::try_from(tasks)?,
                ..base.clone()
            };
            let (mut runs, mut allocations) = (Vec::new(), Vec::new());
            for nth in 0..timing.runs {
                let seed = trial::seed(nth);
                let done = run(&server.target, &shape, usage, &timing, seed, counter)?;
                runs.push(done.run);
                allocations.extend(done.allocations);
            }
            let name = format!("client {verb} {tasks} tasks");
            let record = trial::recorded("kv", &name, &shape, runs);
            tell(&format!("{name}: {}", table::run_line(&record.median)))?;
            records.push(record);
            if !allocations.is_empty() {
                let name = format!("{name}, allocations");
                figures.push(Figure::new("kv", &name, allocations, "per call"));
            }
        }
    }
    let results = Results {
        kind: "client".into(),
        machine: machine(places, vec![server.description]),
        records,
        figures,
    };
    publish(&results, arguments.json.as_deref())
}
