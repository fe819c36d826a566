//! The server against the implementation in Python that was written from the specification alone
//! (`docs/protocol/reference`): its client doing real work, and its conformance script sending what a
//! client must not send, in every suite and in version 1.
//!
//! Needs python3. Without it the tests say so and pass, except where the environment variable `CI` is
//! set: there it must be installed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that says what is missing"
)]

use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

const CONFIG: &str = r#"
[listeners.native]
address = "127.0.0.1:0"

[listeners.admin]
enabled = false

[storage]
engine = "memory"

[log]
format = "json"

[protocol]
suites = ["hmac-sha256", "x25519-aes256ctr-hmac-sha256", "checksum"]
v1 = true
v1_key = "small"

[auth]
anonymous = ["read", "write", "scan", "observe"]

[[auth.keys]]
id = "dev"
secret_file = "dev.key"
roles = ["admin"]

[[auth.keys]]
id = "small"
secret_file = "small.key"
roles = ["writer"]
"#;

fn installed() -> bool {
    let found = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "python3 is not installed, and CI is set"
        );
        eprintln!("not checked: python3 is not installed");
    }
    found
}

/// The real program, with a configuration of its own and a port that the system chose.
struct Running {
    child: Child,
    /// Kept open, so that the server can go on logging.
    log: BufReader<ChildStderr>,
    url: String,
    directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(directory: &Path, name: &str, digits: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    std::fs::write(&path, format!("{}\n", digits.repeat(32))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn start() -> Running {
    let directory = tempfile::tempdir().unwrap();
    key(directory.path(), "dev.key", "5a");
    key(directory.path(), "small.key", "a5");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let config = CONFIG
        .replace("dev.key", &path("dev.key"))
        .replace("small.key", &path("small.key"));
    std::fs::write(path("server.toml"), config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kv-server"))
        .args(["--config", &path("server.toml")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "no address:\n{seen}");
        if let Some((_, rest)) = line.split_once(r#""address":"127.0.0.1:"#) {
            break rest.split('"').next().unwrap().to_owned();
        }
        seen.push_str(&line);
    };
    Running {
        child,
        log,
        url: format!("kv://dev@127.0.0.1:{address}"),
        directory,
    }
}

/// Runs a script of the reference to its end and gives what it printed.
fn python(server: &Running, script: &str, arguments: &[&str]) -> String {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/reference");
    let output = Command::new("python3")
        .arg("-B")
        .arg(scripts.join(script))
        .args(["--url", &server.url])
        .args(arguments)
        .current_dir(server.directory.path())
        .output()
        .unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    assert!(
        output.status.success(),
        "{script} {arguments:?}\n{out}{err}"
    );
    assert!(
        out.lines().count() > 30,
        "{script} did next to nothing:\n{out}"
    );
    out.into_owned()
}

#[test]
fn the_client_written_from_the_specification_does_its_work() {
    if installed() {
        let server = start();
        python(&server, "client.py", &["--key-file", "dev.key", "smoke"]);
        python(&server, "client.py", &["--anonymous", "smoke"]);
        drop(server);
    }
}

#[test]
fn the_server_keeps_to_the_specification_in_every_suite_and_version() {
    if installed() {
        let mut server = start();
        let keyed = ["--key-file", "dev.key", "--suite"];
        let suite_1 = [&keyed[..], &["1", "--v1-key-file", "small.key"]].concat();
        python(&server, "conformance.py", &suite_1);
        python(&server, "conformance.py", &[&keyed[..], &["2"]].concat());
        python(&server, "conformance.py", &[]);
        // It is still there, and has nothing to be sorry for.
        assert!(server.child.try_wait().unwrap().is_none());
        server.child.kill().unwrap();
        let rest = server.log.by_ref().lines().map_while(Result::ok);
        let panics: Vec<_> = rest.filter(|line| line.contains("panic")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    }
}
