//! What the commands do: one file each, and the one place that picks the file.

mod backup;
pub(crate) mod bench;
mod bulk;
mod certs;
mod clients;
mod completions;
mod context;
mod del;
mod doctor;
mod exists;
mod export;
mod get;
mod import;
mod incr;
mod info;
mod keygen;
mod mget;
mod mset;
mod ping;
mod restore;
mod scan;
mod set;
mod touch;
mod ttl;

use crate::app::App;
use crate::args::{CertsCommand, Command, ContextCommand};
use crate::error::{CliError, Exit};

/// Does what was asked for.
pub(crate) async fn run(app: &mut App, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Get(args) => get::run(app, &args).await,
        Command::Set(args) => Box::pin(set::run(app, &args)).await,
        Command::Del(args) => del::run(app, &args).await,
        Command::Mget(args) => mget::run(app, &args).await,
        Command::Mset(args) => mset::run(app, &args).await,
        Command::Scan(args) => scan::run(app, &args).await,
        Command::Import(args) => Box::pin(import::run(app, &args)).await,
        Command::Export(args) => export::run(app, &args).await,
        Command::Backup(args) => backup::run(app, &args).await,
        Command::Restore(args) => Box::pin(restore::run(app, &args)).await,
        Command::Exists(args) => exists::run(app, &args).await,
        Command::Ttl(args) => ttl::run(app, &args).await,
        Command::Touch(args) => touch::run(app, &args).await,
        Command::Incr(args) => incr::run(app, &args).await,
        Command::Ping(args) => ping::run(app, &args).await,
        Command::Info(args) => info::run(app, &args).await,
        Command::Clients(args) => clients::run(app, &args).await,
        Command::Keygen(args) => keygen::run(&mut app.output, &args),
        Command::Certs(CertsCommand::Init(args)) => certs::init(&mut app.output, &args),
        Command::Certs(CertsCommand::Show(args)) => certs::show(&mut app.output, &args),
        Command::Context(ContextCommand::Add(args)) => context::add(app, args),
        Command::Context(ContextCommand::Ls) => context::list(app),
        Command::Context(ContextCommand::Use(args)) => context::select(app, &args),
        Command::Context(ContextCommand::Rm(args)) => context::remove(app, &args),
        Command::Completions(args) => completions::run(&mut app.output, &args),
        Command::Doctor(_) => doctor::run(app).await,
        // As it must not run inside of a runtime, it is started by `main`, too.
        Command::Bench(_) => {
            let error = CliError::usage("the prompt does not measure");
            Err(error.hint("`kv-cli bench` does, from a shell"))
        }
        // The prompt is started by `main`, which owns the runtime that it needs.
        Command::Repl => Err(CliError::usage("the prompt cannot be started from here")),
    }
}

/// A duration as the whole milliseconds that output carries.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
