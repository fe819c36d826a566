//! `kv-bench run`: one shape on one server.

use anyhow::{Context, Result};
use kv_proto::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Places, launch, machine, publish, tell};
use crate::arguments::RunArguments;
use crate::measure::Process;
use crate::protocol::NativeKey;
use crate::results::{Results, Shape};
use crate::system::{Certificates, Kind, Server, Target};
use crate::{table, trial};

pub(super) fn execute(arguments: &RunArguments) -> Result<()> {
    let shape = arguments.shape()?;
    let timing = arguments.timing.timing()?;
    let places = Places::take(&arguments.pin)?;
    let (server, target) = if let Some(address) = arguments.address {
        let target = running(arguments, address)?;
        (None, target)
    } else {
        let certificates = Certificates::new()?;
        let mut launch = launch(
            arguments.system,
            arguments.server.as_ref(),
            places,
            &arguments.pin,
            &certificates,
        )?;
        launch.tls = shape.tls;
        let server = Server::start(&launch)?;
        let target = server.target.clone();
        (Some(server), target)
    };
    if !arguments.no_fill {
        trial::fill(&target, &shape)?;
    }
    let mut runs = Vec::new();
    for nth in 0..timing.runs {
        let run = trial::run(&target, &shape, &timing, trial::seed(nth))?;
        tell(&format!("run {}: {}", nth + 1, table::run_line(&run)))?;
        runs.push(run);
    }
    let description = server.map_or_else(
        || format!("{} at {}", target.kind.name(), target.address),
        |server| server.description,
    );
    let name = name(&shape);
    let results = Results {
        kind: "run".into(),
        machine: machine(places, vec![description]),
        records: vec![trial::recorded(target.kind.name(), &name, &shape, runs)],
        figures: Vec::new(),
    };
    publish(&results, arguments.json.as_deref())
}

fn name(shape: &Shape) -> String {
    let verb = if shape.gets >= 1.0 {
        "get".to_owned()
    } else if shape.gets <= 0.0 {
        "set".to_owned()
    } else {
        format!("{:.0} % get", shape.gets * 100.0)
    };
    format!("{verb} {}x{}", shape.connections, shape.in_flight)
}

/// A server that somebody else started.
fn running(arguments: &RunArguments, address: std::net::SocketAddr) -> Result<Target> {
    let authority = match &arguments.ca {
        None => None,
        Some(path) => Some(
            CertificateDer::from_pem_file(path)
                .with_context(|| format!("reading {}", path.display()))?,
        ),
    };
    let key = if arguments.system == Kind::Kv {
        key(arguments)?
    } else {
        None
    };
    Ok(Target {
        kind: arguments.system,
        name: arguments.system.name().to_owned(),
        address,
        authority,
        key,
        password: None,
        process: arguments.pid.map(Process::new),
    })
}

/// The key that is named, or the one a server makes at its first start, if it is there.
fn key(arguments: &RunArguments) -> Result<Option<NativeKey>> {
    let path = match &arguments.key_file {
        Some(path) => path.clone(),
        None => {
            let state = std::env::var_os("XDG_STATE_HOME").map(std::path::PathBuf::from);
            let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
            let Some(state) = state.or_else(|| Some(home?.join(".local/state"))) else {
                return Ok(None);
            };
            let path = state.join("kv/dev.key");
            if !path.exists() {
                return Ok(None);
            }
            path
        }
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading the key {}", path.display()))?;
    let secret = Secret::from_hex(&text)
        .with_context(|| format!("{} is not a key in hex", path.display()))?;
    Ok(Some((arguments.key_id.clone(), secret)))
}
