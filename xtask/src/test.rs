//! `cargo xtask test`: all tests of the workspace, the fuzz corpora among them, and the doctests.
//!
//! cargo-nextest runs them where it is installed, cargo's own runner elsewhere; both run the same
//! tests from the same build.

use anyhow::Result;
use xshell::cmd;

use crate::tools;
use crate::workspace::Workspace;

/// Runs all tests and doctests; with `arguments`, only the tests that these select.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    tests(workspace, arguments)?;
    if arguments.is_empty() {
        doctests(workspace)?;
    }
    Ok(())
}

/// Unit, integration and corpus tests.
pub(crate) fn tests(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let sh = &workspace.shell;
    let command = if tools::has_cargo_command(workspace, "nextest") {
        cmd!(
            sh,
            "cargo nextest run --workspace --all-features {arguments...}"
        )
    } else {
        println!("cargo-nextest is not installed: cargo's own runner is used");
        cmd!(
            sh,
            "cargo test --workspace --all-features --lib --bins --tests {arguments...}"
        )
    };
    Ok(command.run()?)
}

/// The examples in the documentation.
pub(crate) fn doctests(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    Ok(cmd!(sh, "cargo test --workspace --all-features --doc").run()?)
}
