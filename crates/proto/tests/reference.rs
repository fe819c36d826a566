//! The implementation in Python (`docs/protocol/reference`): that what it makes is current, and that its
//! client and its server, written from the specification alone, understand each other.
//!
//! Needs python3. Without it the tests say so and pass, except where the environment variable `CI` is
//! set: there it must be installed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that says what is missing"
)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn docs(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(path)
}

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

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(docs(script));
    command
}

/// Runs to the end and gives what was printed; fails with both streams otherwise.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
    out.into_owned()
}

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn vectors_and_sample_are_what_the_reference_makes() {
    if installed() {
        run(python("protocol/reference/generate.py").arg("--check"));
        run(python("wireshark/sample.py").arg("--check"));
    }
}

#[test]
fn client_and_server_of_the_reference_keep_to_the_specification() {
    if !installed() {
        return;
    }
    let key = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reference.key");
    std::fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
    for keyed in [true, false] {
        let mut command = python("protocol/reference/server.py");
        command.args(["--port", "0"]);
        if keyed {
            command.arg("--key-file").arg(&key);
        }
        let mut server = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        let mut client = python("protocol/reference/client.py");
        client.args(["--url", &format!("kv://dev@{address}")]);
        if keyed {
            client.arg("--key-file").arg(&key);
        } else {
            client.arg("--anonymous");
        }
        let done = run(client.arg("smoke"));
        assert!(done.lines().count() > 30, "{done}");
        assert!(done.lines().all(|line| line.starts_with("ok: ")), "{done}");
        for suite in if keyed { &["1", "2"][..] } else { &["1"] } {
            let mut checks = python("protocol/reference/conformance.py");
            checks.args(["--url", &format!("kv://dev@{address}"), "--suite", suite]);
            if keyed {
                checks.arg("--key-file").arg(&key);
            }
            let done = run(&mut checks);
            assert!(done.lines().count() > 50, "{done}");
        }
    }
}
