//! Entries on their way to standard output, one after the other: a scan of a million keys is never
//! held in memory, except as a table.

use serde_json::{Map, Value};

use super::json::{put_document, put_value};
use super::rows::table;
use super::text::escaped_lines;
use super::{Format, KeyText, Output, duration_text, escaped};
use crate::error::CliError;

/// How much of a value a table shows.
const TABLE_VALUE_CHARS: usize = 120;

/// What is known of one entry. An entry without value and version is one that does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) version: Option<u64>,
    pub(crate) ttl_ms: Option<u64>,
    /// The value as a document, where it is a typed one and was asked for as JSON.
    pub(crate) document: Option<Value>,
}

/// Whether one entry was asked for, or any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    Many,
}

/// What to show of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Keys,
    Values,
    Both,
}

/// What ends an item of raw output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    Line,
    Null,
}

/// Writes entries in the output's form; call [`Entries::end`] behind the last.
pub(crate) struct Entries {
    shape: Shape,
    show: Show,
    separator: Separator,
    count: u64,
    rows: Vec<Vec<String>>,
}

impl Entries {
    /// Nothing written so far.
    pub(crate) const fn new(shape: Shape, show: Show, separator: Separator) -> Self {
        Self {
            shape,
            show,
            separator,
            count: 0,
            rows: Vec::new(),
        }
    }

    /// Writes one.
    pub(crate) fn entry(&mut self, output: &mut Output, entry: &Entry) -> Result<(), CliError> {
        match output.format {
            Format::Human => self.human(output, entry),
            Format::Raw => self.raw(output, entry),
            Format::Json if self.shape == Shape::Many => {
                let text = Value::Object(self.object(output, entry)).to_string();
                output.bytes(if self.count == 0 { b"[\n" } else { b",\n" })?;
                output.bytes(text.as_bytes())
            }
            Format::Json | Format::Jsonl => {
                let object = self.object(output, entry);
                output.json(&Value::Object(object))
            }
            Format::Table => {
                let row = self.row(output, entry);
                self.rows.push(row);
                Ok(())
            }
        }?;
        self.count += 1;
        Ok(())
    }

    /// Ends the list.
    pub(crate) fn end(self, output: &mut Output) -> Result<(), CliError> {
        match (output.format, self.shape) {
            (Format::Json, Shape::Many) if self.count == 0 => output.bytes(b"[]\n"),
            (Format::Json, Shape::Many) => output.bytes(b"\n]\n"),
            (Format::Table, _) => {
                let headers: &[&str] = match self.show {
                    Show::Keys => &["key", "version", "ttl"],
                    Show::Values | Show::Both => &["key", "value", "version", "ttl"],
                };
                let text = table(output.terminal, headers, self.rows);
                output.line(&text)
            }
            _ => Ok(()),
        }
    }

    fn human(&self, output: &mut Output, entry: &Entry) -> Result<(), CliError> {
        let key = key_text(output, entry).for_people();
        match (self.shape, self.show) {
            (_, Show::Keys) => output.line(&key),
            (Shape::One, _) => {
                let text = value_text(entry, escaped_lines);
                output.bytes(text.as_bytes())?;
                output.bytes(if text.ends_with('\n') { b"" } else { b"\n" })
            }
            (Shape::Many, _) => output.line(&format!("{key} = {}", value_text(entry, escaped))),
        }
    }

    fn raw(&self, output: &mut Output, entry: &Entry) -> Result<(), CliError> {
        if self.show != Show::Values {
            let key = key_text(output, entry).exact();
            output.bytes(&key)?;
        }
        if self.show == Show::Both {
            output.bytes(b"\t")?;
        }
        let mut at_line_start = false;
        if self.show != Show::Keys {
            let text = entry.document.as_ref().map(ToString::to_string);
            let value = text
                .as_deref()
                .map(str::as_bytes)
                .or(entry.value.as_deref());
            let value = value.unwrap_or_default();
            output.bytes(value)?;
            at_line_start = value.ends_with(b"\n");
            if text.is_some() && self.shape == Shape::One {
                // A document is text, not bytes: it ends with its line.
                return output.bytes(b"\n");
            }
        }
        match (self.shape, self.separator) {
            (Shape::One, _) if output.terminal.stdout_is_terminal && !at_line_start => {
                output.bytes(b"\n")
            }
            (Shape::One, _) => Ok(()),
            (Shape::Many, Separator::Line) => output.bytes(b"\n"),
            (Shape::Many, Separator::Null) => output.bytes(b"\0"),
        }
    }

    fn object(&self, output: &Output, entry: &Entry) -> Map<String, Value> {
        let mut object = Map::new();
        key_text(output, entry).put(&mut object);
        if self.show != Show::Keys {
            match (&entry.document, &entry.value) {
                (Some(document), _) => put_document(&mut object, document.clone()),
                (None, Some(value)) => put_value(&mut object, value),
                (None, None) => {
                    object.insert("value".to_owned(), Value::Null);
                }
            }
        }
        if let Some(version) = entry.version {
            object.insert("version".to_owned(), version.into());
            object.insert("ttl_ms".to_owned(), entry.ttl_ms.into());
        }
        object
    }

    fn row(&self, output: &Output, entry: &Entry) -> Vec<String> {
        let mut row = vec![key_text(output, entry).for_people()];
        if self.show != Show::Keys {
            let text = value_text(entry, escaped);
            match text.char_indices().nth(TABLE_VALUE_CHARS) {
                Some((end, _)) => row.push(format!("{}…", text.get(..end).unwrap_or_default())),
                None => row.push(text),
            }
        }
        row.push(entry.version.map(|v| v.to_string()).unwrap_or_default());
        row.push(match (entry.version, entry.ttl_ms) {
            (_, Some(ms)) => duration_text(ms),
            (Some(_), None) => "-".to_owned(),
            (None, None) => String::new(),
        });
        row
    }
}

fn key_text<'a>(output: &Output, entry: &'a Entry) -> KeyText<'a> {
    KeyText {
        key: &entry.key,
        format: output.key_format,
    }
}

fn value_text(entry: &Entry, escape: fn(&[u8]) -> String) -> String {
    match (&entry.document, &entry.value) {
        (Some(document), _) => escape(document.to_string().as_bytes()),
        (None, Some(value)) => escape(value),
        (None, None) => "(absent)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
