//! What the program can fail with: a stable code, a sentence, a cause, a hint; and the one mapping
//! from a failure to the exit code of the process.
//!
//! Does not own how an error is shown (`output/error.rs`). Invariant: an exit code is chosen here and
//! nowhere else.

mod client;
mod parser;

pub(crate) use client::tls_hint;

use std::fmt;
use std::io;
use std::path::Path;

/// The exit codes, as `--help` and `docs/cli.md` list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It was done.
    Ok = 0,
    /// Not found, or a condition did not hold.
    NotFound = 1,
    /// The command line, a file or a value is wrong.
    Usage = 2,
    /// The server answered with an error.
    Server = 3,
    /// No connection, or TLS failed.
    Connect = 4,
    /// The identity was not accepted or may not do this.
    Auth = 5,
    /// No answer in time.
    Timeout = 6,
    /// The version was another one (compare and set).
    Conflict = 7,
}

impl Exit {
    /// Each code with its meaning, for the help text.
    pub(crate) const TABLE: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::NotFound, "not found, or a condition did not hold"),
        (Self::Usage, "wrong usage: arguments, files, values"),
        (Self::Server, "the server answered with an error"),
        (Self::Connect, "cannot connect, or TLS failed"),
        (Self::Auth, "authentication failed, or not permitted"),
        (Self::Timeout, "no answer in time"),
        (Self::Conflict, "conflict: the entry has another version"),
    ];

    /// The number given to the operating system.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotFound => 1,
            Self::Usage => 2,
            Self::Server => 3,
            Self::Connect => 4,
            Self::Auth => 5,
            Self::Timeout => 6,
            Self::Conflict => 7,
        }
    }

    /// The worse of two outcomes of one command over several keys: the first that is not `Ok` stays.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Ok { other } else { self }
    }
}

/// A stable code and the exit code that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    name: &'static str,
    exit: Exit,
}

impl Code {
    /// Arguments that do not fit together or cannot be read.
    pub(crate) const USAGE: Self = Self::new("USAGE", Exit::Usage);
    /// A file that cannot be read or written.
    pub(crate) const FILE: Self = Self::new("FILE", Exit::Usage);
    /// The file of contexts, or the name of one.
    pub(crate) const CONTEXT: Self = Self::new("CONTEXT", Exit::Usage);
    /// A certificate or private key that cannot be used.
    pub(crate) const CERTIFICATE: Self = Self::new("CERTIFICATE", Exit::Usage);
    /// Something that could not be measured.
    pub(crate) const BENCH: Self = Self::new("BENCH", Exit::Usage);
    /// A line of an input, or an input, that cannot be used.
    pub(crate) const INPUT: Self = Self::new("INPUT", Exit::Usage);
    /// A backup that is not whole.
    pub(crate) const DAMAGED: Self = Self::new("DAMAGED", Exit::Usage);
    /// A server that was to be empty.
    pub(crate) const NOT_EMPTY: Self = Self::new("NOT_EMPTY", Exit::NotFound);
    /// The pre-shared key cannot be read.
    pub(crate) const KEY_FILE: Self = Self::new("KEY_FILE", Exit::Auth);
    /// No such entry.
    pub(crate) const NOT_FOUND: Self = Self::new("NOT_FOUND", Exit::NotFound);
    /// `--if-absent` or `--if-present` did not hold.
    pub(crate) const CONDITION_FALSE: Self = Self::new("CONDITION_FALSE", Exit::NotFound);
    /// A value of another type than asked for.
    pub(crate) const WRONG_TYPE: Self = Self::new("WRONG_TYPE", Exit::Server);
    /// The other end closed standard output.
    pub(crate) const BROKEN_PIPE: Self = Self::new("BROKEN_PIPE", Exit::Ok);
    /// The operating system refused something.
    pub(crate) const IO: Self = Self::new("IO", Exit::Usage);

