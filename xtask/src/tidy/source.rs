//! Rules for one Rust file: its docs, its length, its words, its tests.

use super::Problem;
use crate::rust_source;

/// Lines of code, inline tests left out, and of the whole file.
const CODE_LINES_MAX: usize = 500;
const FILE_LINES_MAX: usize = 800;

/// Files that may be longer, each with its limit. A table reads better in one piece.
const LONGER: [(&str, usize); 0] = [];

/// Words that the vocabulary replaces by another.
const WORDS: [(&str, &str); 7] = [
    ("packet", "frame"),
    ("correlation", "request id"),
    ("defragment", "assemble"),
    ("defragmenter", "assembler"),
    ("zombie", "orphan"),
    ("utils", "the name of what it does"),
    ("helper", "the name of what it does"),
];

/// Files whose subject has the word for its own.
const MAY_SAY: [(&str, &str); 2] = [
    // The line editor's trait has this name.
    ("crates/cli/src/repl/assist.rs", "helper"),
    // What a capture holds are packets; frames are what the dissector finds in them.
    ("crates/proto/tests/wireshark.rs", "packet"),
];

/// Text that has no place in a source file, and why.
const BANNED: [(&str, &str); 6] = [
    (concat!("#[ign", "ore"), "a test runs or is not there"),
    (
        concat!("#[should_", "panic"),
        "assert on the value that went wrong",
    ),
    (concat!("FIX", "ME"), "fix it or open an issue"),
    (concat!("XX", "X:"), "fix it or open an issue"),
    (
        concat!("TO", "DO:"),
        "name the issue, in parentheses, in front of the colon",
    ),
    (concat!("dbg", "!("), "left over from debugging"),
];

/// Everything that is wrong with one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    // A module of tests says in its name what it is.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        let text = "begin with //! docs: what the file owns, what it does not, its invariant";
        problems.push(Problem::new(path, 1, text));
    }
    if path.ends_with("mod.rs") {
        problems.push(Problem::new(
            path,
            1,
            "name the file after the module, not mod.rs",
        ));
    }
    problems.extend(length(path, text));
    for (at, line) in text.lines().enumerate() {
        problems.extend(banned(line).map(|text| Problem::new(path, at + 1, text)));
    }
    let code = rust_source::code(text);
    for (at, line) in code.lines().enumerate() {
        problems.extend(words(path, line).map(|text| Problem::new(path, at + 1, text)));
    }
    problems
}

fn length(path: &str, text: &str) -> Vec<Problem> {
    let longer = LONGER
        .iter()
        .find(|(name, _)| *name == path)
        .map(|(_, limit)| *limit);
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    let code = rust_source::without_tests(text).lines().count();
    let all = text.lines().count();
    let mut problems = Vec::new();
    let code_max = longer.unwrap_or(CODE_LINES_MAX);
    if !is_test && code > code_max {
        let text = format!("{code} lines of code, at most {code_max}: split the file");
        problems.push(Problem::new(path, code, text));
    }
    let all_max = longer.unwrap_or(FILE_LINES_MAX).max(FILE_LINES_MAX);
    if all > all_max {
        let text = format!("{all} lines, at most {all_max}: move the tests to a file of their own");
        problems.push(Problem::new(path, all, text));
    }
    problems
}

fn banned(line: &str) -> impl Iterator<Item = String> {
    BANNED
        .into_iter()
        .filter(|(text, _)| line.contains(text))
        .map(|(text, reason)| format!("`{text}`: {reason}"))
}

/// Words of identifiers that the vocabulary replaces.
fn words(path: &str, line: &str) -> impl Iterator<Item = String> {
    let parts: Vec<String> = line
        .split(|c: char| !c.is_alphanumeric())
        .flat_map(|word| {
            // CamelCase: a new word begins at each capital.
            let mut parts = vec![String::new()];
            for c in word.chars() {
                if c.is_uppercase() {
                    parts.push(String::new());
                }
                if let Some(last) = parts.last_mut() {
                    last.extend(c.to_lowercase());
                }
            }
            parts
        })
        .collect();
    WORDS
        .into_iter()
        .filter(move |(word, _)| parts.iter().any(|part| part == word))
        .filter(move |(word, _)| !MAY_SAY.contains(&(path, word)))
        .map(|(word, instead)| format!("the vocabulary has no \"{word}\"; say {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! Owns nothing.\n\nfn a() {}\n";

    #[test]
    fn a_good_file_is_good() {
        assert_eq!(check("crates/a/src/b.rs", GOOD), []);
    }

    #[test]
    fn a_file_without_docs_and_one_named_mod_are_found() {
        assert_eq!(check("b.rs", "fn a() {}\n").len(), 1);
        assert_eq!(check("b/mod.rs", GOOD).len(), 1);
    }

    #[test]
    fn a_file_is_as_long_as_it_may_be_and_no_longer() {
        let file = |lines: usize| format!("//! Docs.\n{}", "fn a() {}\n".repeat(lines - 1));
        assert_eq!(check("b.rs", &file(CODE_LINES_MAX)), []);
        assert_eq!(check("b.rs", &file(CODE_LINES_MAX + 1)).len(), 1);
        assert_eq!(check("b/tests.rs", &file(FILE_LINES_MAX)), []);
        assert_eq!(check("b/tests.rs", &file(FILE_LINES_MAX + 1)).len(), 1);
        let tests = "#[cfg(test)]\nmod tests {\n}\n".to_owned() + &"\n".repeat(100);
        assert_eq!(check("b.rs", &(file(CODE_LINES_MAX) + &tests)), []);
    }

    #[test]
    fn words_outside_of_the_vocabulary_are_found_in_code_only() {
        for bad in [
            "fn packet() {}",
            "struct NetworkPacket;",
            "let correlation_id = 1;",
        ] {
            assert_eq!(
                check("b.rs", &format!("//! Docs.\n{bad}\n")).len(),
                1,
                "{bad}"
            );
        }
        for good in ["// a TCP packet", "let a = \"packet\";", "fn packets() {}"] {
            assert_eq!(check("b.rs", &format!("//! Docs.\n{good}\n")), [], "{good}");
        }
    }

    #[test]
    fn switched_off_tests_and_left_overs_are_found() {
        for (bad, _) in BANNED {
            assert_eq!(
                check("b.rs", &format!("//! Docs.\n{bad}\n")).len(),
                1,
                "{bad}"
            );
        }
    }
}
