//! The program with nothing of this machine's environment, and what it did.

use std::ffi::OsStr;
use std::path::Path;

use assert_cmd::Command;
use kv_testkit::process::ServerProcess;
use serde_json::Value;

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{self:?}");
        self
    }

    /// Standard output as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    /// The error on standard error, as JSON.
    #[track_caller]
    pub(crate) fn json_error(&self) -> Value {
        let error: Value = serde_json::from_str(&self.stderr).unwrap();
        error["error"].clone()
    }
}

/// The program in a home directory, without any server named.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-cli"));
    command.env_clear().current_dir(home).env("HOME", home);
    for (variable, below) in [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")] {
        command.env(variable, home.join(below));
    }
    command
}

/// Runs a command to its end, with some input.
#[track_caller]
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Ran {
    let output = command.write_stdin(input).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program without any server.
#[track_caller]
pub(crate) fn offline<S: AsRef<OsStr>>(home: &Path, arguments: impl IntoIterator<Item = S>) -> Ran {
    let mut command = command(home);
    command.args(arguments);
    finish(command, b"")
}

/// A server, and the program on the same account.
pub(crate) struct Pair {
    pub(crate) server: ServerProcess,
}

impl Pair {
    /// A server as it comes.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self {
            server: ServerProcess::start::<&str>([]),
        }
    }

    /// The program, told where the server is.
    pub(crate) fn command(&self) -> Command {
        let mut command = command(self.server.home());
        command.env("KV_URL", format!("kv://{}", self.server.address()));
        command
    }

    /// Runs the program.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.run_with_input(arguments, b"")
    }

    /// Runs the program with some standard input.
    #[track_caller]
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Ran {
        let mut command = self.command();
        command.args(arguments);
        finish(command, input)
    }

    /// Runs the program, which succeeds, and gives its standard output as text.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let ran = self.run(line.split(' ')).code(0);
        ran.text().to_owned()
    }
}
