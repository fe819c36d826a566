//! What `kv-proto` may not depend on and may not name.
//!
//! Owns the two lists and the two checks. The checks take text, so that their own tests can show
//! that each of them fails when it should.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rust_source;

/// Crates that bring a runtime, a socket, a clock or randomness.
const CRATES: [&str; 16] = [
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "libloading",
    "mio",
    "parking_lot",
    "quanta",
    "rand",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
    "tracing",
];

/// Paths that reach outside of the bytes that were passed in.
const PATHS: [&str; 13] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "rand",
    "socket2",
    "tokio",
];

/// The one module that may name `std::io`: tokio-util's traits ask for its error type.
const ADAPTER: &str = "codec.rs";

/// Forbidden crates in the output of `cargo tree --prefix none`.
pub(crate) fn of_dependencies(tree: &str) -> Vec<String> {
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let found: Vec<_> = names.filter(|name| CRATES.contains(name)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "it depends on {}; forbidden are {}",
        found.join(", "),
        CRATES.join(", ")
    )]
}

/// Forbidden paths in the sources below `directory`.
pub(crate) fn of_sources(directory: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in rust_source::files(directory, &[".rs"])? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name == "tests.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for found in of_text(&text) {
            if !(name == ADAPTER && found == "std::io") {
                problems.push(format!("{} names {found}", path.display()));
            }
        }
    }
    if !problems.is_empty() {
        problems.push(format!("forbidden are {}", PATHS.join(", ")));
    }
    Ok(problems)
}

/// Forbidden paths in one file's code, tests and comments left out.
fn of_text(text: &str) -> Vec<&'static str> {
    let code = rust_source::code(rust_source::without_tests(text));
    let mut found: Vec<_> = paths(&code)
        .iter()
        .flat_map(|path| {
            PATHS
                .into_iter()
                .filter(|forbidden| begins_with(path, forbidden))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether `path` is `prefix` or something inside of it.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with("::"))
        || (path == prefix && prefix.contains("::"))
}

/// Every `a::b::c` of `code`, with `a::{b, c::d}` written out.
fn paths(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let (_, from) = rest.split_at(start);
        rest = path(from, "", &mut all);
    }
    all
}

/// Reads one path from the front of `text`, writes out its leaves under `prefix`, and gives what
/// follows.
fn path<'a>(text: &'a str, prefix: &str, all: &mut Vec<String>) -> &'a str {
    let (word, mut rest) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
    let path_here = if prefix.is_empty() {
        word.to_owned()
    } else {
        format!("{prefix}::{word}")
    };
    let Some(after) = rest.strip_prefix("::") else {
        all.push(path_here);
        return rest;
    };
    if after.starts_with(is_word) {
        return path(after, &path_here, all);
    }
    let Some(group) = after.strip_prefix('{') else {
        // A glob or a turbofish: what stands in front of it is the whole path.
        all.push(path_here);
        return after;
    };
    rest = group;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        if !rest.starts_with(is_word) {
            // Not an import after all.
            return rest;
        }
        rest = path(rest, &path_here, all);
        // `as name`
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        rest = rest.split_at(end).1;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_is_found_at_any_depth() {
        let tree = "kv-proto v0.1.0\nbytes v1.12.1\nx25519-dalek v3.0.0\nrand_core v0.10.0\n";
        assert_eq!(of_dependencies(tree), Vec::<String>::new());
        for name in CRATES {
            let problems = of_dependencies(&format!("{tree}{name} v1.0.0 (*)\n"));
            assert_eq!(problems.len(), 1, "{name}");
        }
    }

    #[test]
    fn every_forbidden_path_is_found_however_it_is_written() {
        for path in PATHS {
            let direct = format!("fn a() {{ {path}::now(); }}");
            assert_eq!(of_text(&direct), [path], "{direct}");
            let imported = format!("use {path}::now;");
            assert_eq!(of_text(&imported), [path], "{imported}");
        }
        let grouped = "use std::{\n    collections::BTreeMap,\n    time::{Duration, Instant as I},\n    fs,\n};";
        assert_eq!(of_text(grouped), ["std::fs", "std::time::Instant"]);
        assert_eq!(of_text("use std::net::*;"), ["std::net"]);
        assert_eq!(of_text("use std::net::{self, IpAddr};"), ["std::net"]);
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        for text in [
            "use std::time::Duration;",
            "use core::fmt;",
            "let rand = 1; let time = rand;",
            "// std::fs::read\nlet a = \"std::net\";",
            "use rand_core::RngCore;",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
            "match a::<b>() { c::D { e } => f::<{ 3 }>() }",
        ] {
            assert_eq!(of_text(text), Vec::<&str>::new(), "{text}");
        }
    }
}
