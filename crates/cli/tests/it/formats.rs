//! Forms of output: what programs may rely on, and what people see.

use crate::support::{Pair, command, finish};

#[test]
fn json_has_the_documented_members() {
    let pair = Pair::start();
    pair.ok("set k v --ttl 1h");
    pair.run_with_input(["set", "bin", "-"], b"\xff\x00")
        .code(0);
    let ran = pair.run(["-o", "json", "get", "k"]).code(0).json();
    let members: Vec<&String> = ran.as_object().unwrap().keys().collect();
    assert_eq!(members, ["key", "value", "encoding", "version", "ttl_ms"]);
    assert_eq!(
        (&ran["value"], &ran["encoding"]),
        (&"v".into(), &"utf8".into())
    );
    assert!(ran["ttl_ms"].as_u64().unwrap() > 3_590_000);

    let ran = pair.run(["-o", "json", "get", "bin"]).code(0).json();
    assert_eq!(
        (&ran["value"], &ran["encoding"]),
        (&"/wA=".into(), &"base64".into())
    );
    assert!(ran["ttl_ms"].is_null());

    let several = pair.run(["-o", "json", "get", "k", "bin"]).code(0).json();
    assert_eq!(several.as_array().unwrap().len(), 2);
    let lines = pair.run(["-o", "jsonl", "get", "k", "bin"]).code(0);
    assert_eq!(lines.text().lines().count(), 2);
}

#[test]
fn data_and_messages_never_share_a_stream() {
    let pair = Pair::start();
    pair.ok("set a 1");
    let ran = pair.run(["get", "missing", "a"]).code(1);
    assert_eq!(ran.text(), "1\n");
    assert!(
        ran.stderr.starts_with("error[E_NOT_FOUND]: "),
        "{}",
        ran.stderr
    );
    let ran = pair.run(["-o", "json", "get", "missing"]).code(1);
    assert_eq!(ran.text(), "");
    let error = ran.json_error();
    assert_eq!(error["code"], "NOT_FOUND");
    assert!(error["message"].is_string() && error.get("hint").is_some());
}

#[test]
fn what_people_see_cannot_drive_their_terminal() {
    let pair = Pair::start();
    pair.run_with_input(["set", "evil", "-"], b"\x1b[2J\x07ok\nnext")
        .code(0);
    let ran = pair.run(["-o", "human", "get", "evil"]).code(0);
    assert_eq!(ran.text(), "\\x1b[2J\\x07ok\nnext\n");
    let ran = pair.run(["-o", "table", "scan", "--values"]).code(0);
    assert!(!ran.stdout.contains(&0x1b) && ran.text().contains("\\x1b[2J"));
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let home = tempfile::tempdir().unwrap();
    let stderr = |variables: &[(&str, &str)]| {
        let mut command = command(home.path());
        command
            .args(["--url", "nonsense://", "get", "k"])
            .envs(variables.iter().copied());
        finish(command, b"").code(2).stderr
    };
    assert!(!stderr(&[]).contains('\x1b'));
    assert!(stderr(&[("CLICOLOR_FORCE", "1")]).contains("\x1b[1;31merror"));
    assert!(!stderr(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn a_table_has_a_line_of_names_and_a_line_each() {
    let pair = Pair::start();
    pair.ok("mset a 1 b 2");
    let ran = pair.run(["-o", "table", "scan", "--values"]).code(0);
    let lines: Vec<Vec<&str>> = ran
        .text()
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["key", "value", "version", "ttl"]);
    assert_eq!(lines[1], ["a", "1", "1", "-"]);
    assert_eq!(lines.len(), 3);
}
