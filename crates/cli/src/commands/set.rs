//! `set`: stores a value.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use kv_client::{Call, Conditional, ContentType, ErrorCode, MultiplexedClient, Request};

use crate::app::{App, Stdin};
use crate::args::{Condition, SetArgs, os_bytes};
use crate::error::{CliError, Code, Exit};
use crate::output::{Entries, Entry, Format, KeyText, Report, Separator, Shape, Show};
use crate::output::{duration_text, typed_from_json};

/// Stores a value.
pub(super) async fn run(app: &mut App, args: &SetArgs) -> Result<Exit, CliError> {
    let key = app.output.key_format.key(&args.key)?;
    let value = value(args, app.stdin)?;
    let client = app.client().await?;
    let if_version = version_of_value(&client, &key, &args.condition).await?;
    let mut call = when(client.set(&key, &value), &args.condition, if_version);
    if let Some(ttl) = args.ttl {
        call = call.ttl(ttl.0);
    }
    if args.json {
        call = call.content_type(ContentType::Typed);
    }
    if args.get {
        call = call.return_previous();
    }
    let reply = call
        .await
        .map_err(|error| refused(error, &args.condition))?;
    let previous = args.get.then_some(reply.previous);
    show(app, args, &key, reply.version, previous)?;
    Ok(Exit::Ok)
}

/// With `--get` the data is the value before; else it is the new version.
fn show(
    app: &mut App,
    args: &SetArgs,
    key: &[u8],
    version: u64,
    previous: Option<Option<Bytes>>,
) -> Result<(), CliError> {
    let plain = matches!(app.output.format, Format::Human | Format::Raw);
    let before = previous.map(|value| Entry {
        key: key.to_vec(),
        value: value.map(|value| value.to_vec()),
        ..Entry::default()
    });
    if let (Some(before), true) = (&before, plain) {
        if before.value.is_none() && app.output.format == Format::Raw {
            return Ok(());
        }
        let mut entries = Entries::new(Shape::One, Show::Values, Separator::Line);
        entries.entry(&mut app.output, before)?;
        return entries.end(&mut app.output);
    }
    let ttl_ms = args.ttl.map(|ttl| super::millis(ttl.0));
    let human = match ttl_ms {
        Some(ms) => format!("stored as version {version}, for {}", duration_text(ms)),
        None => format!("stored as version {version}"),
    };
    let mut report = Report::new(human, version.to_string());
    let format = app.output.key_format;
    KeyText { key, format }.put(&mut report.json);
    report = report.with("version", version).with("ttl_ms", ttl_ms);
    if let Some(before) = &before {
        report.put_previous(before.value.as_deref());
    }
    app.output.report(&report)
}

fn value(args: &SetArgs, stdin: Stdin) -> Result<Vec<u8>, CliError> {
    let bytes = match (&args.file, &args.value) {
        (Some(path), _) => from_file(path, stdin)?,
        (None, Some(word)) if word == "-" => from_stdin(stdin)?,
        (None, Some(word)) => os_bytes(word),
        (None, None) => return Err(CliError::usage("there is no value")),
    };
    if args.json { typed(&bytes) } else { Ok(bytes) }
}

fn from_file(path: &Path, stdin: Stdin) -> Result<Vec<u8>, CliError> {
    if path == Path::new("-") {
        return from_stdin(stdin);
    }
    std::fs::read(path).map_err(|error| CliError::file("read", path, &error))
}

fn from_stdin(stdin: Stdin) -> Result<Vec<u8>, CliError> {
    if stdin == Stdin::Commands {
        return Err(CliError::usage("standard input holds the commands")
            .hint("--file FILE takes a value from a file"));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The typed value that a JSON text stands for.
pub(super) fn typed(text: &[u8]) -> Result<Vec<u8>, CliError> {
    let wrong = |cause: String| CliError::usage("the value is not JSON").cause(cause);
    let document = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    let value = typed_from_json(document).map_err(|why| wrong(why.to_owned()))?;
    let mut bytes = Vec::new();
    value
        .encode(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(bytes)
}

/// For `--if-value`: the version of the entry, if it has that value. As the version changes with
/// each write, writing over that version means writing over that value.
async fn version_of_value(
    client: &MultiplexedClient,
    key: &[u8],
    condition: &Condition,
) -> Result<Option<u64>, CliError> {
    let Some(wanted) = &condition.if_value else {
        return Ok(condition.if_version);
    };
    let conflict = |hint: String| {
        CliError::new(
            Code::new(ErrorCode::Conflict.name(), Exit::Conflict),
            "a condition did not hold",
        )
        .hint(hint)
    };
    match client.get_entry(key).await? {
        Some(entry) if *entry.value == *os_bytes(wanted) => Ok(Some(entry.version)),
        Some(entry) => Err(conflict(format!(
            "the entry has another value, as version {}",
            entry.version
        ))),
        None => Err(conflict("there is no such entry".to_owned())),
    }
}

fn when<'c, Q: Conditional + Request>(
    call: Call<'c, Q>,
    condition: &Condition,
    if_version: Option<u64>,
) -> Call<'c, Q> {
    match if_version {
        Some(version) => call.if_version(version),
        None if condition.if_absent => call.if_absent(),
        None if condition.if_present => call.if_present(),
        None => call,
    }
}

/// A condition about existence that did not hold is an answer, not a conflict.
fn refused(error: kv_client::Error, condition: &Condition) -> CliError {
    let is_conflict = error.code() == Some(ErrorCode::Conflict);
    let false_condition = |sentence| {
        let failure = CliError::new(Code::CONDITION_FALSE, sentence);
        match CliError::from(error.clone()).hint_text() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    };
    match (is_conflict, condition.if_absent, condition.if_present) {
        (true, true, _) => false_condition("the entry exists already"),
        (true, _, true) => false_condition("there is no entry to replace"),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_a_typed_value_and_nonsense_does_not() {
        assert_eq!(
            typed(b"[1,\"a\",null]").unwrap(),
            [0x93, 1, 0xa1, b'a', 0xc0]
        );
        assert_eq!(typed(b"{").unwrap_err().exit(), Exit::Usage);
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(typed(deep.as_bytes()).is_err());
    }
}
