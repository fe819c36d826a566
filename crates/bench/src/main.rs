//! `kv-bench`: the command line of the load generator.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match kv_bench::execute(&kv_bench::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When stderr is gone there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "kv-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
