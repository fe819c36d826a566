//! One line of JSON: an entry as `export`, `scan` and `get` write it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kv_client::ContentType;
use serde_json::{Map, Value};

use crate::commands::bulk::Record;
use crate::output::{KeyFormat, KeyText, put_value, typed_from_json, unhex};

/// The entry that a line means; `None` for an empty line.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Option<Record>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let document: Value = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    let Value::Object(fields) = document else {
        return Err("it is not a JSON object".into());
    };
    for name in fields.keys() {
        if !FIELDS.contains(&name.as_str()) {
            return Err(format!(
                "`{}` is not a field of an entry",
                name.escape_debug()
            ));
        }
    }
    let key = key(&fields)?;
    let (value, typed) = value(&fields)?;
    let content_type = content_type(fields.get("content_type"))?;
    Ok(Some(Record {
        key,
        value,
        ttl: ttl(fields.get("ttl_ms"))?,
        content_type: if typed {
            ContentType::Typed
        } else {
            content_type
        },
    }))
}

/// The line of an entry, with its end.
pub(in crate::commands) fn write(
    key: &[u8],
    value: &[u8],
    version: u64,
    ttl_ms: Option<u64>,
    content_type: ContentType,
) -> String {
    let mut fields = Map::new();
    let format = KeyFormat::Utf8;
    KeyText { key, format }.put(&mut fields);
    put_value(&mut fields, value);
    fields.insert("version".into(), version.into());
    fields.insert("ttl_ms".into(), ttl_ms.into());
    match content_type {
        ContentType::Bytes => {}
        ContentType::Text => {
            fields.insert("content_type".into(), "text".into());
        }
        ContentType::Typed => {
            fields.insert("content_type".into(), "typed".into());
        }
        ContentType::Json => {
            fields.insert("content_type".into(), "json".into());
        }
        other => {
            fields.insert("content_type".into(), other.number().into());
        }
    }
    let mut line = Value::Object(fields).to_string();
    line.push('\n');
    line
}

/// All there are; `version` is there to be read by people.
const FIELDS: [&str; 7] = [
    "key",
    "key_encoding",
    "value",
    "encoding",
    "version",
    "ttl_ms",
    "content_type",
];

fn not_json(error: &serde_json::Error) -> String {
    // The library counts lines of what it was given, which is one line here.
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("it is not JSON: {what} (column {})", error.column())
}

fn key(fields: &Map<String, Value>) -> Result<Vec<u8>, String> {
    let text = match fields.get("key") {
        Some(Value::String(text)) => text,
        Some(_) => return Err("`key` is not a string".into()),
        None => return Err("there is no `key`".into()),
    };
    let key = decode(text, fields.get("key_encoding"), "key_encoding")?;
    match key.len() {
        0 => Err("`key` is empty".into()),
        1..=65_535 => Ok(key),
        len => Err(format!("`key` has {len} bytes; a key has at most 65535")),
    }
}

/// The bytes of the value, and whether it was a document.
fn value(fields: &Map<String, Value>) -> Result<(Vec<u8>, bool), String> {
    let encoding = fields.get("encoding");
    match (fields.get("value"), encoding.and_then(Value::as_str)) {
        (None, _) => Err("there is no `value`".into()),
        (Some(document), Some("json")) => {
            let value = typed_from_json(document.clone()).map_err(ToOwned::to_owned)?;
            let mut bytes = Vec::new();
            value
                .encode(&mut bytes)
                .map_err(|error| error.to_string())?;
            Ok((bytes, true))
        }
        (Some(Value::String(text)), _) => Ok((decode(text, encoding, "encoding")?, false)),
        (Some(_), _) => Err("`value` is not a string, and `encoding` is not json".into()),
    }
}

fn decode(text: &str, encoding: Option<&Value>, field: &str) -> Result<Vec<u8>, String> {
    match encoding {
        None => Ok(text.as_bytes().to_vec()),
        Some(Value::String(name)) => match name.as_str() {
            "utf8" => Some(text.as_bytes().to_vec()),
            "base64" => BASE64.decode(text).ok(),
            "hex" => unhex(text.as_bytes()),
            _ => return Err(format!("`{field}` is not one that is known")),
        }
        .ok_or_else(|| format!("it is not {name}, as `{field}` says")),
        Some(_) => Err(format!("`{field}` is not a string")),
    }
}

fn ttl(field: Option<&Value>) -> Result<Option<Duration>, String> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(ms) if ms > 0 => Ok(Some(Duration::from_millis(ms))),
            _ => Err("`ttl_ms` is not a positive number of milliseconds".into()),
        },
    }
}

fn content_type(field: Option<&Value>) -> Result<ContentType, String> {
    let number = field
        .and_then(Value::as_u64)
        .and_then(|n| u8::try_from(n).ok());
    match (field, number) {
        (None | Some(Value::Null), _) => Ok(ContentType::Bytes),
        (_, Some(number)) => Ok(number.into()),
        (Some(Value::String(name)), _) => match name.as_str() {
            "bytes" => Ok(ContentType::Bytes),
            "text" => Ok(ContentType::Text),
            "typed" => Ok(ContentType::Typed),
            "json" => Ok(ContentType::Json),
            _ => Err("`content_type` is not bytes, text, typed or json".into()),
        },
        _ => Err("`content_type` is neither a name nor a small number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_the_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        for (key, value) in [
            (&all[..], &all[..]),
            (b"k", b""),
            ("ü\n\"".as_bytes(), b"\xff"),
        ] {
            for content_type in (0..6).map(ContentType::from) {
                let line = write(key, value, 3, Some(5), content_type);
                assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
                let record = parse(line.as_bytes()).unwrap().unwrap();
                assert_eq!((&record.key[..], &record.value[..]), (key, value));
                assert_eq!(record.ttl, Some(Duration::from_millis(5)));
                assert_eq!(record.content_type, content_type);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, word) in [
            (r#"{"key":"a","value":"#, "not JSON"),
            ("[]", "object"),
            (r#"{"value":"x"}"#, "no `key`"),
            (r#"{"key":"a"}"#, "no `value`"),
            (r#"{"key":"","value":"x"}"#, "empty"),
            (r#"{"key":1,"value":"x"}"#, "`key` is not a string"),
            (r#"{"key":"a","value":7}"#, "`value` is not a string"),
            (
                r#"{"key":"a","value":"?","encoding":"base64"}"#,
                "not base64",
            ),
            (r#"{"key":"a","value":"x","encoding":"rot13"}"#, "known"),
            (r#"{"key":"a","value":"x","ttl_ms":0}"#, "ttl_ms"),
            (r#"{"key":"a","value":"x","ttl_ms":-1}"#, "ttl_ms"),
            (r#"{"key":"a","value":"x","ttl":1}"#, "`ttl`"),
            (
                r#"{"key":"a","value":"x","content_type":"png"}"#,
                "content_type",
            ),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        let long = format!(r#"{{"key":"{}","value":""}}"#, "k".repeat(65_536));
        assert!(parse(long.as_bytes()).unwrap_err().contains("65535"));
        assert!(parse(b"  \r").unwrap().is_none());
    }

    #[test]
    fn a_document_becomes_a_typed_value() {
        let line = br#"{"key":"a","value":{"n":[1,null]},"encoding":"json","version":9}"#;
        let record = parse(line).unwrap().unwrap();
        assert_eq!(record.content_type, ContentType::Typed);
        assert_eq!(record.value, [0x81, 0xa1, b'n', 0x92, 1, 0xc0]);
    }
}
