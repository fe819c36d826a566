//! Commands that set things up: keys, contexts, completions.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Pair, offline};

#[test]
fn a_key_has_64_digits_and_its_file_is_private_and_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let ran = offline(home.path(), ["keygen"]).code(0);
    let digits = ran.text().trim_end();
    assert_eq!(digits.len(), 64);
    assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(offline(home.path(), ["keygen"]).text(), ran.text());

    let ran = offline(home.path(), ["keygen", "--out", "app.key"]).code(0);
    assert_eq!(ran.text(), "");
    let path = home.path().join("app.key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read_to_string(&path).unwrap();
    assert_eq!(before.trim_end().len(), 64);
    offline(home.path(), ["keygen", "--out", "app.key"]).code(2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);

    let print = offline(home.path(), ["keygen", "--fingerprint", "app.key"]).code(0);
    assert_eq!(print.text().trim_end().len(), 19);
    assert!(ran.stderr.contains(print.text().trim_end()));
    assert_eq!(print.stderr, "");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let print = offline(home.path(), ["keygen", "--fingerprint", "app.key"]).code(0);
    assert!(print.stderr.contains("chmod 600"));
}

#[test]
fn contexts_are_kept_used_and_removed() {
    let pair = Pair::start();
    let home = pair.server.home();
    let url = format!("kv://{}", pair.server.address());
    offline(
        home,
        ["context", "add", "here", "--url", &url, "--timeout", "9s"],
    )
    .code(0);
    offline(
        home,
        ["context", "add", "nowhere", "--url", "kv://127.0.0.1:1"],
    )
    .code(0);
    let file = home.join("config/kv/contexts.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The first one is in use at once.
    offline(home, ["set", "k", "v"]).code(0);
    offline(home, ["--context", "nowhere", "get", "k"]).code(4);
    offline(home, ["context", "use", "nowhere"]).code(0);
    offline(home, ["get", "k"]).code(4);
    offline(home, ["--context", "here", "get", "k"]).code(0);
    offline(home, ["--url", &url, "get", "k"]).code(0);

    let all = offline(home, ["-o", "json", "context", "ls"])
        .code(0)
        .json();
    let names: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|context| context["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["here", "nowhere"]);
    assert_eq!(all[1]["current"], true);

    offline(home, ["context", "add", "here", "--url", &url]).code(2);
    offline(home, ["context", "add", "here", "--url", &url, "--force"]).code(0);
    offline(home, ["context", "add", "a b", "--url", &url]).code(2);
    offline(home, ["context", "add", "c"]).code(2);
    offline(home, ["context", "rm", "nowhere"]).code(0);
    offline(home, ["context", "rm", "nowhere"]).code(2);
    offline(home, ["context", "use", "nowhere"]).code(2);
    assert_eq!(offline(home, ["context", "ls"]).code(0).text(), "here\n");
}

#[test]
fn a_context_keeps_absolute_paths_and_no_secrets() {
    let home = tempfile::tempdir().unwrap();
    let digits = offline(home.path(), ["keygen"])
        .text()
        .trim_end()
        .to_owned();
    std::fs::write(home.path().join("app.key"), &digits).unwrap();
    let add = [
        "context",
        "add",
        "a",
        "--url",
        "kv://app@h",
        "--key-file",
        "app.key",
    ];
    offline(home.path(), add).code(0);
    let text = std::fs::read_to_string(home.path().join("config/kv/contexts.toml")).unwrap();
    let path = home.path().join("app.key");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(!text.contains(&digits));
}

#[test]
fn every_shell_gets_a_completion_script() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = offline(home.path(), ["completions", shell]).code(0);
        for word in ["scan", "doctor", "if-absent"] {
            assert!(ran.text().contains(word), "{shell} {word}");
        }
    }
    offline(home.path(), ["completions", "tcsh"]).code(2);
}
