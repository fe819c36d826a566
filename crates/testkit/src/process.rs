//! The real server as a process of its own, with nothing of this machine's environment.
//!
//! Owns the process: it ends with the value. Its output is read all the time, so that it can never
//! stand still over a full pipe, and is shown when a test fails. The binary stands beside the tests'
//! own; it is built when it is missing or older than its sources.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test helper: what fails here is a failed test"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tempfile::TempDir;

/// Far beyond what anything in a test takes, so that only what hangs is hit by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Crates that the server is made of.
const SOURCES: [&str; 6] = ["proto", "log", "base", "store", "service", "server"];

/// A running server.
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    home: TempDir,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl ServerProcess {
    /// Starts the server on a port of its choice, with `arguments` on top, and waits until it listens.
    /// Its store is in memory unless `--set storage.engine=disk` is among them. Its state, such as the key it makes, is below a home directory of its own.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// As [`start`](Self::start), in a home directory that has been made ready.
    #[track_caller]
    pub fn start_in<S: AsRef<OsStr>>(
        home: TempDir,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = Command::new(server_binary());
        command
            .args(["--address", "127.0.0.1:0", "--log-format", "json"])
            .args(["--set", "listeners.admin.enabled=false"])
            .args(["--set", "storage.engine=memory"])
            .args(arguments)
            .env_clear()
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        set_home(&mut command, home.path());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, addresses) = mpsc::sync_channel(1);
        let readers = vec![
            drain(child.stdout.take().unwrap(), Arc::clone(&log), None),
            drain(child.stderr.take().unwrap(), Arc::clone(&log), Some(lines)),
        ];
        match listening(&addresses) {
            Some(address) => Self {
                child,
                address,
                home,
                log,
                readers,
            },
            None => {
                let _ = child.kill();
                let status = child.wait();
                finish(readers);
                fail(&format!(
                    "the server did not start: {status:?}\n{}",
                    log.lock()
                ))
            }
        }
    }

    /// Where its native listener is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The home directory of its account.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has written so far, both streams together.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Ends it at once and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        finish(std::mem::take(&mut self.readers));
        status
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The child is ended by the id that only its parent can reuse.
        let _ = self.child.kill();
        let _ = self.child.wait();
        finish(std::mem::take(&mut self.readers));
        if thread::panicking() {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("the server said:\n{}\n", self.log.lock()).as_bytes(),
            );
        }
    }
}

/// Puts a program into a home directory of its own.
pub fn set_home(command: &mut Command, home: &Path) {
    command.env("HOME", home);
    for (variable, below) in [
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_STATE_HOME", "state"),
    ] {
        command.env(variable, home.join(below));
    }
}

#[expect(clippy::panic, reason = "a test without its server has failed")]
#[track_caller]
fn fail(text: &str) -> ! {
    panic!("{text}")
}

fn finish(readers: Vec<JoinHandle<()>>) {
    for reader in readers {
        let _ = reader.join();
    }
}

/// Reads a stream to its end, and tells the first address of the native listener that is in it.
fn drain(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    mut found: Option<mpsc::SyncSender<SocketAddr>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line);
            log.lock().push_str(&text);
            if let Some(address) = native_address(&text)
                && let Some(found) = found.take()
            {
                let _ = found.send(address);
            }
            line.clear();
        }
    })
}

fn listening(addresses: &Receiver<SocketAddr>) -> Option<SocketAddr> {
    addresses.recv_timeout(PATIENCE).ok()
}

/// The address in a log line that says that the native listener listens.
fn native_address(line: &str) -> Option<SocketAddr> {
    let is_it =
        line.contains("\"message\":\"listening\"") && line.contains("\"listener\":\"native\"");
    let (_, rest) = line.split_once("\"address\":\"").filter(|_| is_it)?;
    rest.split_once('"')?.0.parse().ok()
}

/// The server's binary of this build, built now if it has to be.
///
/// The path cannot be had from Cargo: that tells it to the tests of the package itself only.
#[track_caller]
pub fn server_binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let profile = test.parent().and_then(Path::parent).unwrap();
    let binary = profile.join(format!("kv-server{}", std::env::consts::EXE_SUFFIX));
    let built = fs::metadata(&binary).and_then(|meta| meta.modified()).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let newest = SOURCES
        .iter()
        .filter_map(|name| newest_in(&root.join("crates").join(name)))
        .max();
    if built.is_none() || built < newest {
        build(&root, profile);
    }
    binary
}

/// When anything below a directory of sources was changed last.
fn newest_in(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let name = entry.file_name();
            if meta.is_dir() {
                // Tests do not become part of the binary.
                return (name != "tests")
                    .then(|| newest_in(&entry.path()))
                    .flatten();
            }
            let is_source = [".rs", ".toml"]
                .iter()
                .any(|end| name.to_string_lossy().ends_with(end));
            is_source.then(|| meta.modified().ok()).flatten()
        })
        .max()
}

#[track_caller]
fn build(root: &Path, profile: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "kv-server",
            "--bin",
            "kv-server",
        ])
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(root);
    match profile.file_name().and_then(OsStr::to_str) {
        None | Some("debug") => {}
        Some("release") => {
            command.arg("--release");
        }
        Some(other) => {
            command.args(["--profile", other]);
        }
    }
    let started = Instant::now();
    let status = command.status().unwrap();
    if !status.success() {
        fail(&format!(
            "cannot build kv-server: {status} after {:?}",
            started.elapsed()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_the_native_listener_tells_its_address() {
        let line = |message: &str, listener: &str| {
            format!(
                "{{\"level\":\"INFO\",\"message\":\"{message}\",\"listener\":\"{listener}\",\
                 \"address\":\"127.0.0.1:41\",\"tls\":false}}\n"
            )
        };
        let found = native_address(&line("listening", "native"));
        assert_eq!(found, Some("127.0.0.1:41".parse().unwrap()));
        assert_eq!(native_address(&line("listening", "admin")), None);
        assert_eq!(native_address(&line("ready", "native")), None);
    }
}
