//! `kv-cli`: the command line of kv.
//!
//! Owns the process: arguments, runtime, exit code. What commands do is in `commands`, how output
//! looks in `output`, and which failure ends with which exit code in `error`.
#![forbid(unsafe_code)]

mod app;
mod args;
mod backup_file;
mod commands;
mod connect;
mod contexts;
mod error;
mod files;
mod keyfile;
mod output;
mod repl;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use tokio::runtime::{Builder, Runtime};

use crate::app::App;
use crate::args::{Cli, Command};
use crate::error::{CliError, Code, Exit};
use crate::output::{Format, Output, Terminal};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let terminal = Terminal::of_process();
    let exit = match parse(&arguments) {
        Ok(cli) => start(cli, terminal),
        Err(error) => refuse(&error, &arguments, terminal),
    };
    ExitCode::from(exit.number())
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let answer = args::command().try_get_matches_from(arguments);
    let matches = match answer {
        Err(error) if !is_answer(&error) => {
            // The plain table makes the better complaint: it suggests commands.
            args::table().try_get_matches_from(arguments)?
        }
        other => other?,
    };
    Cli::from_arg_matches(&matches)
}

fn is_answer(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
}

/// Help and version are answers; everything else is wrong usage, as JSON where JSON was asked for.
fn refuse(error: &clap::Error, arguments: &[OsString], terminal: Terminal) -> Exit {
    if is_answer(error) {
        // A closed pipe is the only way to fail, and is quiet.
        let _ = error.print();
        return Exit::Ok;
    }
    let error = CliError::of_parser(error, "kv-cli ");
    let format = wanted_format(arguments);
    Output::new(format, output::KeyFormat::default(), terminal).error(&error);
    error.exit()
}

/// The format that arguments ask for, although they cannot be parsed.
fn wanted_format(arguments: &[OsString]) -> Option<Format> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    words
        .iter()
        .enumerate()
        .find_map(|(index, word)| match *word {
            "-o" | "--output" => words.get(index + 1).copied(),
            _ => word
                .strip_prefix("--output=")
                .or_else(|| word.strip_prefix("-o")),
        })
        .and_then(|name| <Format as clap::ValueEnum>::from_str(name, false).ok())
}

fn start(cli: Cli, terminal: Terminal) -> Exit {
    let mut app = App::new(cli.global, terminal);
    let done = match cli.command {
        Some(Command::Repl) => prompt(&mut app),
        Some(Command::Bench(args)) => commands::bench::run(&mut app, &args),
        Some(command) => with_runtime(Threads::This, |runtime| {
            runtime.block_on(async {
                let done = Box::pin(commands::run(&mut app, command)).await;
                app.close().await;
                done
            })
        }),
        None if terminal.stdin_is_terminal => prompt(&mut app),
        None => Err(
            CliError::usage("no command, and standard input is not a terminal").hint(
                "kv-cli --help lists the commands; `kv-cli repl` reads them from standard input",
            ),
        ),
    };
    let done = done.and_then(|exit| app.output.flush().map(|()| exit));
    match done {
        Ok(exit) => exit,
        Err(error) if error.code() == Code::BROKEN_PIPE => error.exit(),
        Err(error) => {
            app.output.error(&error);
            error.exit()
        }
    }
}

fn prompt(app: &mut App) -> Result<Exit, CliError> {
    with_runtime(Threads::Beside, |runtime| {
        let done = repl::run(app, runtime);
        runtime.block_on(app.close());
        done
    })
}

/// Where the connection is looked after: on this thread while a command runs, or on one beside it,
/// so that it stays alive while a prompt waits for its person.
enum Threads {
    This,
    Beside,
}

fn with_runtime(
    threads: Threads,
    run: impl FnOnce(&Runtime) -> Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    let mut builder = match threads {
        Threads::This => Builder::new_current_thread(),
        Threads::Beside => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        }
    };
    let runtime = builder.enable_all().build()?;
    let done = run(&runtime);
    // Nothing that is still open is waited for, such as a read of standard input.
    runtime.shutdown_background();
    done
}
