//! `cargo xtask bench`: builds the release binaries and runs the standard set.
//!
//! What the standard set measures, and how it is reported, is `kv-bench`'s alone.

use anyhow::Result;
use xshell::cmd;

use crate::workspace::Workspace;

/// Builds, then runs `kv-bench suite` with `arguments`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let sh = &workspace.shell;
    cmd!(
        sh,
        "cargo build --release --package kv-server --package kv-bench"
    )
    .run()?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let program = workspace.root.join(target).join("release/kv-bench");
    Ok(cmd!(sh, "{program} suite {arguments...}").run()?)
}
