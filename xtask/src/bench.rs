//! `cargo xtask bench`: what is measured, and not only tested.
//!
//! What the standard set measures, and how it is reported, is `kv-bench`'s alone; the comparisons are
//! `kv-comparisons`'s, a package outside of the workspace.

mod published;

use anyhow::Result;
use xshell::cmd;

use crate::counts;
use crate::tools;
use crate::workspace::Workspace;

/// Runs what the first argument names; without one, the standard set.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--counts", rest @ ..] => counts::run(workspace, rest),
        ["--comparisons", rest @ ..] => comparisons(workspace, rest),
        ["--publish", rest @ ..] => published::run(workspace, rest),
        ["--profile", rest @ ..] => {
            if profiling(workspace)? {
                profile(workspace, rest)?;
            }
            Ok(())
        }
        arguments => suite(workspace, arguments),
    }
}

/// Builds the server and the generator.
fn build(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    cmd!(
        sh,
        "cargo build --release --package kv-server --package kv-bench"
    )
    .run()?;
    Ok(())
}

/// Builds, then runs `kv-bench suite` with `arguments`.
fn suite(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    build(workspace)?;
    kv_bench(workspace, "suite", arguments)
}

/// Runs a sub-command of the generator that was built.
fn kv_bench(workspace: &Workspace, command: &str, arguments: &[&str]) -> Result<()> {
    let sh = &workspace.shell;
    let program = workspace.target().join("release/kv-bench");
    Ok(cmd!(sh, "{program} {command} {arguments...}").run()?)
}

/// Builds the server as it is profiled, if it can be.
///
/// Frame pointers say who called SHA-256: the opener, which verifies, or the sealer, which signs. Its
/// own directory: its flags must not make everything else be built again.
fn profiling(workspace: &Workspace) -> Result<bool> {
    if !tools::is_on_path(workspace, "perf") {
        println!("perf is not installed: NOTHING WAS PROFILED (apt-get install linux-perf)");
        return Ok(false);
    }
    let sh = &workspace.shell;
    let _target = sh.push_env("CARGO_TARGET_DIR", workspace.target().join("profile"));
    let _flags = sh.push_env("RUSTFLAGS", "-C force-frame-pointers=yes");
    cmd!(sh, "cargo build --profile profiling --package kv-server").run()?;
    Ok(true)
}

/// Builds the generator, then runs `kv-bench profile` on the server that was built for it.
fn profile(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let server = workspace.target().join("profile/profiling/kv-server");
    let server = server.display().to_string();
    let sh = &workspace.shell;
    cmd!(sh, "cargo build --release --package kv-bench").run()?;
    let arguments = [&["--server", &server], arguments].concat();
    kv_bench(workspace, "profile", &arguments)
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
