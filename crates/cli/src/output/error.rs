//! How a failure looks on standard error.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Format;
use crate::error::CliError;

/// The text, without its last line end.
pub(crate) fn render(error: &CliError, format: Format, colour: bool) -> String {
    if format.is_json() {
        return as_json(error).to_string();
    }
    let (red, cyan, dim, off) = if colour {
        ("\x1b[1;31m", "\x1b[36m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "", "")
    };
    let mut text = format!(
        "{red}error[E_{}]{off}: {}",
        error.code().name(),
        error.message()
    );
    if let Some(cause) = error.cause_text() {
        let _ = write!(text, "\n  {dim}cause:{off} {}", indented(cause));
    }
    if let Some(hint) = error.hint_text() {
        let _ = write!(text, "\n  {cyan}hint:{off} {}", indented(hint));
    }
    text
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

fn as_json(error: &CliError) -> Value {
    let mut body = Map::new();
    body.insert("code".to_owned(), error.code().name().into());
    body.insert("message".to_owned(), error.message().into());
    if let Some(cause) = error.cause_text() {
        body.insert("cause".to_owned(), cause.into());
    }
    body.insert("hint".to_owned(), error.hint_text().into());
    json!({ "error": body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn people_get_code_sentence_cause_and_hint() {
        let error = CliError::new(Code::KEY_FILE, "cannot read the key")
            .cause("no such file")
            .hint("make one:\nkv-cli keygen");
        assert_eq!(
            render(&error, Format::Human, false),
            "error[E_KEY_FILE]: cannot read the key\n  cause: no such file\n  \
             hint: make one:\n    kv-cli keygen"
        );
        assert!(
            render(&error, Format::Raw, true).starts_with("\x1b[1;31merror[E_KEY_FILE]\x1b[0m")
        );
    }

    #[test]
    fn programs_get_one_object_on_one_line() {
        let error = CliError::usage("no");
        assert_eq!(
            render(&error, Format::Jsonl, true),
            r#"{"error":{"code":"USAGE","message":"no","hint":null}}"#
        );
    }
}
