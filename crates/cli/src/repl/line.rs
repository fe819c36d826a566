//! One line of the prompt: a command of the command line, or one of the prompt's own.

use std::ffi::OsString;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use tokio::runtime::Runtime;

use super::meta::Meta;
use super::{State, words};
use crate::app::App;
use crate::args::{Cli, Command, os_string, table};
use crate::commands;
use crate::error::{CliError, Exit};

/// What came of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was done, with this outcome.
    With(Exit),
    /// The prompt ends.
    Quit,
}

/// What a line asks for.
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// A command; boxed, as it is much larger than the others.
    Command(Box<Cli>),
    /// A text that was asked for, such as the help of a command.
    Text(String),
    /// One of the prompt's own.
    Meta(Meta),
}

impl Line {
    /// Reads a line. `#` begins a comment.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(Self::Empty);
        }
        if let Some(meta) = text.strip_prefix('\\') {
            return Meta::parse(meta).map(Self::Meta);
        }
        let mut words: Vec<OsString> = words::split(text)?.into_iter().map(os_string).collect();
        match words.first().and_then(|word| word.to_str()) {
            Some("quit" | "exit") if words.len() == 1 => return Ok(Self::Meta(Meta::Quit)),
            Some("help") => return Ok(Self::Meta(Meta::help(words.get(1)))),
            _ => {}
        }
        words.insert(0, "kv-cli".into());
        let mut command = table();
        let parsed = command
            .try_get_matches_from_mut(words)
            .and_then(|matches| Cli::from_arg_matches(&matches));
        match parsed {
            Ok(cli) => Ok(Self::Command(Box::new(cli))),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                ) =>
            {
                Ok(Self::Text(error.render().to_string()))
            }
            Err(error) => Err(CliError::of_parser(&error, "")),
        }
    }

    /// Does it.
    pub(super) fn run(
        self,
        app: &mut App,
        runtime: &Runtime,
        state: &mut State,
    ) -> Result<Done, CliError> {
        match self {
            Self::Empty => Ok(Done::With(Exit::Ok)),
            Self::Text(text) => {
                app.output.bytes(text.as_bytes())?;
                Ok(Done::With(Exit::Ok))
            }
            Self::Meta(meta) => meta.run(app, state),
            Self::Command(cli) => run_command(app, runtime, *cli),
        }
    }
}

fn run_command(app: &mut App, runtime: &Runtime, cli: Cli) -> Result<Done, CliError> {
    let command = match cli.command {
        Some(Command::Repl) => return Err(CliError::usage("this is the prompt already")),
        Some(command) => command,
        None => return Err(CliError::usage("there is no command on this line")),
    };
    if cli.global.names_a_server() && !matches!(command, Command::Context(_)) {
        return Err(CliError::usage(
            "the prompt keeps its connection: options about it go to its start",
        )
        .hint("kv-cli --url kv://host:7777"));
    }
    let before = (app.output.format, app.output.key_format);
    if let Some(format) = cli.global.output.format {
        app.output.format = format;
    }
    if let Some(key_format) = cli.global.output.key_format {
        app.output.key_format = key_format;
    }
    let options = std::mem::replace(&mut app.global, cli.global);
    let done = runtime.block_on(async {
        tokio::select! {
            done = Box::pin(commands::run(app, command)) => Some(done),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    app.global = options;
    let flushed = app.output.flush();
    (app.output.format, app.output.key_format) = before;
    match done {
        Some(done) => {
            let exit = done?;
            flushed?;
            Ok(Done::With(exit))
        }
        None => {
            app.output.message("given up");
            Ok(Done::With(Exit::Ok))
        }
    }
}
