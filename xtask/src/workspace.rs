//! Where the workspace is, which packages it has, and how a step is announced.
//!
//! Owns the shell, whose directory is always the root of the workspace.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

/// The workspace this program was built from, and a shell that stands in its root.
pub(crate) struct Workspace {
    pub(crate) shell: Shell,
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// Finds the root and opens a shell in it.
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in the workspace")?
            .to_path_buf();
        let shell = Shell::new()?;
        shell.change_dir(&root);
        Ok(Self { shell, root })
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> PathBuf {
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
        self.root.join(target)
    }

    /// The names of the workspace's packages, in the order cargo gives them.
    pub(crate) fn packages(&self) -> Result<Vec<String>> {
        let sh = &self.shell;
        let tree = cmd!(sh, "cargo tree --workspace --depth 0 --prefix none").read()?;
        let names = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs one step under a heading, and says how long it took.
    pub(crate) fn step(&self, name: &str, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        work(self).with_context(|| format!("step \"{name}\" failed"))?;
        println!(
            "== {name}: passed in {:.1} s",
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Runs a command for its output; it is printed first, like every other.
    pub(crate) fn read(command: &Cmd<'_>) -> Result<String> {
        println!("$ {command}");
        Ok(command.read()?)
    }

    /// Whether an environment variable says that this is a CI run.
    pub(crate) fn is_ci() -> bool {
        std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
    }
}
