//! Configurations as text: the sample file, the reference page, and what is in force.
//!
//! All are made from the table of keys. Invariant: the sample file parses to the defaults.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::keys::{Key, Kind, SECTIONS, Section};
use super::mistake::Place;
use super::raw::Raw;
use super::value::{format_duration, format_size};

const INTRODUCTION: &str = "\
# The configuration of kv-server: every key with its default.
# Keys that begin with `#` are absent by default; what is written there is an example.
# Sizes and durations have units: \"64KiB\", \"1MiB\"; \"250ms\", \"5s\", \"1h\".
# Every key can be set in the environment too: KVCFG__LIMITS__MAX_CONNECTIONS=100.
# Check a file with `kv-server --check-config --config FILE`.
";

/// The complete sample file, equal to the defaults.
#[must_use]
pub fn default_file() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        // A commented list: one entry would be a key that nobody asked for.
        let (open, close) = if section.repeated {
            ("# [[", "]]")
        } else {
            ("[", "]")
        };
        let _ = writeln!(out, "{open}{}{close}", section.name);
        for key in section.keys {
            out.push('\n');
            comment(&mut out, key.doc);
            let mark = if section.repeated || key.default.is_absent() {
                "# "
            } else {
                ""
            };
            let _ = writeln!(out, "{mark}{} = {}", key.name, key.default.toml());
        }
    }
    out
}

fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "# {line}");
    }
}

/// The body of `docs/configuration.md`: one table per section.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let (open, close) = if section.repeated {
            ("[[", "]]")
        } else {
            ("[", "]")
        };
        let _ = writeln!(
            out,
            "## `{open}{}{close}`\n\n{}\n",
            section.name,
            one_line(section.doc)
        );
        out.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            row(&mut out, section, key);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len() + 1);
    out
}

fn row(out: &mut String, section: &Section, key: &Key) {
    let default = match (section.repeated, key.default.is_absent()) {
        (_, true) => "absent".to_owned(),
        _ => format!("`{}`", key.default.toml()),
    };
    let (name, takes, doc) = (key.name, takes(key.kind), one_line(key.doc));
    let _ = writeln!(out, "| `{name}` | {takes} | {default} | {doc} |");
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn takes(kind: Kind) -> String {
    let code = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match kind {
        Kind::Bool => "true, false".to_owned(),
        Kind::Count { min, max } => format!("number, {min} to {max}"),
        Kind::Size { min, max } => format!("size, {} to {}", format_size(min), format_size(max)),
        Kind::Time { min_ms, max_ms } => {
            let show = |ms| format_duration(std::time::Duration::from_millis(ms));
            format!("duration, {} to {}", show(min_ms), show(max_ms))
        }
        Kind::Rate => "rate".to_owned(),
        Kind::Address => "IP:port".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Word(words) => code(words),
        Kind::Words(words) => format!("list of {}", code(words)),
        Kind::Texts => "list of texts".to_owned(),
    }
}

/// Whether lines say where their value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Values only.
    Hidden,
    /// Each with its layer and place.
    Shown,
}

/// What is in force. Secrets cannot appear: the configuration only names their files.
pub(super) fn effective(raw: &Raw, sources: Sources) -> String {
    let mut out = String::new();
    for section in SECTIONS {
        if section.repeated {
            for index in 0..raw.repetitions(section.name) {
                let _ = writeln!(out, "[[{}]]", section.name);
                let table = format!("{}.{index}", section.name);
                entries(&mut out, raw, &table, section, sources);
            }
        } else {
            let _ = writeln!(out, "[{}]", section.name);
            entries(&mut out, raw, section.name, section, sources);
        }
    }
    out
}

/// Every key with its value as text; an entry of a list as one, under its first key's value.
pub(super) fn values(raw: &Raw) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut add = |name: String, text: String| {
        let value: &mut String = values.entry(name).or_default();
        value.push_str(&text);
    };
    for section in SECTIONS {
        if !section.repeated {
            for key in section.keys {
                let path = format!("{}.{}", section.name, key.name);
                let text = value(raw, &path, key);
                add(path, text);
            }
            continue;
        }
        for index in 0..raw.repetitions(section.name) {
            let of_key = |key: &Key| {
                let path = format!("{}.{index}.{}", section.name, key.name);
                value(raw, &path, key)
            };
            let name = section.keys.first().map(of_key).unwrap_or_default();
            let text = section.keys.iter().map(|key| of_key(key) + "\n").collect();
            add(format!("{}[{name}]", section.name), text);
        }
    }
    values
}

fn value(raw: &Raw, path: &str, key: &Key) -> String {
    raw.effective(path, key)
        .map_or_else(String::new, |setting| setting.written.toml())
}

fn entries(out: &mut String, raw: &Raw, table: &str, section: &Section, sources: Sources) {
    for key in section.keys {
        let line = match raw.effective(&format!("{table}.{}", key.name), key) {
            Some(setting) => {
                let line = format!("{} = {}", key.name, setting.written.toml());
                match (sources, setting.place) {
                    (Sources::Hidden, _) => line,
                    (Sources::Shown, place @ Place::File(_)) => format!("{line}  # {place}"),
                    (Sources::Shown, Place::Default) => format!("{line}  # default"),
                    (Sources::Shown, Place::Environment(name)) => format!("{line}  # ${name}"),
                    (Sources::Shown, Place::Flag(flag)) => format!("{line}  # {flag}"),
                }
            }
            None => format!("# {} is absent", key.name),
        };
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}
