//! `get`: values of keys.

use kv_client::{ContentType, Entry as Found, Value};

use crate::app::App;
use crate::args::GetArgs;
use crate::error::{CliError, Code, Exit};
use crate::output::{
    Entries, Entry, Format, KeyText, Output, Separator, Shape, Show, escaped, typed_to_json,
};

/// Prints each value; those that are missing are named on standard error.
pub(super) async fn run(app: &mut App, args: &GetArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format.keys(&args.keys)?;
    let client = app.client().await?;
    let shape = if keys.len() == 1 {
        Shape::One
    } else {
        Shape::Many
    };
    let mut entries = Entries::new(shape, Show::Values, Separator::Line);
    let mut exit = Exit::Ok;
    for key in keys {
        let Some(found) = client.get_entry(&key).await? else {
            exit = exit.and(missing(&mut app.output, &key));
            continue;
        };
        let entry = entry(&app.output, key, found, args.json)?;
        entries.entry(&mut app.output, &entry)?;
    }
    if exit == Exit::Ok || shape == Shape::Many {
        entries.end(&mut app.output)?;
    }
    Ok(exit)
}

/// Says that there is no such entry.
pub(super) fn missing(output: &mut Output, key: &[u8]) -> Exit {
    let error = not_found(output, key);
    output.error(&error);
    error.exit()
}

/// There is no such entry.
pub(super) fn not_found(output: &Output, key: &[u8]) -> CliError {
    let format = output.key_format;
    let key = KeyText { key, format }.for_people();
    CliError::new(Code::NOT_FOUND, format!("there is no entry `{key}`"))
}

/// An entry as it goes to the output. Typed values are shown to people as JSON, and to programs only
/// when they ask for it.
pub(super) fn entry(
    output: &Output,
    key: Vec<u8>,
    found: Found,
    as_json: bool,
) -> Result<Entry, CliError> {
    let for_people = matches!(output.format, Format::Human | Format::Table);
    let typed = found.content_type == ContentType::Typed;
    let document = match (as_json, typed && for_people) {
        (true, _) => Some(document(&key, &found)?),
        (false, true) => document(&key, &found).ok(),
        (false, false) => None,
    };
    Ok(Entry {
        key,
        value: Some(found.value.to_vec()),
        version: Some(found.version),
        ttl_ms: found.ttl.map(super::millis),
        document,
    })
}

/// The JSON of a typed value, or of a value that is JSON text.
fn document(key: &[u8], found: &Found) -> Result<serde_json::Value, CliError> {
    let wrong = |cause: String| {
        let sentence = format!("the value of `{}` is not JSON", escaped(key));
        CliError::new(Code::WRONG_TYPE, sentence)
            .cause(cause)
            .hint("without --json it is printed as it is")
    };
    if found.content_type == ContentType::Typed {
        let value = Value::decode(&found.value).map_err(|error| wrong(error.to_string()))?;
        return Ok(typed_to_json(&value));
    }
    serde_json::from_slice(&found.value).map_err(|error| wrong(error.to_string()))
}
