//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::driver::{Load, Refill};
use crate::results::Shape;
use crate::system::{Durability, Kind};
use crate::trial::Timing;
use crate::workload::Choice;

/// Load generator and comparison benchmarks of kv. Puts load on this machine only.
#[derive(Debug, Parser)]
#[command(name = "kv-bench", version, max_term_width = 100)]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// A server that is running, as the program around this one knows it.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it listens. Only what is on this machine is loaded.
    pub address: std::net::SocketAddr,
    /// The key's id; `dev` when absent.
    pub key_id: Option<String>,
    /// The key file; the one a server makes at its first start when absent.
    pub key_file: Option<PathBuf>,
    /// The authority's certificate in PEM, for TLS.
    pub ca: Option<PathBuf>,
    /// Speak TLS 1.3.
    pub tls: bool,
    /// The suite, if it is asked for.
    pub suite: Option<u8>,
}

impl Arguments {
    /// Measures this server with `run`, which starts none then. What the arguments say themselves
    /// stays. False when they are not about a running kv-server: of another sub-command, say.
    pub fn measure_running(&mut self, running: Running) -> bool {
        let Command::Run(run) = &mut self.command else {
            return false;
        };
        if run.system != Kind::Kv || run.server.is_some() || run.address.is_some() {
            return false;
        }
        run.address = Some(running.address);
        if run.key_file.is_none() {
            run.key_file = running.key_file;
            if let Some(id) = running.key_id {
                run.key_id = id.into();
            }
        }
        run.ca = run.ca.take().or(running.ca);
        run.shape.tls |= running.tls;
        run.shape.suite = running.suite.unwrap_or(run.shape.suite);
        true
    }
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One shape, on a running server or one that is started for it.
    Run(RunArguments),
    /// The standard shapes and memory figures of kv-server.
    Suite(StandardArguments),
    /// The standard shapes on kv-server and every other system that is installed, in turns.
    Compare(StandardArguments),
    /// The standard shapes on kv-server and on an echo server of raw system calls, in turns.
    Floor(StandardArguments),
    /// Durable writes beside Redis's, and reads of the disk engine, hot beside the memory engine's and
    /// cold.
    Durable(DurableArguments),
    /// Where the server's time goes with small reads: shares of one run under `perf record`.
    Profile(ProfileArguments),
    /// Throughput by connections with the point of saturation, then latency by load.
    Sweep(SweepArguments),
    /// kv-server through the public client, one client shared by many tasks.
    Client(ClientArguments),
    /// A page with tables and plots from result files.
    Report {
        /// Result files, written with --json.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where `report.md` and its plots go.
        #[arg(long, default_value = ".", value_name = "DIRECTORY")]
        out: PathBuf,
    },
    /// The echo server itself, on this port of 127.0.0.1.
    #[command(hide = true)]
    FloorServer {
        /// The port; 0 for any.
        port: u16,
    },
}

/// How long and how often.
#[derive(Clone, Copy, Debug, Args)]
pub struct TimingArguments {
    /// Seconds that are counted, in each run.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    duration: f64,
    /// Seconds before, that are not.
    #[arg(long, default_value_t = 0.5, value_name = "SECONDS")]
    warm_up: f64,
    /// Runs; what is told is their median, figure by figure.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// One short run of everything on few keys: shows that it can be measured, and nothing else.
    #[arg(long, conflicts_with_all = ["duration", "warm_up", "runs"])]
    pub quick: bool,
}

/// Keys and idle connections of `--quick`.
const QUICK_KEYS: u64 = 20_000;
const QUICK_IDLE: usize = 100;
/// How long servers are left alone before their memory is read.
const SETTLE: Duration = Duration::from_secs(3);

/// The longest run that may be asked for.
const SECONDS_MAX: f64 = 3_600.0;

