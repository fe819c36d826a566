//! `cargo xtask tidy`: rules of the house that no compiler checks.
//!
//! Each rule is a function from text to problems in a file of its own, with tests that show that
//! it can fail. A rule that needs an exception names it, with the reason, in an allow list.

mod clippy_toml;
mod crates;
mod documents;
mod machines;
mod source;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::rust_source;
use crate::workspace::Workspace;

/// Where a rule is broken, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    text: String,
}

impl Problem {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Checks every rule and names every problem, not only the first.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    let endings = [
        ".rs", ".md", ".toml", ".json", ".yml", ".yaml", ".lua", ".py", ".sh", ".service", "run",
    ];
    let mut count = 0_usize;
    for path in rust_source::files(&workspace.root, &endings)? {
        let relative = path.strip_prefix(&workspace.root)?.display().to_string();
        let text = fs::read_to_string(&path).with_context(|| relative.clone())?;
        problems.extend(machines::check(&relative, &text));
        if relative.ends_with(".rs") {
            problems.extend(source::check(&relative, &text));
        }
        if relative.ends_with(".md") {
            problems.extend(documents::links(&workspace.root, &relative, &text));
        }
        count += 1;
    }
    problems.extend(manifests(workspace)?);
    problems.extend(documents::toolchain(&workspace.root)?);
    problems.extend(clippy_toml::check(&workspace.root)?);

    for problem in &problems {
        println!("{problem}");
    }
    ensure!(problems.is_empty(), "{} problems", problems.len());
    println!("{count} files are tidy");
    Ok(())
}

/// Rules about crates: the arrows between them, and what each of them must say.
fn manifests(workspace: &Workspace) -> Result<Vec<Problem>> {
    let sh = &workspace.shell;
    let tree = Workspace::read(&cmd!(
        sh,
        "cargo tree --workspace --all-features --edges normal,build --depth 1 --prefix depth"
    ))?;
    let mut problems = crates::arrows(&tree);
    for package in workspace.packages()? {
        let directory = match package.strip_prefix("kv-") {
            Some(name) => format!("crates/{name}"),
            None => package.clone(),
        };
        let read = |file: &str| fs::read_to_string(workspace.root.join(&directory).join(file));
        let manifest = read("Cargo.toml").with_context(|| directory.clone())?;
        let root_file = if read("src/lib.rs").is_ok() {
            "src/lib.rs"
        } else {
            "src/main.rs"
        };
        let root = read(root_file).with_context(|| directory.clone())?;
        problems.extend(crates::manifest(
            &format!("{directory}/Cargo.toml"),
            &manifest,
        ));
        problems.extend(crates::root(
            &package,
            &format!("{directory}/{root_file}"),
            &root,
        ));
    }
    Ok(problems)
}
