//! The programs outside of cargo that tests use.
//!
//! On a developer's machine a missing one is named and its tests say that they did not run; in CI
//! it is an error, so that a green run always means that everything ran.

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::workspace::Workspace;

/// Program, what it is used for.
const TOOLS: [(&str, &str); 5] = [
    ("tshark", "the test of the Wireshark dissector"),
    ("strace", "tests that inject failing system calls"),
    (
        "prlimit",
        "the test of a server that runs out of file descriptors",
    ),
    (
        "python3",
        "the client that is written from the specification alone",
    ),
    ("valgrind", "the counts of instructions"),
];

/// Names each missing program; in CI, fails if there is one.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| !is_on_path(workspace, program))
        .collect();
    for (program, purpose) in &missing {
        println!("{program} is not installed; needed by {purpose}");
    }
    ensure!(
        missing.is_empty() || !Workspace::is_ci(),
        "in CI every tool must be there; .ci/run installs them"
    );
    if missing.is_empty() {
        println!(
            "all there: {}",
            TOOLS.map(|(program, _)| program).join(", ")
        );
    }
    Ok(())
}

/// Whether `cargo NAME` exists.
pub(crate) fn has_cargo_command(workspace: &Workspace, name: &str) -> bool {
    let sh = &workspace.shell;
    cmd!(sh, "cargo {name} --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
}

/// Whether the program can be run.
pub(crate) fn is_on_path(workspace: &Workspace, program: &str) -> bool {
    let sh = &workspace.shell;
    cmd!(sh, "{program} --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
}