impl TimingArguments {
    /// As the measuring wants it.
    ///
    /// # Errors
    /// When a run would take no time or more than an hour.
    pub fn timing(&self) -> Result<Timing> {
        if self.quick {
            return Ok(Timing {
                warm_up: Duration::from_millis(50),
                duration: Duration::from_millis(200),
                runs: 1,
                settle: Duration::from_millis(200),
            });
        }
        for (name, seconds, least) in [
            ("--duration", self.duration, 0.01),
            ("--warm-up", self.warm_up, 0.0),
        ] {
            ensure!(
                (least..=SECONDS_MAX).contains(&seconds),
                "{name} is between {least} and {SECONDS_MAX} seconds, not {seconds}"
            );
        }
        ensure!((1..=99).contains(&self.runs), "--runs is between 1 and 99");
        Ok(Timing {
            warm_up: Duration::from_secs_f64(self.warm_up),
            duration: Duration::from_secs_f64(self.duration),
            runs: self.runs,
            settle: SETTLE,
        })
    }

    /// As many keys as were asked for, or few.
    #[must_use]
    pub fn keys(&self, asked: u64) -> u64 {
        if self.quick {
            asked.min(QUICK_KEYS)
        } else {
            asked
        }
    }

    /// As many idle connections as were asked for, or few.
    #[must_use]
    pub fn idle(&self, asked: usize) -> usize {
        if self.quick {
            asked.min(QUICK_IDLE)
        } else {
            asked
        }
    }
}

/// Where each side runs.
#[derive(Clone, Debug, Args)]
pub struct PinArguments {
    /// Let servers and generator share all processors, instead of one each.
    #[arg(long)]
    pub no_pinning: bool,
    /// Added to the environment of kv-server; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub server_env: Vec<String>,
}

impl PinArguments {
    /// The environment as pairs.
    ///
    /// # Errors
    /// When one has no `=`.
    pub fn environment(&self) -> Result<Vec<(String, String)>> {
        self.server_env
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => bail!("--server-env takes NAME=VALUE, not {text:?}"),
            })
            .collect()
    }
}

/// When a closed loop sends again.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RefillName {
    /// When all of a connection's requests are answered.
    Batch,
    /// As soon as one is.
    Each,
}

/// `kv-bench run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// What the server is.
    #[arg(long, value_enum, default_value_t = Kind::Kv)]
    pub system: Kind,
    /// A running server on this machine; without it, one is started.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<std::net::SocketAddr>,
    /// The key id, for a running kv-server.
    #[arg(long, default_value = "dev")]
    pub key_id: Box<str>,
    /// The key file, for a running kv-server; by default the one a server makes at its first start.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The authority's certificate in PEM, for a running server with TLS.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The server's process, to read what it uses.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The server's program, if one is started.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Do not write every key once before measuring.
    #[arg(long)]
    pub no_fill: bool,
    /// Write results to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArguments,
    /// How long and how often.
    #[command(flatten)]
    pub timing: TimingArguments,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}

#[derive(Debug, Args)]
struct ShapeArguments {
    /// Connections.
    #[arg(long, short, default_value_t = 50)]
    connections: usize,
    /// Requests in flight on each.
    #[arg(long, short, default_value_t = 64)]
    in_flight: u16,
    /// Requests per second, due evenly whatever the server does (open loop); without it, a reply
    /// makes room for the next request (closed loop).
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// When a closed loop sends again.
    #[arg(long, value_enum, default_value_t = RefillName::Batch)]
    refill: RefillName,
    /// Share of reads: 1 reads only, 0 writes only.
    #[arg(long, default_value_t = 1.0)]
    gets: f64,
    /// Operations per request; above 1 they are sent as BATCH.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// How many keys there are.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Choose keys by Zipf's law with this exponent, not evenly.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// Length of a key.
    #[arg(long, default_value_t = 16)]
    key_bytes: usize,
    /// Length of a value.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Of the native protocol: 0 checksum, 1 signed, 2 encrypted and signed.
    #[arg(long, default_value_t = 1)]
    suite: u8,
    /// Speak TLS 1.3.
    #[arg(long)]
    tls: bool,
}

