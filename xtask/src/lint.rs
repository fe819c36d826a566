//! `cargo xtask lint`: formatting, clippy, documentation and the purity of `proto`.
//!
//! Clippy looks at each package alone, so that no feature switched on by a neighbour hides a
//! mistake. Warnings are errors here and nowhere else: a newer compiler must not break a user.

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::purity;
use crate::workspace::Workspace;

const WASM: &str = "wasm32-unknown-unknown";

/// Runs every lint.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    workspace.step("formatting", formatting)?;
    workspace.step("purity of proto", purity)?;
    workspace.step("clippy", clippy)?;
    workspace.step("documentation", documentation)
}

/// Formatting is what rustfmt says.
pub(crate) fn formatting(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    Ok(cmd!(sh, "cargo fmt --all --check").run()?)
}

/// Clippy, one package at a time, all targets and features. All packages are looked at, so that one
/// run shows every mistake.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    let mut failed = Vec::new();
    for package in workspace.packages()? {
        let flags = ["--quiet", "--all-targets", "--all-features", "--no-deps"];
        let command = cmd!(
            sh,
            "cargo clippy --package {package} {flags...} -- -D warnings"
        );
        if command.run().is_err() {
            failed.push(package);
        }
    }
    ensure!(
        failed.is_empty(),
        "clippy is not content with {}",
        failed.join(", ")
    );
    Ok(())
}

/// Public and private documentation builds, and its links lead somewhere.
pub(crate) fn documentation(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    cmd!(
        sh,
        "cargo doc --quiet --workspace --all-features --no-deps --document-private-items"
    )
    .env("RUSTDOCFLAGS", "-D warnings")
    .run()?;
    Ok(())
}

/// `proto` is a function of bytes: compiled for a target that has nothing else where that is
/// installed, and checked in its dependencies and its sources everywhere.
pub(crate) fn purity(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    let tree = Workspace::read(&cmd!(
        sh,
        "cargo tree --package kv-proto --edges normal --no-default-features --prefix none"
    ))?;
    let mut problems = purity::of_dependencies(&tree);
    let sources = workspace.root.join("crates/proto/src");
    problems.extend(purity::of_sources(&sources)?);
    ensure!(
        problems.is_empty(),
        "kv-proto is not pure:\n  {}",
        problems.join("\n  ")
    );

    let libraries = cmd!(sh, "rustc --print target-libdir --target {WASM}").read()?;
    if sh.path_exists(libraries) {
        cmd!(sh, "cargo check --quiet --package kv-proto --target {WASM}").run()?;
    } else {
        println!("{WASM} is not installed: dependencies and sources were checked instead");
    }
    Ok(())
}
