//! The prompt: from a pipe, and on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kv_testkit::process::ServerProcess;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::Pair;

#[test]
fn lines_from_a_pipe_are_commands_over_one_connection() {
    let pair = Pair::start();
    let script = "\
# a comment
set greeting 'hello world'
get greeting

set bytes \"\\x00\\xff\"
\\format json
get greeting
mset a 1 \\
b 2
get missing
incr n
set lines 'one
two'
";
    let ran = pair.run_with_input(["repl"], script.as_bytes()).code(1);
    let stdout = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(stdout.contains("hello world"), "{stdout}");
    assert!(stdout.contains(r#""value":"hello world""#), "{stdout}");
    // The line behind one that failed was done, too.
    assert!(stdout.contains(r#"{"key":"n","value":1}"#), "{stdout}");
    assert!(ran.stderr.contains("NOT_FOUND"), "{}", ran.stderr);
    assert_eq!(pair.run(["get", "bytes"]).code(0).stdout, b"\x00\xff");
    assert_eq!(pair.ok("get lines"), "one\ntwo");
    let clients = pair.run(["-o", "json", "info", "clients"]).code(0);
    assert_eq!(clients.json()["clients"]["connections"], 1);
}

#[test]
fn a_line_that_is_wrong_does_not_end_the_prompt() {
    let pair = Pair::start();
    let script = b"gett a\nset\nrepl\n\\nonsense\n--url kv://x get a\nset k -\nget 'open\n";
    let ran = pair.run_with_input(["repl"], script).code(2);
    assert_eq!(
        ran.stderr.matches("error[E_USAGE]").count(),
        7,
        "{}",
        ran.stderr
    );
    let ran = pair
        .run_with_input(["repl"], b"set a 1\n\\quit\nset a 2\n")
        .code(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(pair.ok("get a"), "1");
}

/// The program on a terminal.
struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl OnTerminal {
    fn start(pair: &Pair, address: SocketAddr) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let side = || {
            let file = File::options().read(true).write(true).open(&name).unwrap();
            Stdio::from(file)
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv-cli"));
        let child = command
            .env_clear()
            .env("TERM", "xterm")
            .env("HOME", pair.server.home())
            .env("XDG_STATE_HOME", pair.server.home().join("state"))
            .env("KV_URL", format!("kv://{address}"))
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal ends with its last user: that is an error here.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: String::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` comes, behind what was waited for before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.screen.recv_timeout(left) else {
                panic!("`{text}` did not come: {:?}", self.seen);
            };
            self.seen += &String::from_utf8_lossy(&bytes);
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn on_a_terminal_there_is_a_prompt_with_history_that_keeps_no_secrets() {
    let pair = Pair::start();
    let mut terminal = OnTerminal::start(&pair, pair.server.address());
    terminal.expect("kv://127.0.0.1");
    terminal.type_in("set db:password hunter2\r");
    terminal.expect("stored as version 1");
    terminal.expect("> ");
    terminal.type_in("\\timing on\r");
    terminal.expect("timing is on");
    terminal.expect("> ");
    // Tab completes the command; the value is shown with its line end.
    terminal.type_in("exi\tdb:password\r");
    terminal.expect("yes\r\n");
    terminal.expect("time: ");
    terminal.expect("> ");
    terminal.type_in(" get hidden\r");
    terminal.expect("E_NOT_FOUND");
    terminal.expect("> ");
    terminal.type_in("\x04");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));

    let path = pair.server.home().join("state/kv/history");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let history = std::fs::read_to_string(&path).unwrap();
    assert!(history.contains("set db:password ***"), "{history}");
    assert!(history.contains("exists db:password"), "{history}");
    assert!(
        !history.contains("hunter2") && !history.contains("hidden"),
        "{history}"
    );
}

/// An address behind which the server may change.
struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let current = Arc::clone(&target);
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let target = *current.lock().unwrap();
                // Without a target the connection just ends.
                if let Ok(far) = TcpStream::connect(target) {
                    pump(near.try_clone().unwrap(), far.try_clone().unwrap());
                    pump(far, near);
                }
            }
        });
        Self { address, target }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_prompt_finds_a_server_that_came_back() {
    let mut pair = Pair::start();
    let relay = Relay::start(pair.server.address());
    let mut terminal = OnTerminal::start(&pair, relay.address);
    terminal.expect("> ");
    terminal.type_in("set k v\r");
    terminal.expect("stored as version 1");
    pair.server.kill();
    terminal.expect("> ");
    terminal.type_in("get k\r");
    terminal.expect("error[E_");
    terminal.expect("> ");

    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state/kv");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::copy(
        pair.server.home().join("state/kv/dev.key"),
        state.join("dev.key"),
    )
    .unwrap();
    let again = ServerProcess::start_in::<&str>(home, []);
    *relay.target.lock().unwrap() = again.address();
    terminal.type_in("incr again\r");
    terminal.expect("1\r\n");
}
