//! A rough view of Rust source text: where the files are, and what in them is code.
//!
//! Not a parser. It is exact enough for the rules that use it because rustfmt has laid the text
//! out first: comments and strings are removed by a small scanner, inline tests by their marker.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Directories that hold nothing of ours to check.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "artifacts",
    "coverage",
    "corpus",
    "vectors",
];

/// Every file below `root` whose name ends with one of `endings`, in a stable order.
pub(crate) fn files(root: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("reading the directory {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The lines in front of the inline tests.
pub(crate) fn without_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// `text` with comments and the insides of strings replaced by spaces; line breaks stay, so that
/// line numbers do too.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, first, out.chars().next_back());
        let (taken, left) = rest.split_at(length);
        if keep {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = left;
    }
    out
}

/// Length of what stands at the start of `rest`, and whether it is code.
fn token(rest: &str, first: char, before: Option<char>) -> (usize, bool) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), false);
    }
    if first == '"' {
        return (string_end(rest), false);
    }
    if first == 'r' && !in_word {
        let hashes = rest.chars().skip(1).take_while(|c| *c == '#').count();
        if rest.chars().nth(1 + hashes) == Some('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            let body = rest.get(start..).unwrap_or_default();
            let end = body
                .find(&close)
                .map_or(rest.len(), |at| start + at + close.len());
            return (end, false);
        }
    }
    for quote in ["'\"'", "'\\''", "'\\\"'"] {
        if rest.starts_with(quote) {
            return (quote.len(), false);
        }
    }
    (first.len_utf8(), true)
}

/// Where the string literal that `rest` begins with ends.
fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "let a = \"std::fs\"; // std::net\nlet b = '\"'; /* std::env\n */ c();";
        let code = code(text);
        assert!(!code.contains("std"), "{code}");
        assert!(code.contains("let b ="), "{code}");
        assert!(code.ends_with("c();"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn raw_strings_and_escapes_end_where_they_end() {
        assert_eq!(code(r##"a(r#"x " y"#, z)"##).replace(' ', ""), "a(,z)");
        assert_eq!(code(r#"a("x \" y", z)"#).replace(' ', ""), "a(,z)");
        assert_eq!(code("for r in\"x\"").trim(), "for r in");
    }

    #[test]
    fn inline_tests_are_cut_off() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(without_tests(text), "fn a() {}\n\n");
        assert_eq!(
            without_tests("#[cfg(test)]\nmod tests;\n"),
            "#[cfg(test)]\nmod tests;\n"
        );
    }
}