impl RunArguments {
    /// The shape that is asked for.
    ///
    /// # Errors
    /// When a number makes no sense.
    pub fn shape(&self) -> Result<Shape> {
        let asked = &self.shape;
        ensure!(asked.connections > 0, "--connections is at least 1");
        ensure!(asked.in_flight > 0, "--in-flight is at least 1");
        ensure!(
            (0.0..=1.0).contains(&asked.gets),
            "--gets is between 0 and 1"
        );
        ensure!(
            (1..=4_096).contains(&asked.batch),
            "--batch is between 1 and 4096"
        );
        ensure!(
            asked.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e8),
            "--rate is above 0"
        );
        ensure!(
            asked
                .zipf
                .is_none_or(|exponent| exponent > 0.0 && exponent <= 10.0),
            "--zipf is above 0 and at most 10"
        );
        Ok(Shape {
            connections: asked.connections,
            in_flight: asked.in_flight,
            load: asked.rate.map_or(Load::Closed, Load::Open),
            refill: match asked.refill {
                RefillName::Batch => Refill::Batch,
                RefillName::Each => Refill::Each,
            },
            gets: asked.gets,
            batch: asked.batch,
            keys: asked.keys,
            choice: asked.zipf.map_or(Choice::Uniform, Choice::Zipf),
            key_bytes: asked.key_bytes,
            value_bytes: asked.value_bytes,
            suite: asked.suite,
            tls: asked.tls,
        })
    }
}

/// `kv-bench suite`, `compare` and `floor`.
#[derive(Debug, Args)]
pub struct StandardArguments {
    /// The program of kv-server; by default the one beside this program, or on the path.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Only shapes and figures whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Keys of the small shapes, and entries of the memory figure.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Idle connections whose memory is measured.
    #[arg(long, default_value_t = 1_000)]
    pub idle: usize,
    /// Write results to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How long and how often.
    #[command(flatten)]
    pub timing: TimingArguments,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}

/// `kv-bench durable`.
#[derive(Debug, Args)]
pub struct DurableArguments {
    /// The program of kv-server; by default the one beside this program, or on the path.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// When writes are acknowledged: Redis's appendfsync always, everysec or no beside it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Durability::Always])]
    pub durability: Vec<Durability>,
    /// Where the servers' own directories are made; the system's directory for temporary files by
    /// default.
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Only shapes whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Keys that are written, and read hot.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Keys of cold reads.
    #[arg(long, default_value_t = 3_000_000)]
    pub cold_keys: u64,
    /// The table in front of the disk for cold reads, in MiB: a small part of what is stored.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub cold_cache: u64,
    /// Write results to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How long and how often.
    #[command(flatten)]
    pub timing: TimingArguments,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}

/// `kv-bench profile`.
#[derive(Debug, Args)]
pub struct ProfileArguments {
    /// The program of kv-server, with symbols; by default the one beside this program, or on the
    /// path.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Connections.
    #[arg(long, short, default_value_t = 50)]
    pub connections: usize,
    /// Requests in flight on each.
    #[arg(long, short, default_value_t = 64)]
    pub in_flight: u16,
    /// Keys that are stored.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Seconds that are sampled.
    #[arg(long, default_value_t = 8.0, value_name = "SECONDS")]
    pub duration: f64,
    /// Also list this many functions, each with the share it was counted to.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub functions: usize,
    /// Write the shares to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}

/// `kv-bench sweep`.
#[derive(Debug, Args)]
pub struct SweepArguments {
    /// What is measured; may be repeated.
    #[arg(long, value_enum, default_values_t = [Kind::Kv])]
    pub system: Vec<Kind>,
    /// The program of kv-server; by default the one beside this program, or on the path.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5, 10, 50, 100])]
    pub connections: Vec<usize>,
    /// Requests in flight on each connection.
    #[arg(long, short, default_value_t = 1)]
    pub in_flight: u16,
    /// Keys that are stored.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Write results to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How long and how often.
    #[command(flatten)]
    pub timing: TimingArguments,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}

/// `kv-bench client`.
#[derive(Debug, Args)]
pub struct ClientArguments {
    /// The program of kv-server; by default the one beside this program, or on the path.
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Tasks that share one client, each with one call at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    pub tasks: Vec<usize>,
    /// Threads of the client's runtime.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Keys that are stored.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// 0 checksum, 1 signed, 2 encrypted and signed.
    #[arg(long, default_value_t = 1)]
    pub suite: u8,
    /// Write results to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How long and how often.
    #[command(flatten)]
    pub timing: TimingArguments,
    /// Where each side runs.
    #[command(flatten)]
    pub pin: PinArguments,
}
