//! `doctor` on the way to servers that are well, ill and absent.

use std::net::TcpListener;

use crate::support::{Pair, offline};

#[test]
fn a_healthy_way_is_all_ok() {
    let pair = Pair::start();
    let steps = pair.run(["-o", "json", "doctor"]).code(0).json();
    let steps: Vec<(&str, &str)> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            (
                step["step"].as_str().unwrap(),
                step["state"].as_str().unwrap(),
            )
        })
        .collect();
    let names = ["key", "dns", "tcp", "session", "round trip", "clock"];
    assert_eq!(steps, names.map(|name| (name, "ok")));
    assert!(pair.ok("-o human doctor").contains("as `dev`"));
}

#[test]
fn it_stops_where_the_way_ends_and_says_how_to_get_further() {
    let pair = Pair::start();
    let home = pair.server.home();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = format!("kv://127.0.0.1:{port}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("kv://{}", silent.local_addr().unwrap());
    let here = format!("kv://{}", pair.server.address());
    offline(home, ["keygen", "--out", "wrong.key"]).code(0);
    for (options, code, failed, fix) in [
        (vec!["--url", &nobody], 4, "tcp", "is the server running"),
        (
            vec!["--url", &silent, "--timeout", "100ms"],
            6,
            "session",
            "is it a kv server",
        ),
        (
            vec!["--url", "kv://host.invalid"],
            4,
            "dns",
            "check the name",
        ),
        (
            vec!["--url", &here, "--key-file", "wrong.key"],
            5,
            "session",
            "--fingerprint",
        ),
        (
            vec!["--url", &here, "--key-file", "none.key"],
            5,
            "key",
            "keygen",
        ),
    ] {
        let arguments = options.iter().copied().chain(["-o", "jsonl", "doctor"]);
        let ran = offline(home, arguments).code(code);
        let last: serde_json::Value =
            serde_json::from_str(ran.text().lines().last().unwrap()).unwrap();
        assert_eq!(last["step"], failed, "{options:?} {last}");
        assert_eq!(last["state"], "failed");
        assert!(
            last["fix"].as_str().unwrap().contains(fix),
            "{options:?} {last}"
        );
    }
}

#[test]
fn a_key_that_others_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::start();
    let key = pair.server.home().join("state/kv/dev.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let ran = pair.run(["-o", "jsonl", "doctor"]).code(0);
    let first: serde_json::Value =
        serde_json::from_str(ran.text().lines().next().unwrap()).unwrap();
    assert_eq!(first["state"], "warning");
    assert!(first["fix"].as_str().unwrap().starts_with("chmod 600"));
}
