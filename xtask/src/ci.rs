//! `cargo xtask ci`: everything a change has to pass, in the order in which it fails fastest.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{counts, lint, test, tidy, tools};

/// Runs the whole of CI.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    workspace.step("tools", tools::check)?;
    workspace.step("formatting", lint::formatting)?;
    workspace.step("tidy", tidy::run)?;
    workspace.step("purity of proto", lint::purity)?;
    workspace.step("clippy", lint::clippy)?;
    workspace.step("documentation", lint::documentation)?;
    workspace.step("tests", |workspace| test::tests(workspace, &[]))?;
    workspace.step("doctests", test::doctests)?;
    workspace.step("instruction counts", counts::check)?;
    println!("\nall of CI passed");
    Ok(())
}
