//! `kv-bench sweep`: throughput by connections, and latency by load.
//!
//! First a closed loop with more and more connections; the point of saturation is the first number of
//! connections from which on throughput grows no more. Then an open loop at shares of the greatest
//! throughput: what a request waits when so much is asked for.

use anyhow::{Result, ensure};

use super::turns::Turns;
use super::{Places, launch, machine, publish, tell};
use crate::arguments::SweepArguments;
use crate::driver::Load;
use crate::results::{Figure, Record, Results, Shape};
use crate::system::{Certificates, Launch, Server};
use crate::trial;

/// Below this share of the greatest throughput, more connections still help.
const SATURATED: f64 = 0.95;
/// Shares of that throughput that are asked for in the open loop. Above 1 requests queue up in front
/// of the connections, are sent together, and cost less each.
const LOADS: [f64; 10] = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5];
/// Requests that may be in flight on a connection of the open loop.
const OPEN_IN_FLIGHT: u16 = 64;

pub(super) fn execute(arguments: &SweepArguments) -> Result<()> {
    let timing = arguments.timing.timing()?;
    let mut connections = arguments.connections.clone();
    connections.sort_unstable();
    connections.dedup();
    ensure!(
        connections.first().is_some_and(|&count| count > 0),
        "--connections are numbers above 0"
    );
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let launches = arguments
        .system
        .iter()
        .map(|&kind| {
            launch(
                kind,
                arguments.server.as_ref(),
                places,
                &arguments.pin,
                &certificates,
            )
        })
        .collect::<Result<Vec<Launch>>>()?;
    let systems = launches.iter().map(Launch::describe).collect();
    let servers = launches
        .iter()
        .map(Server::start)
        .collect::<Result<Vec<Server>>>()?;
    let base = Shape {
        keys: arguments.timing.keys(arguments.keys),
        in_flight: arguments.in_flight,
        ..Shape::default()
    };
    for server in servers.iter().filter(|server| server.target.kind.stores()) {
        trial::fill(&server.target, &base)?;
    }
    let mut turns = Turns::new(launches, timing);
    for &count in &connections {
        let shape = Shape {
            connections: count,
            ..base.clone()
        };
        let name = format!("get {count}x{}", arguments.in_flight);
        turns.shape(&servers, &name, &shape)?;
    }
    for server in &servers {
        by_load(&mut turns, server, &base)?;
    }
    let results = Results {
        kind: "sweep".into(),
        machine: machine(places, systems),
        records: turns.records,
        figures: turns.figures,
    };
    publish(&results, arguments.json.as_deref())
}

/// What requests wait at shares of the greatest throughput, with as many connections as that takes.
fn by_load(turns: &mut Turns, server: &Server, base: &Shape) -> Result<()> {
    let system = &server.target.name;
    let Some((connections, greatest)) = saturation(&turns.records, system) else {
        return Ok(());
    };
    tell(&format!(
        "{system} is saturated by {connections} connections"
    ))?;
    let reading = vec![connections as f64];
    turns
        .figures
        .push(Figure::new(system, "saturated by", reading, "connections"));
    for share in LOADS {
        let shape = Shape {
            connections,
            in_flight: OPEN_IN_FLIGHT,
            load: Load::Open(greatest * share),
            ..base.clone()
        };
        let name = format!("open {:.0} %", share * 100.0);
        turns.shape(std::slice::from_ref(server), &name, &shape)?;
    }
    Ok(())
}

/// The least number of connections with about the greatest throughput, and that throughput.
fn saturation(records: &[Record], system: &str) -> Option<(usize, f64)> {
    let of: Vec<&Record> = records
        .iter()
        .filter(|record| record.system == system && record.shape.load == Load::Closed)
        .collect();
    let greatest = of
        .iter()
        .map(|record| record.median.rate)
        .fold(0.0, f64::max);
    of.iter()
        .filter(|record| record.median.rate >= greatest * SATURATED)
        .map(|record| record.shape.connections)
        .min()
        .map(|connections| (connections, greatest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Run;

    #[test]
    fn saturation_is_where_more_connections_help_no_more() {
        let record = |system: &str, connections, rate| Record {
            system: system.into(),
            name: String::new(),
            shape: Shape {
                connections,
                ..Shape::default()
            },
            runs: Vec::new(),
            median: Run {
                rate,
                ..Run::default()
            },
        };
        let records = [
            record("kv", 1, 18.0),
            record("kv", 5, 80.0),
            record("kv", 10, 150.0),
            record("kv", 50, 193.0),
            record("kv", 100, 200.0),
            record("redis", 100, 900.0),
        ];
        assert_eq!(saturation(&records, "kv"), Some((50, 200.0)));
        assert_eq!(saturation(&records, "none"), None);
    }
}
