//! Each exit code that `--help` lists, met on purpose.

use std::net::TcpListener;

use crate::support::{Pair, command, finish, offline};

#[test]
fn zero_is_success_and_one_is_not_found() {
    let pair = Pair::start();
    pair.run(["set", "k", "v"]).code(0);
    pair.run(["get", "k"]).code(0);
    pair.run(["get", "nothing"]).code(1);
    pair.run(["exists", "nothing"]).code(1);
    pair.run(["del", "nothing"]).code(1);
}

#[test]
fn two_is_wrong_usage_without_asking_any_server() {
    let home = tempfile::tempdir().unwrap();
    for line in [
        "",
        "gett k",
        "get",
        "set k",
        "set k v --ttl 5",
        "set k v --if-absent --if-present",
        "set k --file does-not-exist",
        "--url http://x get k",
        "--url kv://x --ca ca.crt get k",
        "--url kvs://x get k",
        "--context nowhere get k",
        "keygen --fingerprint",
        "ping --count 0",
    ] {
        let ran = offline(home.path(), line.split(' ').filter(|word| !word.is_empty())).code(2);
        assert!(ran.stderr.starts_with("error[E_"), "{line}: {}", ran.stderr);
        assert_eq!(ran.text(), "", "{line}");
    }
    let ran = offline(home.path(), ["-o", "json", "get"]).code(2);
    assert_eq!(ran.json_error()["code"], "USAGE");
}

#[test]
fn three_is_an_error_of_the_server() {
    let pair = Pair::start();
    pair.ok("set word hello");
    pair.run(["incr", "word"]).code(3);
}

#[test]
fn four_is_no_connection() {
    let home = tempfile::tempdir().unwrap();
    // A port that was just given to this test and is free again.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("kv://127.0.0.1:{port}");
    let ran = offline(home.path(), ["--url", &url, "get", "k"]).code(4);
    assert!(ran.stderr.contains("nobody listens") && ran.stderr.contains("hint: "));

    // Somebody who speaks something else: every read of an HTTP server ends like this.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("kv://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, &b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(3))
    });
    offline(home.path(), ["--url", &url, "get", "k"]).code(4);
    other.join().unwrap().unwrap();
}

#[test]
fn five_is_a_wrong_key_or_a_missing_permission() {
    let pair = Pair::start();
    pair.run(["keygen", "--out", "wrong.key"]).code(0);
    let ran = pair.run(["--key-file", "wrong.key", "get", "k"]).code(5);
    assert!(ran.stderr.contains("E_AUTH_FAILED") && ran.stderr.contains("fingerprint"));
    pair.run(["--key-file", "missing.key", "get", "k"]).code(5);
    pair.run(["--key-id", "nobody", "get", "k"]).code(5);

    let home = tempfile::tempdir().unwrap();
    offline(home.path(), ["keygen", "--out", "reader.key"]).code(0);
    let config =
        "[[auth.keys]]\nid = \"reader\"\nsecret_file = \"reader.key\"\nroles = [\"reader\"]\n";
    std::fs::write(home.path().join("kv.toml"), config).unwrap();
    let key = home.path().join("reader.key");
    let server = kv_testkit::process::ServerProcess::start_in(home, ["-c", "kv.toml"]);
    let mut command = command(server.home());
    command
        .env("KV_URL", format!("kv://{}", server.address()))
        .env("KV_AUTH_KEY_FILE", key)
        .env("KV_AUTH_KEY_ID", "reader")
        .args(["set", "k", "v"]);
    let ran = finish(command, b"").code(5);
    assert!(ran.stderr.contains("E_PERMISSION_DENIED"), "{}", ran.stderr);
}

#[test]
fn six_is_no_answer_in_time() {
    let home = tempfile::tempdir().unwrap();
    // Connections are taken into the backlog, and nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("kv://{}", listener.local_addr().unwrap());
    let ran = offline(
        home.path(),
        ["--url", &url, "--timeout", "100ms", "get", "k"],
    )
    .code(6);
    assert!(ran.stderr.contains("E_TIMEOUT"), "{}", ran.stderr);
}

#[test]
fn seven_is_a_conflict() {
    let pair = Pair::start();
    pair.ok("set k v");
    pair.run(["set", "k", "w", "--if-version", "99"]).code(7);
}

#[test]
fn help_and_version_are_answers_and_go_to_standard_output() {
    let home = tempfile::tempdir().unwrap();
    let help = offline(home.path(), ["--help"]).code(0);
    for line in ["Exit codes:", "7  conflict", "Examples:", "Identity:"] {
        assert!(help.text().contains(line), "{line}");
    }
    let version = offline(home.path(), ["--version"]).code(0);
    for word in [env!("CARGO_PKG_VERSION"), "commit ", "features ", "target "] {
        assert!(version.text().contains(word), "{word}");
    }
    assert_eq!(help.stderr + &version.stderr, "");
}
