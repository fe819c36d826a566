//! The environment's layer: `KVCFG__LIMITS__MAX_CONNECTIONS=100`.
//!
//! Two underscores part the words of a key; a number names a table of a list
//! (`KVCFG__AUTH__KEYS__0__ID`). Lists are separated by commas. Invariant: a variable with the prefix
//! either sets a key or is a mistake, never nothing.

use std::ffi::OsString;

use super::Raw;
use crate::config::mistake::{Mistake, MistakeKind, Mistakes, Place};

/// What every variable begins with.
const PREFIX: &str = "KVCFG__";

pub(super) fn add(raw: &mut Raw, variables: &[(OsString, OsString)], mistakes: &mut Mistakes) {
    let mut settings: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let path = name.strip_prefix(PREFIX)?.replace("__", ".");
            Some((path.to_ascii_lowercase(), name, value))
        })
        .collect();
    settings.sort_by_cached_key(|(path, _, _)| in_order(path));
    for (path, name, value) in settings {
        let place = Place::Environment(name);
        match value.to_str() {
            Some(value) => raw.set_text(&path, value, place, mistakes),
            None => mistakes.0.push(Mistake {
                key: path,
                kind: MistakeKind::Malformed {
                    expected: "UTF-8 text",
                    example: "it in UTF-8".to_owned(),
                },
                place,
            }),
        }
    }
}

/// Words as they are, numbers by their value: entry 2 of a list comes before entry 10.
fn in_order(path: &str) -> Vec<(u16, String)> {
    path.split('.')
        .map(|word| (word.parse().unwrap_or(u16::MAX), word.to_owned()))
        .collect()
}
