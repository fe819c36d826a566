//! Values of entries in JSON objects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// Puts `value` and `encoding` into an object: text as it is, other bytes as base64.
pub(crate) fn put_value(object: &mut Map<String, Value>, value: &[u8]) {
    let (text, encoding) = match std::str::from_utf8(value) {
        Ok(text) => (text.to_owned(), "utf8"),
        Err(_) => (BASE64.encode(value), "base64"),
    };
    object.insert("value".to_owned(), text.into());
    object.insert("encoding".to_owned(), encoding.into());
}

/// Puts a typed value, as the JSON that it is.
pub(super) fn put_document(object: &mut Map<String, Value>, document: Value) {
    object.insert("value".to_owned(), document);
    object.insert("encoding".to_owned(), "json".into());
}
