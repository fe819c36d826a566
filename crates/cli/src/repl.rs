//! The prompt: the same commands, one a line, over one connection.
//!
//! On a terminal it edits lines, remembers them and helps with them. From a pipe it reads lines and
//! goes on behind one that failed; the exit code is that of the first failure.

mod assist;
mod history;
mod line;
mod meta;
mod words;

use std::io::BufRead;
use std::time::Instant;

use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;

use crate::app::{App, Stdin};
use crate::error::{CliError, Code, Exit};
use line::{Done, Line};

/// What the prompt keeps between lines.
#[derive(Default)]
struct State {
    timing: bool,
}

/// Reads commands until the end.
pub(crate) fn run(app: &mut App, runtime: &Runtime) -> Result<Exit, CliError> {
    if app.output.terminal.stdin_is_terminal {
        interactive(app, runtime)
    } else {
        from_pipe(app, runtime)
    }
}

fn from_pipe(app: &mut App, runtime: &Runtime) -> Result<Exit, CliError> {
    app.stdin = Stdin::Commands;
    let mut state = State::default();
    let mut exit = Exit::Ok;
    let mut pending = String::new();
    for text in std::io::stdin().lock().lines() {
        pending.push_str(&text?);
        if words::is_open(&pending) {
            pending.push('\n');
            continue;
        }
        let text = std::mem::take(&mut pending);
        match one(app, runtime, &mut state, &text)? {
            Done::Quit => return Ok(exit),
            Done::With(outcome) => exit = exit.and(outcome),
        }
    }
    if !pending.trim().is_empty() {
        let error = CliError::usage("the last line ends inside of quotes");
        app.output.error(&error);
        exit = exit.and(error.exit());
    }
    Ok(exit)
}

fn interactive(app: &mut App, runtime: &Runtime) -> Result<Exit, CliError> {
    let mut state = State::default();
    let colour = app.output.terminal.stdout_colour;
    let mut editor = assist::editor(colour).map_err(|error| {
        CliError::new(Code::IO, "the prompt cannot start").cause(error.to_string())
    })?;
    let history = history::File::open(&mut editor);
    greet(app, runtime);
    loop {
        let prompt = app.prompt();
        match editor.readline(&prompt) {
            Ok(text) => {
                history.remember(&mut editor, &text);
                if matches!(one(app, runtime, &mut state, &text)?, Done::Quit) {
                    return Ok(Exit::Ok);
                }
            }
            // Ctrl-C gives the line up, Ctrl-D ends.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(Exit::Ok),
            Err(ReadlineError::Io(error)) => return Err(error.into()),
            Err(error) => {
                return Err(
                    CliError::new(Code::IO, "the prompt cannot go on").cause(error.to_string())
                );
            }
        }
    }
}

/// Runs one line. Its failure is shown, and ends nothing but the line; only a closed standard output
/// ends more.
fn one(app: &mut App, runtime: &Runtime, state: &mut State, text: &str) -> Result<Done, CliError> {
    let started = Instant::now();
    let done = Line::parse(text).and_then(|line| line.run(app, runtime, state));
    let done = done.and_then(|done| app.output.flush().map(|()| done));
    let done = match done {
        Ok(done) => done,
        Err(error) if error.code() == Code::BROKEN_PIPE => return Err(error),
        Err(error) => {
            app.output.error(&error);
            Done::With(error.exit())
        }
    };
    if state.timing && !text.trim_start().starts_with(['\\', '#']) && !text.trim().is_empty() {
        let ms = started.elapsed().as_secs_f64() * 1_000.0;
        app.output.message(&format!("time: {ms:.3} ms"));
    }
    Ok(done)
}

fn greet(app: &mut App, runtime: &Runtime) {
    app.output.message(&format!(
        "kv-cli {}; \\help lists what there is, \\quit or Ctrl-D ends",
        env!("CARGO_PKG_VERSION")
    ));
    // The prompt is useful without a server, too: say what is wrong and go on.
    if let Err(error) = runtime.block_on(app.client()) {
        app.output.error(&error);
    }
}
