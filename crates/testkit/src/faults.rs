//! Faults from outside of a program: system calls that fail, and files that are not as it left them.
//!
//! Owns how strace is told to inject a fault ([`Injection`]) and how files are damaged
//! ([`damage`]). Knows nothing about what the files hold.
#![expect(
    clippy::missing_panics_doc,
    reason = "a test tool: what fails here is a failed test"
)]

pub mod damage;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, with `EIO`.
    Io,
    /// It fails, with `ENOSPC`.
    NoSpace,
    /// The process is killed when it enters it.
    Kill,
    /// It takes half a second longer.
    Slow,
}

impl Fault {
    const fn argument(self) -> &'static str {
        match self {
            Self::Io => "error=EIO",
            Self::NoSpace => "error=ENOSPC",
            Self::Kill => "signal=SIGKILL",
            Self::Slow => "delay_enter=500000",
        }
    }
}

/// Calls that write to a file.
pub const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2";
/// Calls that make files durable.
pub const SYNCS: &str = "fsync,fdatasync,sync_file_range,msync";
/// Calls that change what a directory holds, or how long a file is.
pub const CHANGES: &str =
    "openat,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate,mkdir,mkdirat";

/// One fault, at one call of a program.
///
/// Calls are counted in each thread, and each kind of call by itself.
#[derive(Clone, Debug)]
pub struct Injection {
    /// The calls, separated by commas.
    pub calls: &'static str,
    /// What happens to them.
    pub fault: Fault,
    /// To which one, counted from 1; 0 for all of them.
    pub at: u32,
    /// Only calls on these files; on all with none.
    pub paths: Vec<PathBuf>,
}

impl Injection {
    /// The command that runs `program` with this fault; arguments of the program are added to it.
    /// The process is the program itself, so that its id and its exit code are the program's.
    /// What was called is written to `trace`.
    #[must_use]
    pub fn command(&self, program: &Path, trace: &Path) -> Command {
        let mut command = tracing(self.calls, trace);
        if self.fault != Fault::Kill {
            // All other calls at full speed. Signals are not injected that way.
            command.arg("--seccomp-bpf");
        }
        let (calls, fault) = (self.calls, self.fault.argument());
        let when = match self.at {
            0 => "1+".to_owned(),
            at => at.to_string(),
        };
        command.arg(format!("--inject={calls}:{fault}:when={when}"));
        for path in &self.paths {
            command.arg("-P").arg(path);
        }
        command.arg(program);
        command
    }
}

/// The command that runs `program` and writes to `trace` which files it made these calls on.
#[must_use]
pub fn observe(calls: &str, program: &Path, trace: &Path) -> Command {
    let mut command = tracing(calls, trace);
    command.arg(program);
    command
}

fn tracing(calls: &str, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-D", "-qq", "-y", "--string-limit=0"])
        .arg(format!("--trace={calls}"))
        .arg("--output")
        .arg(trace);
    command
}

/// How often the fault took place, according to a trace.
#[must_use]
pub fn injected(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains("(INJECTED)") || line.contains("+++ killed by SIGKILL"))
        .count()
}

/// How many calls a trace has.
#[must_use]
pub fn calls(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter(|line| line.contains('(')).count()
}

/// The files below `root` that the calls of a trace were made on, relative to it.
#[must_use]
pub fn files(trace: &Path, root: &Path) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('<')?.1.split_once('>'))
        .filter_map(|(path, _)| Path::new(path).strip_prefix(root).ok())
        .map(Path::to_path_buf)
        .collect()
}

/// Whether a program is there. `false` only outside of CI, after saying that it is missing.
#[must_use]
pub fn has_program(name: &str) -> bool {
    let found = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        say(&format!("not checked: {name} is not installed"));
        assert!(
            std::env::var_os("CI").is_none(),
            "{name} is not installed, and CI is set"
        );
    }
    found
}

/// A line for whoever reads the output of a test.
#[expect(clippy::print_stderr, reason = "that is where tests talk")]
pub fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_takes_place_where_it_was_asked_for_and_nowhere_else() {
        if !has_program("strace") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let trace = root.join("trace");
        // Each redirection is one write by the shell itself.
        let script = "for i in 1 2 3; do echo $i >>a; echo $i >>b; done; cat a b";
        let run = |mut command: Command| {
            let output = command
                .args(["-c", script])
                .current_dir(&root)
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(
            run(observe(WRITES, Path::new("sh"), &trace)),
            "1\n2\n3\n1\n2\n3\n"
        );
        assert_eq!(injected(&trace), 0);
        let written: Vec<_> = files(&trace, &root).into_iter().collect();
        assert_eq!(written, [PathBuf::from("a"), PathBuf::from("b")]);
        for name in ["a", "b"] {
            fs::remove_file(root.join(name)).unwrap();
        }
        let injection = Injection {
            calls: WRITES,
            fault: Fault::NoSpace,
            at: 2,
            paths: vec![root.join("b")],
        };
        let output = run(injection.command(Path::new("sh"), &trace));
        assert_eq!(output, "1\n2\n3\n1\n3\n");
        assert_eq!(injected(&trace), 1);
        let kill = Injection {
            fault: Fault::Kill,
            ..injection
        };
        assert_eq!(run(kill.command(Path::new("sh"), &trace)), "");
        assert_eq!(injected(&trace), 1);
    }
}
