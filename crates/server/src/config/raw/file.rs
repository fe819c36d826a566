//! The file's layer: TOML with the position of every key and value.
//!
//! Invariant: what the parser could read is looked at even when other parts of the file are broken,
//! so that one run shows every mistake.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Raw, Written};
use crate::config::keys;
use crate::config::mistake::{Mistake, MistakeKind, Mistakes, Place, Spot};
use crate::config::suggest::nearest;

pub(super) fn add(raw: &mut Raw, path: &Path, text: &str, mistakes: &mut Mistakes) {
    let mut reader = Reader {
        raw,
        path: Arc::from(path),
        text,
        mistakes,
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = error
            .message()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        reader.mistake(String::new(), MistakeKind::Syntax { message }, span);
    }
    reader.table(table.get_ref(), "");
}

struct Reader<'a> {
    raw: &'a mut Raw,
    path: Arc<Path>,
    text: &'a str,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::File(Spot::new(&self.path, self.text, span))
    }

    fn mistake(&mut self, key: String, kind: MistakeKind, span: Range<usize>) {
        let place = self.place(span);
        self.mistakes.0.push(Mistake { key, kind, place });
    }

    /// Tables nest as deep as known names do, so a hostile file cannot make this recurse far.
    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let word: &str = name.get_ref();
            let path = if prefix.is_empty() {
                word.to_owned()
            } else {
                format!("{prefix}.{word}")
            };
            let repeated = keys::SECTIONS.iter().find(|s| s.repeated && s.name == path);
            match value.get_ref() {
                DeValue::Table(inner) if keys::is_table(&path) && repeated.is_none() => {
                    self.table(inner, &path);
                }
                DeValue::Array(items) if repeated.is_some() => {
                    for (index, item) in items.iter().enumerate() {
                        let path = format!("{path}.{index}");
                        if let (DeValue::Table(inner), Some(section)) = (item.get_ref(), repeated) {
                            self.raw.note_repeated(section.name, index);
                            self.table(inner, &path);
                        } else {
                            self.wrong_shape(&path, "a table", item);
                        }
                    }
                }
                _ if repeated.is_some() => {
                    self.wrong_shape(&path, "a list of tables", value);
                }
                _ if keys::find(&path).is_some() => {
                    let place = self.place(value.span());
                    self.raw.set(&path, written(value.get_ref()), place);
                }
                _ if keys::is_table(&path) => self.wrong_shape(&path, "a table", value),
                _ => self.unknown(prefix, word, path.clone(), name.span()),
            }
        }
    }

    fn wrong_shape(&mut self, path: &str, expected: &'static str, value: &Spanned<DeValue<'_>>) {
        let found = written(value.get_ref()).found();
        let example = if expected == "a table" {
            format!("[{path}]")
        } else {
            format!("[[{path}]]")
        };
        let kind = MistakeKind::WrongType {
            expected,
            found,
            example,
        };
        self.mistake(path.to_owned(), kind, value.span());
    }

    fn unknown(&mut self, prefix: &str, word: &str, path: String, span: Range<usize>) {
        let suggestion = nearest(word, keys::children(prefix)).map(str::to_owned);
        let suggestion = suggestion.or_else(|| elsewhere(word));
        let word: String = word.chars().take(64).collect();
        self.mistake(path, MistakeKind::UnknownKey { word, suggestion }, span);
    }
}

/// A key of exactly this name in another section: the commonest slip after a misspelling.
fn elsewhere(word: &str) -> Option<String> {
    keys::SECTIONS
        .iter()
        .find(|section| section.keys.iter().any(|key| key.name == word))
        .map(|section| format!("{}.{word}", section.name))
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.clone().into_owned()),
        DeValue::Boolean(value) => Written::Bool(*value),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(
                Written::Other("a number that is too large"),
                Written::Integer,
            )
        }
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.clone().into_owned()),
                _ => None,
            });
            texts
                .collect::<Option<_>>()
                .map_or(Written::Other("a list of other things"), Written::Texts)
        }
        DeValue::Float(_) => Written::Other("a number with a fraction"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Table(_) => Written::Other("a table"),
    }
}
