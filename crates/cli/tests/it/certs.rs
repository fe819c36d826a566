//! Certificates: made by the program, taken by the server as printed, checked by both sides.

use std::path::Path;

use kv_testkit::process::ServerProcess;

use crate::support::{Ran, command, finish, offline};

/// A server with exactly the configuration that `certs init` prints.
fn tls_server() -> ServerProcess {
    let home = tempfile::tempdir().unwrap();
    let snippet = offline(home.path(), ["certs", "init", "certs", "--client", "app1"]).code(0);
    std::fs::write(home.path().join("kv.toml"), snippet.text()).unwrap();
    ServerProcess::start_in(home, ["-c", "kv.toml"])
}

fn run(server: &ServerProcess, host: &str, line: &str) -> Ran {
    let mut command = command(server.home());
    command
        .args([
            "--url",
            &format!("kvs://{host}:{}", server.address().port()),
        ])
        .args(line.split(' '));
    finish(command, b"")
}

const MINE: &str = "--ca certs/ca.crt --cert certs/client.crt --cert-key certs/client.key";

#[test]
fn server_and_client_work_with_what_was_printed() {
    let server = tls_server();
    for host in ["127.0.0.1", "localhost"] {
        run(&server, host, &format!("{MINE} set k v")).code(0);
        assert_eq!(
            run(&server, host, &format!("{MINE} get k")).code(0).text(),
            "v"
        );
    }
    let ran = run(
        &server,
        "127.0.0.1",
        &format!("{MINE} --suite encrypted get k"),
    )
    .code(0);
    assert_eq!(ran.text(), "v");
    let doctor = run(&server, "localhost", &format!("{MINE} doctor")).code(0);
    for part in [
        "ok\ttls\tTLS 1.3",
        "DNS:localhost",
        "issued by CN=kv authority",
        "as `app1`",
    ] {
        assert!(doctor.text().contains(part), "{part}: {}", doctor.text());
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_with_its_fix() {
    let server = tls_server();
    offline(server.home(), ["certs", "init", "other"]).code(0);
    let port = server.address().port();
    let cases = [
        (format!("{MINE} --server-name example.org"), "--server-name"),
        (MINE.replace("certs/ca.crt", "other/ca.crt"), "--ca"),
        ("--ca certs/ca.crt".to_owned(), "--cert"),
        (
            MINE.replace("certs/client", "other/client"),
            "does not accept the client certificate",
        ),
    ];
    for (options, fix) in cases {
        let ran = run(&server, "localhost", &format!("{options} get k")).code(4);
        assert!(ran.stderr.contains("E_TLS"), "{options}: {}", ran.stderr);
        assert!(ran.stderr.contains(fix), "{options}: {}", ran.stderr);
        let doctor = run(&server, "localhost", &format!("{options} doctor")).code(4);
        assert!(doctor.text().contains("failed\t"), "{}", doctor.text());
        assert!(doctor.text().contains(fix), "{options}: {}", doctor.text());
    }
    // Without TLS, to a port that wants it.
    let url = format!("kv://127.0.0.1:{port}");
    let doctor = offline(server.home(), ["--url", &url, "doctor"]).code(4);
    assert!(
        doctor.text().contains(&format!("kvs://127.0.0.1:{port}")),
        "{}",
        doctor.text()
    );
}

#[test]
fn certificates_are_not_overwritten_by_accident() {
    let home = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(home.path().join("c").join(name)).unwrap();
    offline(home.path(), ["certs", "init", "c"]).code(0);
    let before = read("ca.crt");
    offline(home.path(), ["certs", "init", "c"]).code(2);
    assert_eq!(read("ca.crt"), before);
    offline(home.path(), ["certs", "init", "c", "--force"]).code(0);
    assert_ne!(read("ca.crt"), before);
    for name in ["ca.key", "server.key", "client.key"] {
        assert_eq!(mode(&home.path().join("c").join(name)), 0o600);
    }
    // One file of a set that is gone is no reason to mix two sets.
    std::fs::remove_file(home.path().join("c/client.crt")).unwrap();
    offline(home.path(), ["certs", "init", "c"]).code(2);
    offline(home.path(), ["certs", "init", "d", "--host", "a b"]).code(2);
    assert!(!home.path().join("d").exists());
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_shown_with_what_matters() {
    let home = tempfile::tempdir().unwrap();
    let hosts = [
        "--host",
        "db.example.org",
        "--host",
        "10.0.0.7",
        "--days",
        "30",
    ];
    offline(home.path(), ["certs", "init", "c"].iter().chain(&hosts)).code(0);
    let ran = offline(home.path(), ["-o", "json", "certs", "show", "c/server.crt"])
        .code(0)
        .json();
    let server = &ran[0];
    assert_eq!(server["ca"], false);
    assert_eq!(
        server["names"],
        serde_json::json!(["DNS:db.example.org", "IP:10.0.0.7"])
    );
    assert_eq!(
        server["purposes"],
        serde_json::json!(["server authentication"])
    );
    assert_eq!(server["in_force"], true);
    let human = offline(home.path(), ["certs", "show", "c/ca.crt"]).code(0);
    assert!(human.text().contains("authority yes") && human.text().contains("300 days left"));
    offline(home.path(), ["certs", "show", "c/server.key"]).code(2);
    offline(home.path(), ["certs", "show", "missing"]).code(2);
}