    /// The connection was closed from here.
    pub(crate) const CLOSED: Self = Self::new("CLOSED", Exit::Connect);
    /// Nobody listens, or no way there.
    pub(crate) const CONNECT: Self = Self::new("CONNECT", Exit::Connect);
    /// There is no address for the name.
    pub(crate) const DNS: Self = Self::new("DNS", Exit::Connect);
    /// The connection ended before an answer; nothing was changed.
    pub(crate) const LOST: Self = Self::new("CONNECTION_LOST", Exit::Connect);
    /// Something else than kv answers there.
    pub(crate) const PROTOCOL: Self = Self::new("PROTOCOL", Exit::Connect);
    /// The server refused the connection.
    pub(crate) const REFUSED: Self = Self::new("REFUSED", Exit::Connect);
    /// No answer in time.
    pub(crate) const TIMEOUT: Self = Self::new("TIMEOUT", Exit::Timeout);
    /// TLS failed.
    pub(crate) const TLS: Self = Self::new("TLS", Exit::Connect);
    /// The connection ended after sending.
    pub(crate) const UNKNOWN: Self = Self::new("OUTCOME_UNKNOWN", Exit::Connect);
    /// An answer that this release does not understand.
    pub(crate) const UNUSABLE: Self = Self::new("UNUSABLE_REPLY", Exit::Server);

    /// A code with its exit code.
    pub(crate) const fn new(name: &'static str, exit: Exit) -> Self {
        Self { name, exit }
    }

    /// The exit code that belongs to it.
    pub(crate) const fn exit(self) -> Exit {
        self.exit
    }

    /// Upper-case name, without the `E_` that people see.
    pub(crate) const fn name(self) -> &'static str {
        self.name
    }
}

/// All codes but the server's and that of a closed pipe, which is no failure, as `docs/cli.md` lists
/// them.
#[cfg(test)]
pub(crate) const CODES: [Code; 23] = [
    Code::USAGE,
    Code::FILE,
    Code::CONTEXT,
    Code::CERTIFICATE,
    Code::IO,
    Code::BENCH,
    Code::INPUT,
    Code::DAMAGED,
    Code::NOT_EMPTY,
    Code::KEY_FILE,
    Code::NOT_FOUND,
    Code::CONDITION_FALSE,
    Code::WRONG_TYPE,
    Code::CLOSED,
    Code::CONNECT,
    Code::LOST,
    Code::DNS,
    Code::UNKNOWN,
    Code::PROTOCOL,
    Code::REFUSED,
    Code::TLS,
    Code::TIMEOUT,
    Code::UNUSABLE,
];

/// A failure of the program.
#[derive(Debug)]
pub(crate) struct CliError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    message: String,
    cause: Option<String>,
    hint: Option<String>,
}

impl CliError {
    /// A failure with one sentence: lower case, no full stop.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            message: message.into(),
            cause: None,
            hint: None,
        }))
    }

    /// Arguments that are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::USAGE, message)
    }

    /// A file that could not be used.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(Code::FILE, format!("cannot {doing} {}", path.display())).cause(error.to_string())
    }

    /// Adds what was behind it.
    #[must_use]
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Its code.
    pub(crate) const fn code(&self) -> Code {
        self.0.code
    }

    /// The exit code of the process.
    pub(crate) const fn exit(&self) -> Exit {
        self.0.code.exit()
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// What was behind it.
    pub(crate) fn cause_text(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// What to do about it.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for CliError {}

/// Errors of writing to standard output; a closed pipe is no failure.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Code::BROKEN_PIPE, "standard output was closed")
        } else {
            Self::new(Code::IO, "input or output failed").cause(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_numbered_from_zero_as_documented() {
        for (expected, (exit, meaning)) in (0u8..).zip(Exit::TABLE) {
            assert_eq!(exit.number(), expected, "{meaning}");
        }
    }

    #[test]
    fn the_first_failure_of_several_keys_stays() {
        assert_eq!(Exit::Ok.and(Exit::NotFound), Exit::NotFound);
        assert_eq!(Exit::Conflict.and(Exit::NotFound), Exit::Conflict);
        assert_eq!(Exit::Conflict.and(Exit::Ok), Exit::Conflict);
    }

    #[test]
    fn a_closed_pipe_is_not_a_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Ok);
        let error = CliError::from(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(error.exit(), Exit::Usage);
    }
}
