//! Trees of values (INFO, CLIENTS) and tables.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use super::text::{bytes_text, duration_text, utc_text};
use super::{Format, Output, Terminal, escaped};
use crate::error::CliError;

/// A tree of values, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Tree(pub(crate) Value);

pub(super) fn write(output: &mut Output, tree: &Tree) -> Result<(), CliError> {
    match output.format {
        Format::Json => output.json(&tree.0),
        Format::Jsonl => match &tree.0 {
            Value::Array(items) => items.iter().try_for_each(|item| output.json(item)),
            other => output.json(other),
        },
        Format::Raw => lines(output, &tree.0, &mut Vec::new()),
        Format::Human => people(output, &with_units(&tree.0)),
        Format::Table => people(output, &tree.0),
    }
}

fn people(output: &mut Output, tree: &Value) -> Result<(), CliError> {
    match tree {
        Value::Array(items) => {
            let text = list(output.terminal, items);
            output.line(&text)
        }
        Value::Object(object) => sections(output, object),
        scalar => output.line(&cell(scalar)),
    }
}

/// The tree with its numbers as people say them. Names end with the unit: what has been said with its
/// unit loses it from the name.
fn with_units(tree: &Value) -> Value {
    match tree {
        Value::Array(items) => items.iter().map(with_units).collect(),
        Value::Object(object) => object
            .iter()
            .map(
                |(name, value)| match value.as_u64().and_then(|number| said(name, number)) {
                    Some((name, text)) => (name.to_owned(), text.into()),
                    None => (name.clone(), with_units(value)),
                },
            )
            .collect(),
        scalar => scalar.clone(),
    }
}

fn said(name: &str, number: u64) -> Option<(&str, String)> {
    if let Some(name) = name.strip_suffix("_bytes") {
        Some((name, bytes_text(number)))
    } else if let Some(name) = name.strip_suffix("_unix_seconds") {
        Some((name, utc_text(i64::try_from(number).ok()?)))
    } else if let Some(name) = name.strip_suffix("_seconds") {
        Some((name, duration_text(number.saturating_mul(1_000))))
    } else {
        None
    }
}

/// `path.to.value<TAB>text`, one leaf a line.
fn lines(output: &mut Output, value: &Value, path: &mut Vec<String>) -> Result<(), CliError> {
    match value {
        Value::Object(object) => object.iter().try_for_each(|(name, value)| {
            path.push(escaped(name.as_bytes()));
            lines(output, value, path)?;
            path.pop();
            Ok(())
        }),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, value)| {
            path.push(index.to_string());
            lines(output, value, path)?;
            path.pop();
            Ok(())
        }),
        leaf if path.is_empty() => output.line(&cell(leaf)),
        leaf => output.line(&format!("{}\t{}", path.join("."), cell(leaf))),
    }
}

/// An object whose members may be objects, each of which becomes a section of its own.
fn sections(output: &mut Output, object: &Map<String, Value>) -> Result<(), CliError> {
    let leaves: Vec<_> = object
        .iter()
        .filter(|(_, value)| !is_section(value))
        .collect();
    names_and_values(output, &leaves, "")?;
    let mut first = leaves.is_empty();
    for (name, value) in object.iter().filter(|(_, value)| is_section(value)) {
        if !first {
            output.line("")?;
        }
        first = false;
        let title = escaped(name.as_bytes());
        if output.terminal.stdout_colour {
            output.line(&format!("\x1b[1m{title}\x1b[0m"))?;
        } else {
            output.line(&title)?;
        }
        match value {
            Value::Object(members) => {
                let members: Vec<_> = members.iter().collect();
                names_and_values(output, &members, "  ")?;
            }
            Value::Array(items) => {
                let text = list(output.terminal, items);
                output.line(&text)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_section(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    }
}

fn names_and_values(
    output: &mut Output,
    members: &[(&String, &Value)],
    indent: &str,
) -> Result<(), CliError> {
    let width = members.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    members.iter().try_for_each(|(name, value)| {
        let name = escaped(name.as_bytes());
        output.line(&format!("{indent}{name:<width$}  {}", cell(value)))
    })
}

/// A list of objects as a table whose columns are the members of the first one; as one block each,
/// where that is too wide for the terminal.
fn list(terminal: Terminal, items: &[Value]) -> String {
    let Some(Value::Object(first)) = items.first() else {
        return items.iter().map(cell).collect::<Vec<_>>().join("\n");
    };
    let headers: Vec<&str> = first.keys().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let cells = headers.iter().map(|name| item.get(name).map(cell));
            cells.map(Option::unwrap_or_default).collect()
        })
        .collect();
    let blocks = rows.clone();
    let text = table(
        Terminal {
            width: None,
            ..terminal
        },
        &headers,
        rows,
    );
    let width = text.lines().map(|line| line.chars().count()).max();
    match (terminal.width, width) {
        (Some(room), Some(width)) if width > usize::from(room) => as_blocks(&headers, &blocks),
        _ => text,
    }
}

fn as_blocks(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = headers.iter().map(|header| header.len()).max();
    let width = width.unwrap_or_default();
    let block = |row: &Vec<String>| {
        let pairs = headers.iter().zip(row);
        let lines = pairs.map(|(name, text)| format!("{name:<width$}  {text}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// One value on one line.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escaped(text.as_bytes()),
        other => other.to_string(),
    }
}

/// A table as wide as the terminal at most.
pub(super) fn table(terminal: Terminal, headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headers.iter().map(|header| escaped(header.as_bytes())));
    table.add_rows(rows);
    if let Some(width) = terminal.width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    let text = table.to_string();
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    trimmed.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::testing::kept;
    use super::*;
    use serde_json::json;

    fn written(format: Format, value: Value) -> String {
        let (mut output, kept) = kept(format);
        output.tree(&Tree(value)).unwrap();
        kept.text()
    }

    #[test]
    fn sections_stand_apart_and_their_names_line_up() {
        let info = json!({"version": "1", "memory": {"used_bytes": 7_700, "limit": null}});
        assert_eq!(
            written(Format::Human, info.clone()),
            "version  1\n\nmemory\n  used   7.5 KiB\n  limit  -\n"
        );
        assert_eq!(
            written(Format::Raw, info),
            "version\t1\nmemory.used_bytes\t7700\nmemory.limit\t-\n"
        );
    }

    #[test]
    fn a_list_of_objects_is_a_table_or_a_line_each() {
        let clients = json!([{"id": 1, "peer": "a"}, {"id": 22, "peer": "b\u{1b}[0m"}]);
        let table = written(Format::Human, clients.clone());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(!table.contains('\u{1b}'));
        assert_eq!(written(Format::Jsonl, clients.clone()).lines().count(), 2);
        assert_eq!(written(Format::Json, clients).lines().count(), 1);
        assert_eq!(written(Format::Json, json!([])), "[]\n");
    }
    #[test]
    fn a_table_that_is_too_wide_becomes_blocks() {
        let items = [
            json!({"id": 1, "peer": "x".repeat(50)}),
            json!({"id": 2, "peer": "y"}),
        ];
        let narrow = Terminal {
            width: Some(40),
            ..Terminal::none()
        };
        let text = list(narrow, &items);
        assert!(text.starts_with("id    1\npeer  xxx"), "{text}");
        assert!(text.ends_with("\n\nid    2\npeer  y"), "{text}");
        assert_eq!(list(Terminal::none(), &items).lines().count(), 3);
    }
}
