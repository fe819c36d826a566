//! The project's tasks: `cargo xtask ci | lint | tidy | test | bench | crash | fuzz`.
//!
//! Owns what is run, in which order and with which flags; a developer and CI run the same thing.
//! Owns no logic of the product and depends on no crate of ours. Every command is printed before
//! it runs.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its terminal"
)]

mod bench;
mod ci;
mod counts;
mod crash;
mod fuzz;
mod lint;
mod purity;
mod rust_source;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

const TASKS: &str = "\
cargo xtask ci                       lint, tidy, test: what CI runs, all of it
cargo xtask lint                     formatting, clippy per crate, documentation, purity of proto
cargo xtask tidy                     rules of the house that no compiler checks
cargo xtask test [ARGS]              all tests and doctests; ARGS go to the test runner
cargo xtask bench [ARGS]             release build, then the standard set of kv-bench
cargo xtask bench --counts           instructions of one small frame, against the baseline
cargo xtask bench --publish [DIR]    everything the tables tell, JSON and plots; --quick tries it
cargo xtask bench --profile          where the server's time goes, by perf; adds up to 100
cargo xtask bench --comparisons      formats, compression, suites, multiplexing; writes the tables
cargo xtask crash [TEST] [OPTIONS]   kills, power cuts, faults and damage: 1,000 cycles of each
cargo xtask fuzz --smoke             every fuzz target for a few seconds, and the canary
cargo xtask fuzz TARGET --time 60s   one fuzz target for a while";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((task, rest)) = arguments.split_first() else {
        println!("{TASKS}");
        return Ok(());
    };
    let workspace = Workspace::open()?;
    match (*task, rest) {
        ("ci", []) => ci::run(&workspace),
        ("lint", []) => lint::run(&workspace),
        ("tidy", []) => tidy::run(&workspace),
        ("test", rest) => test::run(&workspace, rest),
        ("bench", rest) => bench::run(&workspace, rest),
        ("crash", rest) => crash::run(&workspace, rest),
        ("fuzz", rest) => fuzz::run(&workspace, rest),
        _ => bail!("no such task: {}\n\n{TASKS}", arguments.join(" ")),
    }
}
