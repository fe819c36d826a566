//! A crate's own `clippy.toml` shadows the root's, so it must repeat all of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Problem;

const ROOT: &str = "clippy.toml";
const SHADOWS: [&str; 1] = ["crates/proto/clippy.toml"];

/// Compares each shadow with the root.
pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let above = read(ROOT)?;
    let mut problems = Vec::new();
    for path in SHADOWS {
        problems.extend(missing(path, &above, &read(path)?));
    }
    Ok(problems)
}

/// Settings and list items of `above` that `shadow` lacks.
fn missing(path: &str, above: &str, shadow: &str) -> Vec<Problem> {
    let shadow: Vec<_> = shadow.lines().map(str::trim).collect();
    above
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !shadow.contains(line))
        .map(|line| Problem::new(path, 1, format!("repeat this line of {ROOT}: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superset_is_fine_and_a_missing_or_weaker_line_is_found() {
        let above = "# why\nthreshold = 70\nbanned = [\n  { path = \"a\" },\n]\n";
        let more = "threshold = 70\nbanned = [\n  { path = \"a\" },\n  { path = \"b\" },\n]\n";
        assert_eq!(missing("p", above, more), []);
        let weaker = more.replace("70", "700");
        assert_eq!(missing("p", above, &weaker).len(), 1);
        let shorter = more.replace("  { path = \"a\" },\n", "");
        assert_eq!(missing("p", above, &shorter).len(), 1);
    }
}
