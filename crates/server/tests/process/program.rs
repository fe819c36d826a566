//! A running `kv-server`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kv_proto::{Secret, Suite};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const KEY: [u8; 32] = [0x5A; 32];

/// The lines of standard error so far, and whether there will be more.
#[derive(Default)]
struct Lines {
    seen: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

pub(crate) struct Program {
    child: Child,
    lines: Arc<Lines>,
    reader: Option<JoinHandle<()>>,
    ended: Option<Receiver<ExitStatus>>,
    directory: tempfile::TempDir,
}

/// How a process ended, and everything it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

pub(crate) fn write_key(directory: &Path, secret: &[u8; 32]) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("app.key");
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&path, digits).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with a key, a port of the system's choice, and these sections. The store is in
/// memory unless they say another.
pub(crate) fn config(sections: &str) -> String {
    let storage = if sections.contains("[storage]") {
        ""
    } else {
        "[storage]\nengine = \"memory\"\n"
    };
    format!(
        "[listeners.native]\naddress = \"127.0.0.1:0\"\n[listeners.admin]\nenabled = false\n\
         [log]\nformat = \"json\"\n{storage}{sections}\n\
         [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n"
    )
}

impl Program {
    /// Starts it with a configuration; what happens then is the test's.
    pub(crate) fn spawn(config: &str, descriptors: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_key(directory.path(), &KEY);
        let file = directory.path().join("server.toml");
        std::fs::write(&file, config).unwrap();
        let binary = env!("CARGO_BIN_EXE_kv-server");
        let mut command = match descriptors {
            None => Command::new(binary),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    &format!("ulimit -n {limit} && exec \"$0\" \"$@\""),
                    binary,
                ]);
                shell
            }
        };
        let mut child = command
            .arg("--config")
            .arg(&file)
            .env_remove("KV_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Lines::default());
        let into = Arc::clone(&lines);
        let stderr = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.seen.lock().unwrap().0.push(line);
                into.more.notify_all();
            }
            into.seen.lock().unwrap().1 = true;
            into.more.notify_all();
        });
        Self {
            child,
            lines,
            reader: Some(reader),
            ended: None,
            directory,
        }
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(sections: &str) -> (Self, SocketAddr) {
        Self::start_with(sections, None)
    }

    pub(crate) fn start_with(sections: &str, descriptors: Option<u64>) -> (Self, SocketAddr) {
        let program = Self::spawn(&config(sections), descriptors);
        let line = program.line("\"listener\":\"native\"", 1);
        let (_, rest) = line.split_once("\"address\":\"").unwrap();
        let address = rest.split('"').next().unwrap().parse().unwrap();
        program.line("\"ready\"", 1);
        (program, address)
    }

    /// Waits for the `count`-th line that has this text.
    #[track_caller]
    pub(crate) fn line(&self, text: &str, count: usize) -> String {
        let began = Instant::now();
        let mut seen = self.lines.seen.lock().unwrap();
        loop {
            let found = seen
                .0
                .iter()
                .filter(|line| line.contains(text))
                .nth(count - 1);
            if let Some(found) = found {
                return found.clone();
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(
                !seen.1 && !left.is_zero(),
                "no line {count} with {text} in {:#?}",
                seen.0
            );
            seen = self.lines.more.wait_timeout(seen, left).unwrap().0;
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let reader = self.reader.take().unwrap();
        // Its standard error ends with it.
        let (done, ended) = channel();
        std::thread::spawn(move || done.send(reader.join().is_ok()));
        let ended = ended.recv_timeout(PATIENCE);
        assert!(
            ended.is_ok(),
            "it does not end: {:#?}",
            self.lines.seen.lock().unwrap().0
        );
        self.ended = None;
        let status = self.child.wait().unwrap();
        let said = self.lines.seen.lock().unwrap().0.join("\n");
        Ended {
            code: status.code(),
            said,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session with the key.
pub(crate) async fn session(address: SocketAddr) -> RawClient<TcpStream> {
    within(try_session(address, &KEY)).await.unwrap()
}

pub(crate) async fn try_session(
    address: SocketAddr,
    key: &[u8],
) -> std::io::Result<RawClient<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let settings = raw::settings(Some(("app", Secret::new(key))), &[Suite::Hmac]);
    RawClient::connect(stream, settings).await
}
