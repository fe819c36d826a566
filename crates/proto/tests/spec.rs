//! The specification beside the code: requirement numbers, and the numbers that prose repeats.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a specification that cannot be read must fail the test"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kv_proto::{ErrorCode, limits};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The numbers of all `P-x.y` in a text, with or without brackets around them.
fn cited(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("P-") {
        let rest: &str = text.get(at + 2..).unwrap_or_default();
        let number: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let number = number.trim_end_matches('.');
        if number.split('.').filter(|part| !part.is_empty()).count() == 2 {
            found.push(number.to_owned());
        }
    }
    found
}

fn defined() -> Vec<String> {
    let text = read("docs/protocol.md");
    let starts = text.lines().filter_map(|line| line.strip_prefix("* [P-"));
    starts
        .map(|line| line.split(']').next().unwrap().to_owned())
        .collect()
}

fn visit(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                visit(&path, each);
            }
        } else if path
            .extension()
            .is_some_and(|e| e == "rs" || e == "md" || e == "py")
        {
            each(&path);
        }
    }
}

#[test]
fn every_requirement_has_a_number_of_its_own() {
    let all = defined();
    assert!(all.len() > 100, "only {} requirements", all.len());
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "a number is given twice");
}

#[test]
fn every_citation_names_a_requirement() {
    let known: BTreeSet<_> = defined().into_iter().collect();
    let mut wrong = Vec::new();
    let mut citations = 0;
    for place in ["crates", "docs"] {
        visit(&root().join(place), &mut |path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            for number in cited(&text) {
                citations += 1;
                if !known.contains(&number) {
                    wrong.push(format!("{}: P-{number}", path.display()));
                }
            }
        });
    }
    assert!(citations > 150, "only {citations} citations found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_page_of_errors_lists_every_code() {
    let text = read("docs/errors.md");
    let rows: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse::<u16>().ok()?, cells.next()?))
        })
        .collect();
    // The exit codes of kv-cli have a table there too.
    let codes: BTreeSet<_> = ErrorCode::ALL
        .iter()
        .map(|c| (c.number(), c.name()))
        .collect();
    let missing: Vec<_> = codes.difference(&rows).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let capital = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let unknown: Vec<_> = rows
        .difference(&codes)
        .filter(|(_, name)| capital(name))
        .collect();
    assert!(
        unknown.iter().all(|(_, name)| *name == "CONFLICT"),
        "{unknown:?}"
    );
}

/// A number as prose writes it: 1024 becomes 1,024.
fn prose(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn the_table_of_limits_has_the_numbers_of_the_code() {
    let text = read("docs/protocol.md");
    let section = text.split("\n## 15. Limits\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mib = |bytes: u32| format!("{} MiB", bytes >> 20);
    for (row, numbers) in [
        (
            "frame body before authentication",
            vec![prose(limits::HANDSHAKE_BODY_BYTES_MAX.into())],
        ),
        (
            "max_frame",
            vec![
                mib(limits::FRAME_BYTES_DEFAULT),
                format!("{} KiB", limits::FRAME_BYTES_MIN >> 10),
                mib(limits::FRAME_BYTES_MAX),
            ],
        ),
        ("max_message", vec![mib(limits::MESSAGE_BYTES_DEFAULT)]),
        (
            "max_in_flight",
            vec![prose(limits::IN_FLIGHT_DEFAULT.into())],
        ),
        ("max_streams", vec![prose(limits::STREAMS_DEFAULT.into())]),
        (
            "ping_after_ms",
            vec![prose(limits::PING_AFTER_MS_DEFAULT.into())],
        ),
        (
            "first credit of a stream",
            vec![prose(limits::STREAM_CREDIT_DEFAULT.into())],
        ),
        ("key |", vec![prose(limits::KEY_BYTES_MAX as u64)]),
        ("key id", vec![prose(limits::KEY_ID_BYTES_MAX as u64)]),
        ("PING, PONG", vec![prose(limits::PING_BYTES_MAX as u64)]),
        (
            "items of a BATCH",
            vec![prose(limits::BATCH_ITEMS_MAX as u64)],
        ),
        (
            "depth of a typed value",
            vec![prose(kv_proto::typed::DEPTH_MAX as u64)],
        ),
    ] {
        let line = section
            .lines()
            .find(|line| line.starts_with(&format!("| {row}")))
            .unwrap_or_else(|| panic!("no row for {row}"));
        for number in numbers {
            assert!(line.contains(&number), "{number} is not in: {line}");
        }
    }
}
