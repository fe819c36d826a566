//! The program from outside: flags, exit codes, the first start, metrics, a signal.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

/// The program with nothing of this machine's environment but where the test keeps its state.
fn program(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-server"));
    command
        .env_clear()
        .env("XDG_STATE_HOME", state)
        .current_dir(state)
        .stdin(Stdio::null());
    command
}

/// Runs to the end: exit code, stdout, stderr.
fn finished(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let state = tempfile::tempdir().unwrap();
    finished(program(state.path()).args(arguments))
}

#[test]
fn the_default_file_is_printed_and_is_valid() {
    let state = tempfile::tempdir().unwrap();
    let (code, file, _) = finished(program(state.path()).arg("--print-default-config"));
    assert_eq!(code, 0);
    let path = state.path().join("kv.toml");
    std::fs::write(&path, file).unwrap();
    let (code, out, err) =
        finished(program(state.path()).args(["--check-config", "--config", "kv.toml"]));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        !state.path().join("kv/dev.key").exists(),
        "a check makes no key"
    );
}

#[test]
fn a_wrong_command_line_is_2_and_a_wrong_configuration_3() {
    let (code, out, _) = run(&["--nonsense"]);
    assert_eq!((code, out.as_str()), (2, ""));

    let (code, out, err) = run(&["--set", "limits.max_conections=5", "--address", "nowhere"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(
        err.contains("did you mean `limits.max_connections`?"),
        "{err}"
    );
    assert!(
        err.contains("in the flag --address") && err.contains("2 mistakes"),
        "{err}"
    );
}

#[test]
fn the_configuration_in_force_says_where_it_comes_from() {
    let state = tempfile::tempdir().unwrap();
    let (code, out, _) = finished(
        program(state.path())
            .env("KVCFG__SHUTDOWN__DRAIN_TIMEOUT", "7s")
            .args(["--print-config", "--sources", "-v"]),
    );
    assert_eq!(code, 0);
    for line in [
        "drain_timeout = \"7s\"  # $KVCFG__SHUTDOWN__DRAIN_TIMEOUT",
        "level = \"debug\"  # -v",
        "backlog = 1024  # default",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
}

#[test]
fn certificates_that_cannot_serve_are_3_also_when_only_checked() {
    let state = tempfile::tempdir().unwrap();
    let authority = kv_testkit::certs::Authority::new("kv test");
    let leaf = authority.expired_server();
    let _ = leaf.write(state.path(), "server");
    let file = "[listeners.native]\naddress = \"127.0.0.1:0\"\ntls = true\n\
                [tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"\n";
    std::fs::write(state.path().join("kv.toml"), file).unwrap();
    for flag in ["--check-config", "-q"] {
        let (code, _, err) = finished(program(state.path()).args(["-c", "kv.toml", flag]));
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("expired"), "{err}");
    }
}

#[test]
fn an_address_that_is_taken_is_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) = run(&[
        "--address",
        &address,
        "--set",
        "listeners.admin.enabled=false",
    ]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains(&address), "{err}");
}

#[test]
fn a_damaged_key_of_the_first_start_is_3_and_stays() {
    let state = tempfile::tempdir().unwrap();
    let key = state.path().join("kv/dev.key");
    std::fs::create_dir(key.parent().unwrap()).unwrap();
    std::fs::write(&key, "").unwrap();
    let (code, _, err) = finished(program(state.path()).args(["--address", "127.0.0.1:0"]));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("dev.key") && err.contains("empty"), "{err}");
    assert_eq!(std::fs::read(&key).unwrap(), b"");
}

#[test]
fn a_health_check_of_nothing_is_1() {
    // Bound and not listening for long: nobody answers at this port.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let admin = format!("listeners.admin.address={address}");
    let (code, _, err) = run(&["--set", &admin, "healthcheck", "--timeout-ms", "500"]);
    assert_eq!(code, 1, "{err}");
}

/// A server that runs, with the addresses it said.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    native: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(state: &Path) -> Self {
        let mut child = program(state)
            .args(["--address", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let [native, admin] = ["native", "admin"].map(|listener| {
            let named = format!("\"listener\":\"{listener}\"");
            loop {
                let mut line = String::new();
                assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended early");
                if let Some((_, rest)) = line.split_once("\"address\":\"")
                    && line.contains(&named)
                {
                    break rest.split('"').next().unwrap().parse().unwrap();
                }
            }
        });
        loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended early");
            if line.contains("\"message\":\"ready\"") {
                break;
            }
        }
        Self {
            child,
            log,
            native,
            admin,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a signal by its name and waits for the end, with the log drained.
    fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

#[test]
fn a_first_start_makes_a_key_answers_operators_and_stops_at_a_signal() {
    let state = tempfile::tempdir().unwrap();
    let server = Running::start(state.path());
    let key = std::fs::read_to_string(state.path().join("kv/dev.key")).unwrap();
    assert_eq!(key.trim().len(), 64);
    let data = std::fs::metadata(state.path().join("kv/data")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777,
        0o700
    );
    drop(TcpStream::connect(server.native).unwrap());

    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz?verbose").contains("[+] not_draining"));
    let metrics = server.get("/metrics");
    for family in [
        "kv_build_info{",
        "kv_start_time_seconds ",
        "process_resident_memory_bytes ",
        "kv_connections{listener=\"native\"}",
        "kv_requests_total{",
        "kv_memory_limit_bytes ",
        "kv_keys 0",
        "kv_storage_health{state=\"good\"} 1",
        "kv_wal_fsync_duration_seconds_bucket{",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(family)),
            "{family}\n{metrics}"
        );
    }
    let admin = format!("listeners.admin.address={}", server.admin);
    let arguments = ["--set", &admin, "healthcheck"];
    let (code, _, err) = finished(program(state.path()).args(arguments));
    assert_eq!(code, 0, "{err}");

    let (status, log) = server.end("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("draining"), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");

    let again = Running::start(state.path());
    let same = std::fs::read_to_string(state.path().join("kv/dev.key")).unwrap();
    assert_eq!(same, key, "the second start finds the key of the first");
    assert_eq!(again.end("INT").0.code(), Some(0));
}
