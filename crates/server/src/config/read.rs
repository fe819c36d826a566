//! Reads single keys as what they stand for, and collects what is wrong with them.
//!
//! Owns the step from text to number, duration, address. Does not own rules between keys
//! ([`super::check`]). Invariant: a key that cannot be read leaves exactly one mistake, and a value of
//! the right type that nobody uses, because the configuration is then refused.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{self, Key, Kind};
use super::mistake::{Mistake, MistakeKind, Mistakes, Place};
use super::raw::{Raw, Setting, Written};
use super::suggest::nearest;
use super::value::{Rate, format_duration, format_size, parse_duration, parse_size};

pub(super) struct Reader<'a> {
    pub(super) raw: &'a Raw,
    pub(super) mistakes: &'a mut Mistakes,
    /// Keys that were asked for; a test compares them with the table.
    pub(super) asked: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(raw: &'a Raw, mistakes: &'a mut Mistakes) -> Self {
        Self {
            raw,
            mistakes,
            asked: BTreeSet::new(),
        }
    }

    /// Where a key was set.
    pub(super) fn place(&self, path: &str) -> Place {
        self.raw
            .explicit(path)
            .map_or(Place::Default, |setting| setting.place.clone())
    }

    /// Notes a mistake at a key.
    pub(super) fn mistake(&mut self, path: &str, kind: MistakeKind) {
        let place = self.place(path);
        self.mistakes.0.push(Mistake {
            key: path.to_owned(),
            kind,
            place,
        });
    }

    fn setting(&mut self, path: &str) -> Option<(&'static Key, Setting)> {
        self.asked.insert(path.to_owned());
        let (_, key) = keys::find(path)?;
        Some((key, self.raw.effective(path, key)?))
    }

    fn wrong_type<T>(&mut self, path: &str, kind: Kind, written: &Written) -> Option<T> {
        let (expected, found, example) = (kind.expected(), written.found(), kind.example());
        self.mistake(
            path,
            MistakeKind::WrongType {
                expected,
                found,
                example,
            },
        );
        None
    }

    fn malformed<T>(&mut self, path: &str, kind: Kind) -> Option<T> {
        let (expected, example) = (kind.expected(), kind.example());
        self.mistake(path, MistakeKind::Malformed { expected, example });
        None
    }

    pub(super) fn bool(&mut self, path: &str) -> bool {
        let Some((key, setting)) = self.setting(path) else {
            return false;
        };
        match setting.written {
            Written::Bool(value) => value,
            other => self.wrong_type(path, key.kind, &other).unwrap_or_default(),
        }
    }

    /// A text of a key that may be absent; empty texts are refused.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let (key, setting) = self.setting(path)?;
        match setting.written {
            Written::Text(text) if text.is_empty() => self.malformed(path, key.kind),
            Written::Text(text) => Some(text),
            other => self.wrong_type(path, key.kind, &other),
        }
    }

    /// A path; one that is relative and stands in a file starts at the file's directory.
    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        let text = self.text(path)?;
        let base = match self.place(path) {
            Place::File(spot) => spot.path.parent().map(ToOwned::to_owned),
            Place::Default | Place::Environment(_) | Place::Flag(_) => None,
        };
        Some(base.map_or_else(|| PathBuf::from(&text), |base| base.join(&text)))
    }

    pub(super) fn address(&mut self, path: &str) -> Option<SocketAddr> {
        let text = self.text(path)?;
        text.parse()
            .ok()
            .or_else(|| self.malformed(path, Kind::Address))
    }

    pub(super) fn rate(&mut self, path: &str) -> Option<Rate> {
        let text = self.text(path)?;
        Rate::parse(&text).or_else(|| self.malformed(path, Kind::Rate))
    }

    /// A number, a size or a duration in its bounds; durations in milliseconds.
    fn number(&mut self, path: &str) -> Option<u64> {
        let (key, setting) = self.setting(path)?;
        let (parsed, min, max) = match (key.kind, &setting.written) {
            (Kind::Count { min, max }, Written::Integer(number)) => {
                (Some(u64::try_from(*number).unwrap_or(0)), min, max)
            }
            (Kind::Size { min, max }, Written::Text(text)) => (parse_size(text), min, max),
            (Kind::Time { min_ms, max_ms }, Written::Text(text)) => {
                let millis = parse_duration(text).map(|d| u64::try_from(d.as_millis()));
                (millis.map(|m| m.unwrap_or(u64::MAX)), min_ms, max_ms)
            }
            (kind, other) => return self.wrong_type(path, kind, other),
        };
        let Some(number) = parsed else {
            return self.malformed(path, key.kind);
        };
        if (min..=max).contains(&number) {
            return Some(number);
        }
        let show = |number| match key.kind {
            Kind::Size { .. } => format_size(number),
            Kind::Time { .. } => format_duration(Duration::from_millis(number)),
            _ => number.to_string(),
        };
        self.mistake(
            path,
            MistakeKind::OutOfRange {
                min: show(min),
                max: show(max),
            },
        );
        None
    }

    /// A number or size that may be absent.
    pub(super) fn size_if_set(&mut self, path: &str) -> Option<NonZeroUsize> {
        let number = self.number(path)?;
        NonZeroUsize::new(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A number or size with a default.
    pub(super) fn size(&mut self, path: &str) -> NonZeroUsize {
        self.size_if_set(path).unwrap_or(NonZeroUsize::MIN)
    }

    pub(super) fn time(&mut self, path: &str) -> Duration {
        Duration::from_millis(self.number(path).unwrap_or(1))
    }

    /// One of the words of the key, as its index in the table.
    pub(super) fn word(&mut self, path: &str) -> Option<&'static str> {
        let (key, setting) = self.setting(path)?;
        let Kind::Word(words) = key.kind else {
            return None;
        };
        match setting.written {
            Written::Text(text) => self.one_of(path, words, &text),
            other => self.wrong_type(path, key.kind, &other),
        }
    }

    /// Some of the words of the key.
    pub(super) fn words(&mut self, path: &str) -> Vec<&'static str> {
        let Some((key, setting)) = self.setting(path) else {
            return Vec::new();
        };
        let Kind::Words(words) = key.kind else {
            return Vec::new();
        };
        match setting.written {
            Written::Texts(texts) => texts
                .iter()
                .filter_map(|text| self.one_of(path, words, text))
                .collect(),
            other => self.wrong_type(path, key.kind, &other).unwrap_or_default(),
        }
    }

    pub(super) fn texts(&mut self, path: &str) -> Vec<String> {
        let Some((key, setting)) = self.setting(path) else {
            return Vec::new();
        };
        match setting.written {
            Written::Texts(texts) => texts,
            other => self.wrong_type(path, key.kind, &other).unwrap_or_default(),
        }
    }

    fn one_of(
        &mut self,
        path: &str,
        choices: &'static [&'static str],
        found: &str,
    ) -> Option<&'static str> {
        let known = choices.iter().find(|word| **word == found).copied();
        if known.is_none() {
            let suggestion = nearest(found, choices.iter().copied());
            let found = found.chars().take(64).collect();
            self.mistake(
                path,
                MistakeKind::UnknownChoice {
                    found,
                    choices,
                    suggestion,
                },
            );
        }
        known
    }
}
