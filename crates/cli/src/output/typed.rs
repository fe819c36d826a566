//! Typed values (content type 2) as JSON and back.
//!
//! JSON has no bytes: they become `{"$base64": "..."}` and are read back from it. Map keys that are
//! no text become their JSON text. Everything else keeps its type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kv_client::Value as Typed;
use serde_json::{Map, Number, Value};

/// The object key that marks bytes.
const BYTES: &str = "$base64";

/// The JSON of a typed value.
pub(crate) fn to_json(value: &Typed) -> Value {
    match value {
        Typed::Nil => Value::Null,
        Typed::Bool(value) => (*value).into(),
        Typed::Int(value) => (*value).into(),
        Typed::UInt(value) => (*value).into(),
        Typed::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Typed::Str(value) => value.as_str().into(),
        Typed::Bytes(value) => {
            let mut object = Map::new();
            object.insert(BYTES.to_owned(), BASE64.encode(value).into());
            Value::Object(object)
        }
        Typed::Array(items) => items.iter().map(to_json).collect(),
        Typed::Map(pairs) => Value::Object(
            pairs
                .iter()
                .map(|(key, value)| (map_key(key), to_json(value)))
                .collect(),
        ),
    }
}

fn map_key(key: &Typed) -> String {
    key.as_str()
        .map_or_else(|| to_json(key).to_string(), ToOwned::to_owned)
}

/// The typed value of a JSON document.
///
/// # Errors
/// The reason, for a number that fits neither 64-bit integers nor floats, or bad base64.
pub(crate) fn from_json(value: Value) -> Result<Typed, &'static str> {
    Ok(match value {
        Value::Null => Typed::Nil,
        Value::Bool(value) => Typed::Bool(value),
        Value::Number(number) => number_of(&number)?,
        Value::String(text) => Typed::Str(text),
        Value::Array(items) => {
            Typed::Array(items.into_iter().map(from_json).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => match bytes_of(&object) {
            Some(bytes) => Typed::Bytes(bytes?),
            None => Typed::Map(
                object
                    .into_iter()
                    .map(|(key, value)| Ok((Typed::Str(key), from_json(value)?)))
                    .collect::<Result<_, _>>()?,
            ),
        },
    })
}

fn number_of(number: &Number) -> Result<Typed, &'static str> {
    if let Some(value) = number.as_i64() {
        Ok(Typed::Int(value))
    } else if let Some(value) = number.as_u64() {
        Ok(Typed::UInt(value))
    } else if let Some(value) = number.as_f64() {
        Ok(Typed::Float(value))
    } else {
        Err("a number in it is too large")
    }
}

fn bytes_of(object: &Map<String, Value>) -> Option<Result<Vec<u8>, &'static str>> {
    let text = object.get(BYTES)?.as_str()?;
    (object.len() == 1).then(|| {
        BASE64
            .decode(text)
            .map_err(|_| "what stands at $base64 is not base64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_document_comes_back_as_it_was() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "2.5",
            r#""text""#,
            r#"[1,[],{"z":1,"a":null}]"#,
            r#"{"$base64":"AP8="}"#,
            r#"{"$base64":"AP8=","more":1}"#,
        ] {
            let document: Value = serde_json::from_str(text).unwrap();
            let typed = from_json(document.clone()).unwrap();
            assert_eq!(to_json(&typed), document, "{text}");
        }
    }

    #[test]
    fn bytes_are_marked_and_keys_of_other_types_become_text() {
        let typed = Typed::Map(vec![(Typed::Int(1), Typed::Bytes(vec![0, 255]))]);
        assert_eq!(to_json(&typed).to_string(), r#"{"1":{"$base64":"AP8="}}"#);
        let bad = serde_json::from_str(r#"{"$base64":"?"}"#).unwrap();
        assert!(from_json(bad).is_err());
    }
}
