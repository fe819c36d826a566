//! The history of the prompt: a private file, without secrets.

use std::fs;
use std::path::PathBuf;

use super::assist::LineEditor;
use super::words;
use crate::files::{self, Access};

/// A run of hex digits as long as the shortest key.
const KEY_DIGITS: usize = 64;

/// Key names whose values are not for the history.
const SECRET_NAMES: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private",
    "apikey",
];

const REDACTED: &str = "***";

/// Where lines are kept; nowhere, if there is no place for them.
pub(super) struct File(Option<PathBuf>);

impl File {
    /// Reads what is there into the editor. A history that cannot be kept is no reason to stop.
    pub(super) fn open(editor: &mut LineEditor) -> Self {
        let path = files::state_dir().ok().and_then(|dir| {
            files::create_private_dir(&dir).ok()?;
            Some(dir.join("history"))
        });
        if let Some(path) = &path {
            if !path.exists() {
                let _ = files::create_new(path, Access::Private, b"");
            }
            make_private(path);
            let _ = editor.load_history(path);
        }
        Self(path)
    }

    /// Keeps a line, without its secrets. Lines that begin with a space are not kept.
    pub(super) fn remember(&self, editor: &mut LineEditor, line: &str) {
        if line.trim().is_empty() || line.starts_with(' ') {
            return;
        }
        let added = editor.add_history_entry(redacted(line).replace('\n', " "));
        if let (Ok(true), Some(path)) = (added, &self.0) {
            let _ = editor.append_history(path);
            make_private(path);
        }
    }
}

#[cfg(unix)]
fn make_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
}

#[cfg(not(unix))]
fn make_private(_path: &std::path::Path) {}

/// The line with what looks like a secret replaced: runs of hex digits as long as a key, and whatever
/// follows a key whose name says that it is secret.
fn redacted(line: &str) -> String {
    let mut after_secret_name = false;
    let mut out: Vec<String> = Vec::new();
    for word in line.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let space = word.get(bare.len()..).unwrap_or_default();
        let hide = after_secret_name && !bare.starts_with("--") && !bare.is_empty();
        let text = if hide {
            REDACTED.to_owned()
        } else {
            without_keys(bare)
        };
        out.push(text + space);
        after_secret_name |= names_a_secret(bare);
    }
    let line = out.concat();
    // Words in quotes were cut at their spaces; what is left must still be a line.
    if words::is_open(&line) {
        let kept = line.split_whitespace().next().unwrap_or_default();
        return format!("{kept} {REDACTED}");
    }
    line
}

fn names_a_secret(word: &str) -> bool {
    let word: String = word
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRET_NAMES.iter().any(|name| word.contains(name))
}

fn without_keys(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut run = String::new();
    for c in word.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        out.push_str(if run.len() >= KEY_DIGITS {
            REDACTED
        } else {
            &run
        });
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_the_history() {
        let key = "0123456789abcdef".repeat(4);
        for (line, kept) in [
            ("set greeting hello", "set greeting hello".to_owned()),
            (
                "set user:password hunter2",
                "set user:password ***".to_owned(),
            ),
            (
                "set API_KEY abc --ttl 5s",
                "set API_KEY *** --ttl ***".to_owned(),
            ),
            ("get my-token", "get my-token".to_owned()),
            (
                "set db.secret 'two words'",
                "set db.secret *** ***".to_owned(),
            ),
            ("set 'my secret' x", "set 'my secret' ***".to_owned()),
            (&format!("set k {key}"), "set k ***".to_owned()),
            (&format!("set k x={key}."), "set k x=***.".to_owned()),
            (
                &format!("set k {}", "a".repeat(63)),
                format!("set k {}", "a".repeat(63)),
            ),
        ] {
            assert_eq!(redacted(line), kept);
        }
    }
}
