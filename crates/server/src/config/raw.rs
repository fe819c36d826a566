//! The layers of a configuration before anything is believed: defaults, file, environment, flags.
//!
//! Owns which layer wins and what it was written as. Does not own what values mean ([`super::read`]).
//! Invariant: every setting here names a key of the table, and knows its place.

mod environment;
mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::keys::{self, Default, Key, Kind};
use super::mistake::{Mistake, MistakeKind, Mistakes, Place};
use super::suggest::nearest;

/// What stands behind a key, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Bool(bool),
    Integer(i64),
    Text(String),
    Texts(Vec<String>),
    /// TOML of a kind that no key takes, by its name.
    Other(&'static str),
}

impl Written {
    /// What to call it in a message.
    pub(super) const fn found(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a bare number",
            Self::Text(_) => "a text",
            Self::Texts(_) => "a list",
            Self::Other(name) => name,
        }
    }

    /// Reads a text of the environment or of a flag as what the key takes.
    fn from_text(kind: Kind, text: &str) -> Self {
        let text = text.trim();
        match kind {
            Kind::Bool => text
                .parse()
                .map_or_else(|_| Self::Text(text.to_owned()), Self::Bool),
            Kind::Count { .. } => {
                let digits = text.replace('_', "");
                digits
                    .parse()
                    .map_or_else(|_| Self::Text(text.to_owned()), Self::Integer)
            }
            Kind::Words(_) | Kind::Texts => Self::Texts(
                text.split(',')
                    .map(|part| part.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect(),
            ),
            Kind::Size { .. }
            | Kind::Time { .. }
            | Kind::Rate
            | Kind::Address
            | Kind::Path
            | Kind::Text
            | Kind::Word(_) => Self::Text(text.to_owned()),
        }
    }

    /// What the table says, if it says anything.
    fn from_default(default: Default) -> Option<Self> {
        Some(match default {
            Default::Bool(value) => Self::Bool(value),
            Default::Count(value) => Self::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
            Default::Text(text) => Self::Text(text.to_owned()),
            Default::Words(words) => Self::Texts(words.iter().map(|w| (*w).to_owned()).collect()),
            Default::Absent(_) => return None,
        })
    }

    /// As TOML, for `--print-config`.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => quoted(text),
            Self::Texts(texts) => {
                let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("[{}]", quoted.join(", "))
            }
            Self::Other(name) => format!("# {name}"),
        }
    }
}

/// A TOML basic string, which is a JSON string too.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One key as the winning layer set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) written: Written,
    pub(super) place: Place,
}

impl Setting {
    /// Whether somebody wrote `false`.
    pub(super) fn is_false(&self) -> bool {
        self.written == Written::Bool(false)
    }
}

/// A flag that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagSetting {
    /// As the user wrote it: `--address`.
    pub flag: String,
    /// The key it sets.
    pub key: String,
    /// The text it sets it to.
    pub value: String,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if one is named.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the prefix are skipped.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags.
    pub flags: Vec<FlagSetting>,
}

/// All layers on top of each other.
#[derive(Debug, Default)]
pub(super) struct Raw {
    settings: BTreeMap<String, Setting>,
    /// How many tables a repeated section has, by its name.
    repeated: BTreeMap<&'static str, usize>,
}

impl Raw {
    /// Reads every layer.
    pub(super) fn load(sources: &Sources, mistakes: &mut Mistakes) -> Self {
        let mut raw = Self::default();
        if let Some(path) = &sources.file {
            match std::fs::read_to_string(path) {
                Ok(text) => raw.add_file(path, &text, mistakes),
                Err(source) => mistakes.0.push(Mistake {
                    key: String::new(),
                    kind: MistakeKind::Unreadable {
                        path: path.clone(),
                        source,
                    },
                    place: Place::Default,
                }),
            }
        }
        environment::add(&mut raw, &sources.environment, mistakes);
        for flag in &sources.flags {
            raw.set_text(
                &flag.key,
                &flag.value,
                Place::Flag(flag.flag.clone()),
                mistakes,
            );
        }
        raw
    }

    /// Reads a file's text.
    pub(super) fn add_file(&mut self, path: &Path, text: &str, mistakes: &mut Mistakes) {
        file::add(self, path, text, mistakes);
    }

    /// Sets a key to a text that is to be read as what the key takes.
    fn set_text(&mut self, path: &str, text: &str, place: Place, mistakes: &mut Mistakes) {
        let Some((_, key)) = keys::find(path) else {
            mistakes.0.push(Mistake {
                key: path.to_owned(),
                kind: MistakeKind::UnknownKey {
                    word: path.to_owned(),
                    suggestion: full(path),
                },
                place,
            });
            return;
        };
        if let Some((section, index)) = repeated_section(path)
            && index > self.repetitions(section)
        {
            // A gap would make as many incomplete entries as it is wide.
            let next = self.repetitions(section);
            let kind = MistakeKind::Gap { section, next };
            let key = path.to_owned();
            mistakes.0.push(Mistake { key, kind, place });
            return;
        }
        self.set(path, Written::from_text(key.kind, text), place);
    }

    fn set(&mut self, path: &str, written: Written, place: Place) {
        if let Some((section, index)) = repeated_section(path) {
            let count = self.repeated.entry(section).or_default();
            *count = (*count).max(index + 1);
        }
        self.settings
            .insert(path.to_owned(), Setting { written, place });
    }

    /// Notes a table of a repeated section, which may be empty.
    fn note_repeated(&mut self, section: &'static str, index: usize) {
        let count = self.repeated.entry(section).or_default();
        *count = (*count).max(index + 1);
    }

    /// How many tables a repeated section has.
    pub(super) fn repetitions(&self, section: &str) -> usize {
        self.repeated.get(section).copied().unwrap_or(0)
    }

    /// The setting of a key, if any layer below flags to above defaults has one.
    pub(super) fn explicit(&self, path: &str) -> Option<&Setting> {
        self.settings.get(path)
    }

    /// The setting of a key, or its default.
    pub(super) fn effective(&self, path: &str, key: &Key) -> Option<Setting> {
        self.settings.get(path).cloned().or_else(|| {
            let written = Written::from_default(key.default)?;
            Some(Setting {
                written,
                place: Place::Default,
            })
        })
    }
}

/// The repeated section and the index of `auth.keys.2.id`.
fn repeated_section(path: &str) -> Option<(&'static str, usize)> {
    let (table, _) = path.rsplit_once('.')?;
    let section = keys::find_section(table).filter(|section| section.repeated)?;
    let (_, index) = table.rsplit_once('.')?;
    Some((section.name, index.parse().ok()?))
}

/// The whole known key nearest to a whole path.
fn full(path: &str) -> Option<String> {
    let known: Vec<String> = keys::SECTIONS
        .iter()
        .filter(|section| !section.repeated)
        .flat_map(|section| {
            section
                .keys
                .iter()
                .map(|key| format!("{}.{}", section.name, key.name))
        })
        .collect();
    nearest(path, known.iter().map(String::as_str)).map(str::to_owned)
}
