//! What goes to standard output, in the form that was asked for, and messages on standard error.
//!
//! Owns forms, escaping, colours and widths. Does not own what is said: commands hand over entries,
//! reports and trees. Invariant: standard output carries data only, and `raw` carries exact bytes.

mod entry;
mod error;
mod json;
mod key;
mod report;
mod rows;
mod terminal;
mod text;
mod typed;

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;

pub(crate) use entry::{Entries, Entry, Separator, Shape, Show};
pub(crate) use json::put_value;
pub(crate) use key::{KeyFormat, KeyText, hex, unhex};
pub(crate) use report::{Report, Reports};
pub(crate) use rows::Tree;
pub(crate) use terminal::Terminal;
pub(crate) use text::{duration_text, escaped, plural, utc_text};
pub(crate) use typed::{from_json as typed_from_json, to_json as typed_to_json};

use crate::error::CliError;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: escaped, one line each
    Human,
    /// One JSON document
    Json,
    /// One JSON document per line
    Jsonl,
    /// Exact bytes
    Raw,
    /// A table
    Table,
}

impl Format {
    /// Whether errors are JSON, too.
    pub(crate) const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

/// Writes data to standard output and messages to standard error.
pub(crate) struct Output {
    stdout: Box<dyn Write + Send>,
    /// Form of the data.
    pub(crate) format: Format,
    /// Form of keys.
    pub(crate) key_format: KeyFormat,
    /// What the two streams can show.
    pub(crate) terminal: Terminal,
}

impl Output {
    /// The process's own streams. Without a format: for people on a terminal, exact bytes elsewhere.
    pub(crate) fn new(format: Option<Format>, key_format: KeyFormat, terminal: Terminal) -> Self {
        let standard = if terminal.stdout_is_terminal {
            Format::Human
        } else {
            Format::Raw
        };
        Self {
            stdout: Box::new(BufWriter::new(io::stdout())),
            format: format.unwrap_or(standard),
            key_format,
            terminal,
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.stdout.write_all(bytes)?)
    }

    /// Writes text and ends the line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.stdout.flush()?)
    }

    /// Says something to the person in front of the terminal; nobody reads it by program. Nothing can
    /// be done about a closed standard error, so failures are not reported.
    pub(crate) fn message(&mut self, text: &str) {
        let _ = self.stdout.flush();
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Shows a failure on standard error.
    pub(crate) fn error(&mut self, error: &CliError) {
        let text = error::render(error, self.format, self.terminal.stderr_colour);
        self.message(&text);
    }

    /// A report about one thing that was done.
    pub(crate) fn report(&mut self, report: &Report) -> Result<(), CliError> {
        report::write(self, report)
    }

    /// A tree of values, such as what a server says about itself.
    pub(crate) fn tree(&mut self, tree: &Tree) -> Result<(), CliError> {
        rows::write(self, tree)
    }

    /// A JSON document: on several lines for people, on one otherwise.
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<(), CliError> {
        let pretty = self.format == Format::Json && self.terminal.stdout_is_terminal;
        let text = if pretty {
            format!("{value:#}")
        } else {
            value.to_string()
        };
        self.line(&text)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! An output that is kept, not shown.

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn take(&self) -> Vec<u8> {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.take()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output in `format`, and what it wrote.
    pub(crate) fn kept(format: Format) -> (Output, Kept) {
        let kept = Kept::default();
        let output = Output {
            stdout: Box::new(kept.clone()),
            format,
            key_format: KeyFormat::Utf8,
            terminal: Terminal::none(),
        };
        (output, kept)
    }
}
