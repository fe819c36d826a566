//! Reports: what a command says about one thing that it did, once for people, once for programs.

use serde_json::{Map, Value};

use super::json::put_value;
use super::rows::{cell, table};
use super::{Format, Output};
use crate::error::CliError;

/// One result in all its forms.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// For programs.
    pub(crate) json: Map<String, Value>,
    /// One line for people.
    pub(crate) human: String,
    /// The bare result, for shell scripts.
    pub(crate) raw: String,
}

impl Report {
    /// A result with its two short forms.
    pub(crate) fn new(human: impl Into<String>, raw: impl Into<String>) -> Self {
        Self {
            json: Map::new(),
            human: human.into(),
            raw: raw.into(),
        }
    }

    /// Adds a field for programs.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the value that was there before, for programs.
    pub(crate) fn put_previous(&mut self, value: Option<&[u8]>) {
        let mut object = Map::new();
        match value {
            Some(value) => put_value(&mut object, value),
            None => {
                object.insert("value".to_owned(), Value::Null);
            }
        }
        let members = object.into_iter();
        self.json
            .extend(members.map(|(name, value)| (format!("previous_{name}"), value)));
    }
}

pub(super) fn write(output: &mut Output, report: &Report) -> Result<(), CliError> {
    match output.format {
        Format::Human => output.line(&report.human),
        Format::Raw => output.line(&report.raw),
        Format::Json | Format::Jsonl => output.json(&Value::Object(report.json.clone())),
        Format::Table => {
            let rows = vec![report.json.values().map(cell).collect()];
            let headers: Vec<&str> = report.json.keys().map(String::as_str).collect();
            let text = table(output.terminal, &headers, rows);
            output.line(&text)
        }
    }
}

/// Several reports of one command: one array, one table, or a line each.
#[derive(Default)]
pub(crate) struct Reports {
    all: Vec<Report>,
    is_list: bool,
}

impl Reports {
    /// Reports about however many things there are: a list even when there is but one.
    pub(crate) const fn of_a_list() -> Self {
        Self {
            all: Vec::new(),
            is_list: true,
        }
    }

    /// Adds one.
    pub(crate) fn push(&mut self, report: Report) {
        self.all.push(report);
    }

    /// Writes them. One alone is written as one, unless it is a list.
    pub(crate) fn write(self, output: &mut Output) -> Result<(), CliError> {
        if let [report] = self.all.as_slice()
            && !self.is_list
        {
            return output.report(report);
        }
        match output.format {
            Format::Human | Format::Raw | Format::Jsonl => {
                self.all.iter().try_for_each(|report| output.report(report))
            }
            Format::Json => {
                let all = self.all.into_iter().map(|report| report.json);
                output.json(&all.map(Value::Object).collect())
            }
            Format::Table => {
                let headers: Vec<String> = self
                    .all
                    .first()
                    .map(|report| report.json.keys().cloned().collect())
                    .unwrap_or_default();
                let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                let rows = self
                    .all
                    .iter()
                    .map(|report| report.json.values().map(cell).collect())
                    .collect();
                let text = table(output.terminal, &headers, rows);
                output.line(&text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::kept;
    use super::*;

    fn report() -> Report {
        Report::new("version 7", "7")
            .with("key", "a")
            .with("version", 7)
    }

    #[test]
    fn a_report_has_a_form_for_everyone() {
        for (format, text) in [
            (Format::Human, "version 7\n"),
            (Format::Raw, "7\n"),
            (Format::Json, "{\"key\":\"a\",\"version\":7}\n"),
            (Format::Jsonl, "{\"key\":\"a\",\"version\":7}\n"),
        ] {
            let (mut output, kept) = kept(format);
            output.report(&report()).unwrap();
            assert_eq!(kept.text(), text);
        }
        let (mut output, kept) = kept(Format::Table);
        output.report(&report()).unwrap();
        assert!(kept.text().contains("version"));
    }

    #[test]
    fn several_reports_are_an_array_and_one_alone_is_not() {
        let (mut output, kept) = kept(Format::Json);
        let mut reports = Reports::default();
        reports.push(report());
        reports.push(report());
        reports.write(&mut output).unwrap();
        assert_eq!(
            kept.text(),
            "[{\"key\":\"a\",\"version\":7},{\"key\":\"a\",\"version\":7}]\n"
        );
    }
}
