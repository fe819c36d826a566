//! Keys as people write them: UTF-8, hex or base64.

use std::ffi::OsStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;
use serde_json::{Map, Value};

use super::escaped;
use crate::args::os_bytes;
use crate::error::CliError;

/// How keys are written, in arguments and in output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFormat {
    /// As they are
    #[default]
    Utf8,
    /// Two hex digits per byte
    Hex,
    /// Base64 with padding
    Base64,
}

impl KeyFormat {
    /// The key that an argument means. An empty prefix is fine, an empty key is not.
    pub(crate) fn key(self, argument: &OsStr) -> Result<Vec<u8>, CliError> {
        let key = self.prefix(argument)?;
        if key.is_empty() {
            return Err(CliError::usage("a key has at least one byte"));
        }
        Ok(key)
    }

    /// The prefix that an argument means.
    pub(crate) fn prefix(self, argument: &OsStr) -> Result<Vec<u8>, CliError> {
        let bytes = os_bytes(argument);
        let decoded = match self {
            Self::Utf8 => return Ok(bytes),
            Self::Hex => unhex(&bytes),
            Self::Base64 => BASE64.decode(&bytes).ok(),
        };
        decoded.ok_or_else(|| {
            CliError::usage(format!("`{}` is not {}", escaped(&bytes), self.name()))
                .hint("--key-format says how keys are written")
        })
    }

    /// Keys of several arguments.
    pub(crate) fn keys<S: AsRef<OsStr>>(self, arguments: &[S]) -> Result<Vec<Vec<u8>>, CliError> {
        arguments.iter().map(|key| self.key(key.as_ref())).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

/// A key on its way out.
#[derive(Clone, Copy)]
pub(crate) struct KeyText<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) format: KeyFormat,
}

impl KeyText<'_> {
    /// On one line, safe for a terminal.
    pub(crate) fn for_people(self) -> String {
        self.encoded().unwrap_or_else(|| escaped(self.key))
    }

    /// The exact bytes, or what the key format makes of them.
    pub(crate) fn exact(self) -> Vec<u8> {
        self.encoded()
            .map_or_else(|| self.key.to_vec(), String::into_bytes)
    }

    /// Puts `key` into an object, and `key_encoding` where it is not plain text.
    pub(crate) fn put(self, object: &mut Map<String, Value>) {
        let (text, encoding) = match (self.encoded(), std::str::from_utf8(self.key)) {
            (Some(text), _) => (text, Some(self.format.name())),
            (None, Ok(text)) => (text.to_owned(), None),
            (None, Err(_)) => (BASE64.encode(self.key), Some(KeyFormat::Base64.name())),
        };
        object.insert("key".to_owned(), text.into());
        if let Some(encoding) = encoding {
            object.insert("key_encoding".to_owned(), encoding.into());
        }
    }

    fn encoded(self) -> Option<String> {
        match self.format {
            KeyFormat::Utf8 => None,
            KeyFormat::Hex => Some(hex(self.key)),
            KeyFormat::Base64 => Some(BASE64.encode(self.key)),
        }
    }
}

/// Two lower-case digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The bytes of hex digits in either case; nothing else is allowed.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_format_reads_what_it_writes() {
        let key = [0u8, 1, 0xfe, b'a'];
        for (format, text) in [
            (KeyFormat::Hex, "0001fe61"),
            (KeyFormat::Base64, "AAH+YQ=="),
        ] {
            let shown = KeyText { key: &key, format };
            assert_eq!(shown.for_people(), text);
            assert_eq!(format.key(OsStr::new(text)).unwrap(), key);
        }
        assert_eq!(KeyFormat::Hex.key(OsStr::new("0001FE61")).unwrap(), key);
    }

    #[test]
    fn what_is_not_in_the_format_is_wrong_usage() {
        for (format, text) in [
            (KeyFormat::Hex, "abc"),
            (KeyFormat::Hex, "zz"),
            (KeyFormat::Base64, "a"),
            (KeyFormat::Utf8, ""),
        ] {
            assert!(format.key(OsStr::new(text)).is_err(), "{text}");
        }
        assert_eq!(KeyFormat::Utf8.prefix(OsStr::new("")).unwrap(), b"");
    }

    #[test]
    fn a_key_that_is_no_text_says_so_in_json() {
        let mut object = Map::new();
        let format = KeyFormat::Utf8;
        KeyText {
            key: b"\xff",
            format,
        }
        .put(&mut object);
        assert_eq!(
            Value::Object(object).to_string(),
            r#"{"key":"/w==","key_encoding":"base64"}"#
        );
    }
}
