//! Rules for documents: links lead somewhere, and repeated numbers agree.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Problem;

/// Documents that tell the reader which toolchain is needed.
const NAME_THE_TOOLCHAIN: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// Relative links of one document that lead nowhere.
pub(super) fn links(root: &Path, path: &str, text: &str) -> Vec<Problem> {
    let directory = root
        .join(path)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default();
    let mut problems = Vec::new();
    for (at, line) in prose(text) {
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !directory.join(file).exists() {
                problems.push(Problem::new(path, at, format!("leads nowhere: {target}")));
            }
        }
    }
    problems
}

/// The rust version that documents name is the one in the manifest.
pub(super) fn toolchain(root: &Path) -> Result<Vec<Problem>> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'))
        .context("Cargo.toml names a rust-version")?;
    let mut problems = Vec::new();
    for path in NAME_THE_TOOLCHAIN {
        let text = fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
        if !text.contains(&format!("Rust {version}")) {
            problems.push(Problem::new(
                path,
                1,
                format!("must name Rust {version}, as Cargo.toml"),
            ));
        }
    }
    Ok(problems)
}

/// Numbered lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            return None;
        }
        (!in_block).then_some((at + 1, line))
    })
}

/// Targets of the relative links of one line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
        (!is_elsewhere).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "[a](Cargo.toml) [b](https://example.invalid/x) [c](#here)\n\
                    [d](src/main.rs#x) and [e](src/none.rs)\n```\n[f](none)\n```\n";
        let problems = links(root, "README.md", text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems.first().map(|problem| problem.line), Some(2));
    }
}
