//! What the sub-commands do.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::arguments::{Arguments, Command, PinArguments};
use crate::floor::serve_floor;
use crate::measure;
use crate::report;
use crate::results::{Machine, Results};
use crate::system::{Certificates, Kind, Launch, Storage, end_on_signals, find};
use crate::through_client::AllocationCounter;

use suite::Field;

mod client;
mod durable;
mod profile;
mod run;
mod suite;
mod sweep;
mod turns;

/// Does what the command line asks for.
///
/// # Errors
/// When something cannot be measured; servers that were started are ended then too.
pub fn execute(arguments: &Arguments) -> Result<()> {
    execute_counting(arguments, None)
}

/// As [`execute`], telling allocations too where a program has an allocator that counts.
///
/// # Errors
/// As [`execute`].
pub fn execute_counting(arguments: &Arguments, counter: Option<AllocationCounter>) -> Result<()> {
    measure::raise_file_limit()?;
    end_on_signals()?;
    match &arguments.command {
        Command::Run(arguments) => run::execute(arguments),
        Command::Suite(arguments) => suite::execute(Field::Ours, arguments),
        Command::Compare(arguments) => suite::execute(Field::Everyone, arguments),
        Command::Floor(arguments) => suite::execute(Field::Floor, arguments),
        Command::Client(arguments) => client::execute(arguments, counter),
        Command::Report { files, out } => report::write(files, out),
        Command::Durable(arguments) => durable::execute(arguments),
        Command::Profile(arguments) => profile::execute(arguments),
        Command::Sweep(arguments) => sweep::execute(arguments),
        Command::FloorServer { port } => serve_floor(*port),
    }
}

/// Which processor each side runs on.
#[derive(Clone, Copy, Debug)]
struct Places {
    server: Option<usize>,
    generator: Option<usize>,
}

impl Places {
    /// The first processor for servers, the second for this thread, which is pinned at once.
    fn take(arguments: &PinArguments) -> Result<Self> {
        let none = Self {
            server: None,
            generator: None,
        };
        if arguments.no_pinning {
            return Ok(none);
        }
        match measure::processors()?.as_slice() {
            &[server, generator, ..] => {
                measure::pin_to(&[generator])?;
                Ok(Self {
                    server: Some(server),
                    generator: Some(generator),
                })
            }
            _ => Ok(none),
        }
    }

    fn describe(self) -> String {
        match (self.server, self.generator) {
            (Some(server), Some(generator)) => {
                format!("servers on processor {server}, generator on processor {generator}")
            }
            _ => "nothing is pinned".to_owned(),
        }
    }
}

/// A launch of a system with what all launches share.
fn launch(
    kind: Kind,
    program: Option<&PathBuf>,
    places: Places,
    pin: &PinArguments,
    certificates: &Certificates,
) -> Result<Launch> {
    let program = program.cloned().or_else(|| find(kind)).with_context(|| {
        format!(
            "{} is neither beside this program nor on the path",
            kind.name()
        )
    })?;
    let environment = pin.environment()?;
    Ok(Launch {
        kind,
        name: kind.name().to_owned(),
        // Not the file behind a link: some programs do what the link's name says.
        program: std::path::absolute(&program).unwrap_or(program),
        tls: false,
        storage: Storage::Memory,
        password: false,
        parent: None,
        certificates: certificates.clone(),
        processor: places.server,
        environment: if kind == Kind::Kv {
            environment
        } else {
            Vec::new()
        },
        arguments: Vec::new(),
    })
}

fn machine(places: Places, systems: Vec<String>) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        .unwrap_or_default();
    Machine {
        processor,
        notes: Vec::new(),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        systems,
        pinning: places.describe(),
    }
}

/// Words about progress, for people who wait.
fn tell(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{text}").context("writing to stderr")
}

/// Results, on stdout and, if wished, into a file.
fn publish(results: &Results, json: Option<&Path>) -> Result<()> {
    let mut text = String::new();
    if !results.records.is_empty() {
        text.push_str(&crate::table::records(&results.records));
    }
    if !results.figures.is_empty() {
        text.push('\n');
        text.push_str(&crate::table::figures(&results.figures));
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to stdout")?;
    if let Some(path) = json {
        let mut json = serde_json::to_string_pretty(results)?;
        json.push('\n');
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
