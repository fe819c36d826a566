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
    let mut variables: Vec<_> = variables.iter().collect();
    variables.sort();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path = rest.replace("__", ".").to_ascii_lowercase();
        let place = Place::Environment(name.clone().into_owned());
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
