//! Splits a line into words as a shell does: spaces, quotes, backslashes.
//!
//! `'...'` is literal. In `"..."` and outside of quotes a backslash escapes: `\n`, `\t`, `\r`, `\0`,
//! `\xNN` (a byte), `\u{...}` (a character), anything else is itself. Words are bytes.

use std::iter::Peekable;
use std::str::Chars;

use crate::error::CliError;

/// The words of a line.
pub(super) fn split(line: &str) -> Result<Vec<Vec<u8>>, CliError> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut rest).map_err(|why| CliError::usage(why.sentence()))?);
    }
}

/// Whether a line ends inside of quotes, so that the next one belongs to it.
pub(super) fn is_open(line: &str) -> bool {
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return false;
        }
        match word(&mut rest) {
            Ok(_) => {}
            Err(Broken::Open) => return true,
            Err(Broken::Escape) => return false,
        }
    }
}

/// Why a word cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Open,
    Escape,
}

impl Broken {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Open => "a quote is not closed",
            Self::Escape => "after `\\x` come two hex digits, after `\\u` a character as {1f600}",
        }
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Result<Vec<u8>, Broken> {
    let mut word = Vec::new();
    while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
        match c {
            '\'' => loop {
                match rest.next().ok_or(Broken::Open)? {
                    '\'' => break,
                    c => push(&mut word, c),
                }
            },
            '"' => loop {
                match rest.next().ok_or(Broken::Open)? {
                    '"' => break,
                    '\\' => escape(rest, &mut word)?,
                    c => push(&mut word, c),
                }
            },
            '\\' => escape(rest, &mut word)?,
            c => push(&mut word, c),
        }
    }
    Ok(word)
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(rest: &mut Peekable<Chars<'_>>, word: &mut Vec<u8>) -> Result<(), Broken> {
    match rest.next().ok_or(Broken::Open)? {
        'n' => word.push(b'\n'),
        't' => word.push(b'\t'),
        'r' => word.push(b'\r'),
        '0' => word.push(0),
        'x' => {
            let mut byte = 0;
            for _ in 0..2 {
                let digit = rest.next().and_then(|c| c.to_digit(16));
                byte = byte * 16 + digit.ok_or(Broken::Escape)?;
            }
            word.push(u8::try_from(byte).map_err(|_| Broken::Escape)?);
        }
        'u' => {
            rest.next_if_eq(&'{').ok_or(Broken::Escape)?;
            let mut digits = String::new();
            while let Some(c) = rest.next_if(char::is_ascii_hexdigit) {
                digits.push(c);
            }
            rest.next_if_eq(&'}').ok_or(Broken::Escape)?;
            let c = u32::from_str_radix(&digits, 16).ok();
            push(word, c.and_then(char::from_u32).ok_or(Broken::Escape)?);
        }
        c => push(word, c),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words
            .iter()
            .map(|word| word.escape_ascii().to_string())
            .collect()
    }

    #[test]
    fn words_are_split_at_spaces_outside_of_quotes() {
        assert_eq!(words("  set  a 1 "), ["set", "a", "1"]);
        assert_eq!(
            words(r#"set 'a b' "c d" e' 'f"#),
            ["set", "a b", "c d", "e f"]
        );
        assert_eq!(words(r#"set a '' """#), ["set", "a", "", ""]);
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(words("set a '{\"n\": 1}'"), ["set", "a", r#"{\"n\": 1}"#]);
    }

    #[test]
    fn backslashes_make_bytes_but_not_in_single_quotes() {
        assert_eq!(
            words(r#""\n\x00\xff\u{e9}\"""#),
            [r#"\n\x00\xff\xc3\xa9\""#]
        );
        assert_eq!(words(r"a\ b '\n'"), ["a b", r"\\n"]);
    }

    #[test]
    fn open_quotes_ask_for_another_line_and_broken_escapes_do_not() {
        for line in ["'a", "\"a", "a \"b\\\"", "a\\"] {
            assert!(is_open(line), "{line}");
            assert!(split(line).is_err());
        }
        for line in ["", "a b", "'a' \"b\"", r#""\xzz" 'a"#, r"\u{110000}"] {
            assert!(!is_open(line), "{line}");
        }
        assert!(split(r"\x1").is_err());
        assert!(split(r"\u{}").is_err());
    }
}
