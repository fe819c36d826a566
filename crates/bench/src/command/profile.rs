//! `kv-bench profile`: where the server's time goes with small reads.
//!
//! `perf` samples the server while the driver loads it; [`Profile`] makes shares of the samples.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Places, launch, machine, publish, tell};
use crate::arguments::ProfileArguments;
use crate::profile::Profile;
use crate::results::{Figure, Results, Run, Shape};
use crate::system::{Certificates, Kind, Server};
use crate::trial::{self, Timing};

/// Samples per second: no divisor or multiple of what the kernel's own clocks do.
const FREQUENCY: &str = "1999";
/// The load goes on around what is sampled, so that no idle time is.
const AROUND: Duration = Duration::from_millis(1_500);
/// Below this, shares of a tenth of a per cent mean nothing.
const SAMPLES_MIN: u64 = 100;

pub(super) fn execute(arguments: &ProfileArguments) -> Result<()> {
    ensure!(
        (0.1..=600.0).contains(&arguments.duration),
        "--duration is between 0.1 and 600 seconds"
    );
    ensure!(
        has_perf(),
        "perf is not installed, or may not be used: nothing was measured (Debian: linux-perf)"
    );
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let program = arguments.server.as_ref();
    let launch = launch(Kind::Kv, program, places, &arguments.pin, &certificates)?;
    let server = Server::start(&launch)?;
    let shape = Shape {
        connections: arguments.connections,
        in_flight: arguments.in_flight,
        keys: arguments.keys,
        ..Shape::default()
    };
    trial::fill(&server.target, &shape)?;
    let directory = tempfile::tempdir().context("a directory for samples")?;
    let data = directory.path().join("perf.data");
    let run = sampled(&server, &shape, arguments.duration, &data)?;
    drop(server);

    let profile = Profile::parse(&samples(&data)?);
    ensure!(
        profile.samples() >= SAMPLES_MIN,
        "{} samples are too few",
        profile.samples()
    );
    let name = format!("get {}x{}", arguments.connections, arguments.in_flight);
    let figures = profile
        .per_mille()
        .into_iter()
        .map(|(share, per_mille)| {
            let name = format!("{name}, time in {}", share.name());
            Figure::new("kv", &name, vec![per_mille as f64 / 10.0], "%")
        })
        .collect();
    tell(&format!("{} samples", profile.samples()))?;
    if arguments.functions > 0 {
        tell(profile.functions(arguments.functions).trim_end())?;
    }
    let record = trial::recorded("kv", &format!("{name} under perf"), &shape, vec![run]);
    let results = Results {
        kind: "profile".into(),
        machine: machine(places, vec![launch.describe()]),
        records: vec![record],
        figures,
    };
    publish(&results, arguments.json.as_deref())
}

/// One run, sampled in its midst into this file.
fn sampled(server: &Server, shape: &Shape, seconds: f64, data: &Path) -> Result<Run> {
    let timing = Timing {
        warm_up: Duration::from_millis(500),
        duration: Duration::from_secs_f64(seconds) + AROUND,
        runs: 1,
        settle: Duration::ZERO,
    };
    // It may run where the generator does: the server's processor is the server's.
    let mut perf = Command::new("perf")
        .args(["record", "--quiet", "-g", "--freq", FREQUENCY, "--pid"])
        .arg(server.process().id().to_string())
        .arg("--output")
        .arg(data)
        .args(["--", "sleep", &seconds.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting perf")?;
    let run = trial::run(&server.target, shape, &timing, trial::seed(0));
    let ended = perf.wait().context("waiting for perf")?;
    ensure!(ended.success(), "perf record failed: {ended}");
    run
}

fn has_perf() -> bool {
    Command::new("perf")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The stacks, as text. Inlined functions are not looked up: it takes minutes, and the borders between
/// shares are at functions that are marked, or too large, to be inlined.
fn samples(data: &Path) -> Result<String> {
    let output = Command::new("perf")
        .args(["script", "--no-inline", "-F", "ip,sym", "--input"])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .context("starting perf")?;
    ensure!(
        output.status.success(),
        "perf script failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
