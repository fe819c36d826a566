//! The program around a server: configuration, log, runtime, signals, exit code.
//!
//! Order: configuration, log, warnings, keys, store, certificates, sockets; then the addresses are told and
//! the server serves until a signal. What goes wrong before that is told on stderr in words, after it
//! in the log.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::args::{Action, Invocation};
use crate::config::{self, Config, Loaded, Sources};
use crate::control::{Command, Control};
use crate::ending::Stopped;
use crate::exit::Exit;
use crate::keys::{self, Keys, KeysError};
use crate::server::{Server, StartError};
use crate::{banner, health_check, log, verify};

/// Does what the command line asks for.
#[must_use]
pub fn program(invocation: Invocation) -> Exit {
    let Invocation { action, sources } = invocation;
    let sources_again = sources.clone();
    match action {
        Action::PrintDefaultConfig => return print(&config::default_file()),
        Action::PrintConfigReference => return print(&config::reference()),
        Action::Serve
        | Action::CheckConfig
        | Action::PrintConfig(_)
        | Action::Verify(_)
        | Action::Healthcheck { .. } => {}
    }
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            complain(&mistakes);
            return Exit::Config;
        }
    };
    match action {
        Action::PrintConfig(sources) => print(&loaded.print(sources)),
        Action::CheckConfig => check(&loaded),
        Action::Verify(format) => verify::verify(&loaded.config, format),
        Action::Healthcheck { timeout } => health_check::ask(&loaded.config, timeout),
        _ => serve(loaded, sources_again),
    }
}

/// Text for whoever called: data, on stdout. A closed pipe is their choice.
fn print(text: &str) -> Exit {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Clean,
        Err(_) => Exit::Failure,
    }
}

/// Words about what is wrong, before there is a log.
#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, or it could not be started"
)]
fn complain(message: &dyn std::fmt::Display) {
    eprintln!("{message}");
}

fn check(loaded: &Loaded) -> Exit {
    for warning in &loaded.warnings {
        complain(&format_args!("warning: {warning}"));
    }
    if let Err(error) = loaded.check_files() {
        complain(&format_args!("error: {}", words(&error)));
        return Exit::Config;
    }
    print("the configuration is valid\n")
}

fn serve(loaded: Loaded, sources: Sources) -> Exit {
    let Loaded {
        config, warnings, ..
    } = loaded;
    if let Err(error) = log::init(&config.log) {
        complain(&format_args!("error: {error}"));
        return Exit::Config;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut config = config;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    config.worker_threads.get_or_insert(cores);
    // This thread accepts and keeps house; connections have their own threads when there are cores.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let exit = runtime.block_on(run(config, sources));
            // Nothing that still runs is waited for: the drain had its time.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            tracing::error!(%error, "the runtime did not start");
            Exit::Failure
        }
    }
}

async fn run(config: Config, sources: Sources) -> Exit {
    let began = Instant::now();
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be handled");
            return Exit::Failure;
        }
    };
    let server = match start(config) {
        Ok(server) => server,
        Err(error) => {
            tracing::error!("{}", words(&error));
            return exit_of(&error);
        }
    };
    banner::tell(&server, began);
    let server = server.on_reload(Arc::new(move || read_again(&sources)));
    let mut tasks = JoinSet::new();
    tasks.spawn(signals.forward(server.control()));
    match server.run().await {
        Stopped::Clean => {
            tracing::info!("stopped");
            Exit::Clean
        }
        Stopped::Cut(connections) => {
            tracing::warn!(connections, "stopped before every connection was finished");
            Exit::DrainTimeout
        }
        // Why was said when it happened.
        Stopped::Failed(_) => Exit::Failure,
    }
}

fn start(config: Config) -> Result<Server, StartError> {
    let keys = keys::load(&config.auth, |name| std::env::var_os(name))?;
    Server::bind(config, keys)
}

/// What a reload reads: the same file, environment and flags.
fn read_again(sources: &Sources) -> Result<(Config, Keys), String> {
    let loaded = config::load(sources).map_err(|mistakes| mistakes.to_string())?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    let keys = keys::load(&loaded.config.auth, |name| std::env::var_os(name));
    Ok((loaded.config, keys.map_err(|error| words(&error))?))
}

/// An error with its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Bind { .. } => Exit::Bind,
        StartError::Keys(KeysError::File { .. } | KeysError::Dev(_) | KeysError::Name(_))
        | StartError::KeyRing(_)
        | StartError::Tls(_) => Exit::Config,
        StartError::Engine(error) => error.exit(),
        StartError::Random | StartError::Threads(_) => Exit::Failure,
    }
}

/// The signals a server listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM and SIGINT stop, SIGHUP reloads.
    async fn forward(mut self, control: Control) {
        loop {
            let command = tokio::select! {
                Some(()) = self.terminate.recv() => Command::Stop,
                Some(()) = self.interrupt.recv() => Command::Stop,
                Some(()) = self.hangup.recv() => Command::Reload,
                else => return,
            };
            tracing::info!(?command, "signal");
            control.send(command);
        }
    }
}
