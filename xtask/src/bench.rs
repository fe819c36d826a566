//! `cargo xtask bench`: what is measured, and not only tested.
//!
//! What the standard set measures, and how it is reported, is `kv-bench`'s alone; the comparisons are
//! `kv-comparisons`'s, a package outside of the workspace.

use anyhow::Result;
use xshell::cmd;

use crate::counts;
use crate::workspace::Workspace;

/// Runs what the first argument names; without one, the standard set.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--counts", rest @ ..] => counts::run(workspace, rest),
        ["--comparisons", rest @ ..] => comparisons(workspace, rest),
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

/// Runs every criterion benchmark of `kv-comparisons`, or those that `arguments` name, and writes what
/// they found into `docs/benchmarks`.
fn comparisons(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let sh = &workspace.shell;
    let target = workspace.target().join("comparisons");
    // Its own directory: its dependencies must not make the workspace's be built again.
    let package = ["--manifest-path", "crates/comparisons/Cargo.toml"];
    let _target = sh.push_env("CARGO_TARGET_DIR", target);
    cmd!(sh, "cargo bench {package...} --benches -- {arguments...}").run()?;
    Ok(cmd!(sh, "cargo run --release {package...}").run()?)
}
