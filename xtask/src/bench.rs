//! `cargo xtask bench`: what is measured, and not only tested.
//!
//! What the standard set measures, and how it is reported, is `kv-bench`'s alone.

use anyhow::Result;
use xshell::cmd;

use crate::counts;
use crate::workspace::Workspace;

/// Runs what the first argument names; without one, the standard set.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--counts", rest @ ..] => counts::run(workspace, rest),
        arguments => suite(workspace, arguments),
    }
}

/// Builds, then runs `kv-bench suite` with `arguments`.
fn suite(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let sh = &workspace.shell;
    cmd!(
        sh,
        "cargo build --release --package kv-server --package kv-bench"
    )
    .run()?;
    let program = workspace.target().join("release/kv-bench");
    Ok(cmd!(sh, "{program} suite {arguments...}").run()?)
}
