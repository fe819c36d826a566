//! `import`: entries from lines of JSON, many under way at once.

mod line;

pub(super) use line::write as line_of;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use super::bulk::checkpoint::{Checkpoint, Position};
use super::bulk::progress::{Progress, entries};
use super::bulk::{Ended, Existing, Fate, Window};
use crate::app::{App, Stdin};
use crate::args::{ImportArgs, OnError};
use crate::error::{CliError, Code, Exit};
use crate::output::Report;

/// A line longer than this is none of ours: the largest value there can be, in base64, and more.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How an import stands.
struct Import<'a> {
    app: &'a mut App,
    args: &'a ImportArgs,
    window: Window,
    progress: Progress,
    checkpoint: Checkpoint,
    stored: u64,
    kept: u64,
    unusable: u64,
}

/// Stores the entry of each line.
pub(super) async fn run(app: &mut App, args: &ImportArgs) -> Result<Exit, CliError> {
    let mut input = open(&args.file, app.stdin)?;
    let checkpoint = Checkpoint::open(args.pace.resume.as_deref())?;
    let before = checkpoint.position();
    let first = before.done.saturating_add(args.from_line);
    skip_lines(&mut *input, first - 1, before, &checkpoint)?;
    let existing = if args.if_absent {
        Existing::Keep
    } else {
        Existing::Replace
    };
    let client = app.lasting_client().await?;
    let mut import = Import {
        app,
        args,
        window: Window::new(client, existing, args.pace.window, first),
        progress: Progress::new("imported", None),
        checkpoint,
        stored: 0,
        kept: 0,
        unusable: 0,
    };
    let done = import.lines(&mut *input, first).await;
    // What is under way has its answer before anything is said about it.
    let done = import.rest().await.and(done);
    import.end(done)
}

impl Import<'_> {
    async fn lines(&mut self, input: &mut dyn BufRead, first: u64) -> Result<(), CliError> {
        let mut number = first;
        let mut text = Vec::new();
        while read_line(input, &mut text)
            .map_err(|error| CliError::file("read", &self.args.file, &error))?
        {
            match line::parse(&text) {
                Ok(None) => self.window.skip(mark(&text)),
                Ok(Some(record)) => {
                    while self.window.blocks(&record) {
                        self.wait().await?;
                    }
                    self.window.send(record, mark(&text));
                }
                Err(what) => {
                    self.unusable(number, &what)?;
                    self.window.skip(mark(&text));
                }
            }
            number += 1;
            let (done, mark) = self.window.done();
            self.progress.at(self.stored);
            self.checkpoint.at(Position { done, mark })?;
        }
        Ok(())
    }

    /// Waits for one; its failure is the end of all.
    async fn wait(&mut self) -> Result<(), CliError> {
        let Some(Ended { number, fate }) = self.window.ended().await else {
            return Ok(());
        };
        match fate {
            Fate::Stored => self.stored += 1,
            Fate::Kept => self.kept += 1,
            Fate::Unusable(error) => {
                self.unusable(number, error.cause_text().unwrap_or(error.message()))?;
                self.window.give_up(number);
            }
            Fate::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for all that are under way; the first failure is told.
    async fn rest(&mut self) -> Result<(), CliError> {
        let mut failed = Ok(());
        while !self.window.is_empty() {
            let ended = self.wait().await;
            failed = failed.and(ended);
        }
        let (done, mark) = self.window.done();
        self.checkpoint.write(Position { done, mark })?;
        failed
    }

    /// A line that cannot be used: named, and the end unless such lines are skipped.
    fn unusable(&mut self, number: u64, what: &str) -> Result<(), CliError> {
        let error = CliError::new(Code::INPUT, format!("line {number}: {what}"));
        if self.args.on_error == OnError::Stop {
            return Err(error);
        }
        self.unusable += 1;
        self.progress.clear();
        self.app.output.error(&error);
        Ok(())
    }

    fn end(mut self, done: Result<(), CliError>) -> Result<Exit, CliError> {
        self.progress.clear();
        let (lines, _) = self.window.done();
        let mut human = format!("imported {}", entries(self.stored));
        if self.kept > 0 {
            human = format!("{human}, left {} as they were", entries(self.kept));
        }
        if self.unusable > 0 {
            human = format!("{human}, skipped {} lines", self.unusable);
        }
        if let Err(error) = done {
            self.app.output.message(&human);
            return Err(if error.hint_text().is_none() || lines > 0 {
                let hint = self.checkpoint.hint().unwrap_or_else(|| {
                    format!(
                        "all lines up to {lines} are done: --from-line {} goes on",
                        lines + 1
                    )
                });
                error.hint(hint)
            } else {
                error
            });
        }
        self.checkpoint.remove()?;
        let report = Report::new(human, self.stored.to_string())
            .with("stored", self.stored)
            .with("kept", self.kept)
            .with("skipped", self.unusable)
            .with("lines", lines);
        self.app.output.report(&report)?;
        Ok(if self.unusable > 0 {
            Exit::Usage
        } else {
            Exit::Ok
        })
    }
}

/// The input; standard input must not be where the commands come from.
pub(super) fn open(path: &Path, stdin: Stdin) -> Result<Box<dyn BufRead>, CliError> {
    if path == Path::new("-") {
        if stdin == Stdin::Commands {
            return Err(CliError::usage("standard input holds the commands")
                .hint("name a file instead of -"));
        }
        return Ok(Box::new(BufReader::with_capacity(1 << 16, io::stdin())));
    }
    let file = File::open(path).map_err(|error| CliError::file("read", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// Reads a line without its end; whether there was one.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if u64::try_from(read).unwrap_or(u64::MAX) == LINE_BYTES_MAX {
        let text = format!("a line of more than {LINE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(read > 0)
}

/// Passes the lines that an earlier run has done.
fn skip_lines(
    input: &mut dyn BufRead,
    count: u64,
    before: Position,
    checkpoint: &Checkpoint,
) -> Result<(), CliError> {
    let mut line = Vec::new();
    for _ in 0..count {
        if !read_line(input, &mut line)? {
            let sentence = format!("the input has fewer than {count} lines");
            return Err(CliError::new(Code::INPUT, sentence));
        }
    }
    if before.done > 0 && mark(&line) != before.mark {
        return Err(checkpoint.other_input());
    }
    Ok(())
}

/// A number that tells one line from another (FNV-1a).
fn mark(line: &[u8]) -> u64 {
    line.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
