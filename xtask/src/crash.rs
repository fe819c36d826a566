//! `cargo xtask crash`: the crash suite of the server for long.
//!
//! CI runs the same tests with a few cycles each. Here each goes on for as many cycles as are asked
//! for, or until its time is over; what it did then stands in its line of the report.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use xshell::cmd;

use crate::workspace::Workspace;

/// What begins a line of the report.
const REPORT: &str = "crash: ";

const USAGE: &str = "\
cargo xtask crash [TEST] [--cycles N] [--seconds N] [--seed N] [--release]
    TEST       only tests with this in their names
    --cycles   of each test; 1000
    --seconds  after which a test reports what it has; 900
    --seed     of the first cycle; 0";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    filter: Option<&'a str>,
    cycles: u64,
    seconds: u64,
    seed: u64,
    is_release: bool,
}

impl<'a> Options<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut options = Self {
            filter: None,
            cycles: 1_000,
            seconds: 900,
            seed: 0,
            is_release: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut number = || -> Result<u64> {
                let value = rest.next().with_context(|| USAGE.to_owned())?;
                value.parse().with_context(|| USAGE.to_owned())
            };
            match *argument {
                "--cycles" => options.cycles = number()?,
                "--seconds" => options.seconds = number()?,
                "--seed" => options.seed = number()?,
                "--release" => options.is_release = true,
                name if !name.starts_with('-') && options.filter.is_none() => {
                    options.filter = Some(name);
                }
                _ => bail!("{USAGE}"),
            }
        }
        Ok(options)
    }
}

/// Runs the tests one after the other and repeats their reports at the end.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let sh = &workspace.shell;
    let release = options.is_release.then_some("--release");
    let filter = options.filter;
    let command = cmd!(
        sh,
        "cargo test --package kv-server --test crash {release...} -- --nocapture --test-threads 1 {filter...}"
    )
    .env("KV_CRASH_CYCLES", options.cycles.to_string())
    .env("KV_CRASH_SECONDS", options.seconds.to_string())
    .env("KV_TEST_SEED", options.seed.to_string());
    println!("$ {command}");
    let (is_success, lines) = gather(command.into())?;
    println!("\n== report");
    for line in &lines {
        println!("{line}");
    }
    ensure!(is_success, "there are failures, see above");
    ensure!(!lines.is_empty(), "no test has this in its name");
    Ok(())
}

/// Runs a command, lets its output through, and keeps the lines of the report.
fn gather(mut command: Command) -> Result<(bool, Vec<String>)> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("it was asked for")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        eprintln!("{line}");
        // The test runner may have begun the line.
        if let Some(at) = line.find(REPORT) {
            lines.extend(line.get(at + REPORT.len()..).map(str::to_owned));
        }
    }
    Ok((child.wait()?.success(), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_mistakes_are_told() {
        let options = Options::parse(&[]).unwrap();
        assert_eq!(
            (options.cycles, options.seconds, options.seed),
            (1_000, 900, 0)
        );
        let options = Options::parse(&["kill", "--cycles", "20", "--release"]).unwrap();
        assert_eq!(options.filter, Some("kill"));
        assert_eq!((options.cycles, options.is_release), (20, true));
        for bad in [
            &["--cycles"][..],
            &["--seed", "x"],
            &["a", "b"],
            &["--fast"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_of_the_report_are_kept() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo 'test a ... crash: a: 3 cycles' >&2; echo b >&2; exit 1",
        ]);
        let (is_success, lines) = gather(command).unwrap();
        assert!(!is_success);
        assert_eq!(lines, ["a: 3 cycles"]);
    }
}
