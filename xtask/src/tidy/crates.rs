//! The arrows between crates, and what every crate must say.

use std::collections::BTreeMap;

use super::Problem;

/// Each crate and the crates of ours that it may use, as `ARCHITECTURE.md` draws them. Who is not
/// named here may use none.
const ARROWS: [(&str, &[&str]); 10] = [
    ("kv-store", &["kv-base", "kv-log"]),
    ("kv-service", &["kv-store"]),
    ("kv-gateway", &["kv-service"]),
    // The server is where the rooms are put together: it makes the engine it hands to the service.
    (
        "kv-server",
        &["kv-gateway", "kv-proto", "kv-service", "kv-store"],
    ),
    ("kv-client", &["kv-proto"]),
    // `kv-cli bench` is the load generator under another name.
    ("kv-cli", &["kv-bench", "kv-client"]),
    ("kv-bench", &["kv-client", "kv-proto"]),
    ("kv-testkit", &["kv-proto", "kv-store"]),
    ("kv-counts", &["kv-proto", "kv-store"]),
    ("xtask", &[]),
];

/// Crates whose sources may say `unsafe`, each block with its proof beside it.
const MAY_BE_UNSAFE: [&str; 1] = ["kv-store"];

/// Arrows in the output of `cargo tree --depth 1 --prefix depth` that are not in the drawing.
pub(super) fn arrows(tree: &str) -> Vec<Problem> {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut problems = Vec::new();
    let mut from = "";
    for line in tree.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('0') {
            from = name;
        } else if let Some(to) = name.strip_prefix('1')
            && (to.starts_with("kv-") || to == "xtask")
            && !allowed
                .get(from)
                .is_some_and(|allowed| allowed.contains(&to))
        {
            let text = format!("{from} must not use {to}: see the arrows in ARCHITECTURE.md");
            problems.push(Problem::new("Cargo.toml", 1, text));
        }
    }
    problems
}

/// Every crate takes the workspace's lints.
pub(super) fn manifest(path: &str, text: &str) -> Vec<Problem> {
    if text.contains("[lints]\nworkspace = true") {
        return Vec::new();
    }
    vec![Problem::new(
        path,
        1,
        "take the workspace's lints: [lints] workspace = true",
    )]
}

/// Every crate forbids unsafe code, but those that may have it.
pub(super) fn root(package: &str, path: &str, text: &str) -> Vec<Problem> {
    if MAY_BE_UNSAFE.contains(&package) || text.contains("#![forbid(unsafe_code)]") {
        return Vec::new();
    }
    vec![Problem::new(path, 1, "add #![forbid(unsafe_code)]")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downward_arrows_are_fine() {
        let tree = "0kv-client v0.1.0 (x)\n1bytes v1\n1kv-proto v0.1.0 (x)\n\n0kv-proto v0.1.0\n";
        assert_eq!(arrows(tree), []);
    }

    #[test]
    fn an_upward_arrow_is_found() {
        for (from, to) in [
            ("kv-proto", "kv-client"),
            ("kv-store", "kv-service"),
            ("kv-service", "kv-proto"),
            ("kv-cli", "kv-server"),
            ("kv-server", "kv-testkit"),
            ("xtask", "kv-proto"),
        ] {
            let tree = format!("0{from} v0.1.0 (x)\n1{to} v0.1.0 (x)\n");
            assert_eq!(arrows(&tree).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn a_crate_without_lints_or_with_unsafe_code_is_found() {
        assert_eq!(manifest("m", "[package]\n").len(), 1);
        assert_eq!(manifest("m", "[lints]\nworkspace = true\n"), []);
        assert_eq!(root("kv-proto", "r", "//! x\n").len(), 1);
        assert_eq!(
            root("kv-proto", "r", "//! x\n#![forbid(unsafe_code)]\n"),
            []
        );
        assert_eq!(root("kv-store", "r", "//! x\n"), []);
    }
}
