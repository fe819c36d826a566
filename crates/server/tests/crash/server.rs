//! A server on a data directory that outlives it: started, killed, started again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kv_client::{MultiplexedClient, Secret};
use kv_testkit::wait::within;
use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: [u8; 32] = [0x5A; 32];
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_kv-server");

/// What a server is started with, again and again.
pub(crate) struct Setup {
    home: tempfile::TempDir,
    data: PathBuf,
    storage: String,
}

impl Setup {
    /// A data directory of its own, and these lines in `[storage]`.
    pub(crate) fn new(storage: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().canonicalize().unwrap().join("data");
        Self::on(home, data, storage)
    }

    /// A data directory somewhere else.
    pub(crate) fn at(data: PathBuf, storage: &str) -> Self {
        Self::on(tempfile::tempdir().unwrap(), data, storage)
    }

    fn on(home: tempfile::TempDir, data: PathBuf, storage: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let key = home.path().join("app.key");
        let digits: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&key, digits).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let setup = Self {
            home,
            data,
            storage: storage.to_owned(),
        };
        setup.write("");
        setup
    }

    /// The configuration, with more lines in `[storage]`.
    pub(crate) fn write(&self, more: &str) {
        let storage = &self.storage;
        let data_dir = if storage.contains("\"memory\"") {
            String::new()
        } else {
            format!("data_dir = {:?}\n", self.data.to_str().unwrap())
        };
        let config = format!(
            "[listeners.native]\naddress = \"127.0.0.1:0\"\n[listeners.admin]\nenabled = false\n\
             [log]\nformat = \"json\"\n[storage]\n{data_dir}{storage}\n{more}\n\
             [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n"
        );
        std::fs::write(self.home.path().join("server.toml"), config).unwrap();
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A file beside the data.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(name)
    }

    /// Starts it; what happens then is the test's.
    pub(crate) fn spawn(&self) -> Server {
        self.spawn_as(Command::new(BINARY))
    }

    /// Starts it with a command that ends in the name of the program.
    pub(crate) fn spawn_as(&self, mut command: Command) -> Server {
        command
            .arg("--config")
            .arg(self.home.path().join("server.toml"))
            .env_remove("KV_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Server::of(command.spawn().unwrap())
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        match self.spawn().ready() {
            Ok(server) => server,
            Err(ended) => panic!("it did not start: {ended:?}"),
        }
    }
}

#[derive(Default)]
struct Lines {
    seen: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// A server that runs, or is about to.
pub(crate) struct Server {
    child: Child,
    lines: Arc<Lines>,
    over: Receiver<()>,
}

/// How a process ended, and everything it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

impl Server {
    fn of(mut child: Child) -> Self {
        let lines = Arc::new(Lines::default());
        let into = Arc::clone(&lines);
        let stderr = child.stderr.take().unwrap();
        let (done, over) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.seen.lock().unwrap().0.push(line);
                into.more.notify_all();
            }
            into.seen.lock().unwrap().1 = true;
            into.more.notify_all();
            let _ = done.send(());
        });
        Self { child, lines, over }
    }

    /// Waits until it serves, or has ended.
    pub(crate) fn ready(self) -> Result<Self, Ended> {
        let mut seen = self.lines.seen.lock().unwrap();
        let is_ready = loop {
            if seen.0.iter().any(|line| line.contains("\"ready\"")) {
                break true;
            }
            if seen.1 {
                break false;
            }
            let (guard, waited) = self.lines.more.wait_timeout(seen, PATIENCE).unwrap();
            seen = guard;
            assert!(
                !waited.timed_out(),
                "neither ready nor ended: {:#?}",
                seen.0
            );
        };
        drop(seen);
        if is_ready { Ok(self) } else { Err(self.wait()) }
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        let seen = self.lines.seen.lock().unwrap();
        let line = seen
            .0
            .iter()
            .find(|line| line.contains("\"listener\":\"native\""))
            .unwrap();
        let (_, rest) = line.split_once("\"address\":\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    }

    /// A session; when its connection is lost it stays lost.
    pub(crate) async fn client(&self) -> Result<MultiplexedClient, kv_client::Error> {
        within(
            MultiplexedClient::builder()
                .key("app", Secret::new(&KEY))
                .no_reconnect()
                .request_timeout(PATIENCE)
                .connect(self.address().to_string()),
        )
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // Who has not been waited for is still there, if only by its id.
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as `kill -9` does, and waits for its end.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Asks it to end, and waits for its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself; it must.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        // Its standard error ends with it.
        let over = self.over.recv_timeout(PATIENCE);
        let said = self.lines.seen.lock().unwrap().0.join("\n");
        assert!(over.is_ok(), "it does not end: {said}");
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            said,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
