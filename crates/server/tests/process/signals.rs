//! SIGTERM, SIGINT, SIGHUP.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kv_proto::{ErrorCode, Extensions, Opcode, OpcodeByte, Secret, Suite};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use crate::program::{KEY, Program, config, session, try_session, write_key};

#[tokio::test]
async fn the_first_signal_drains_and_ends_it_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (program, address) = Program::start("");
        let mut client = session(address).await;
        client.set(b"k", b"v").await.unwrap();
        program.signal(signal);
        let last = within(client.rest()).await;
        let last: Vec<_> = last.iter().map(|message| message.opcode).collect();
        assert_eq!(
            last,
            [Opcode::Goaway, Opcode::ServerGoodbye].map(OpcodeByte::from)
        );
        drop(client);
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }
}

/// A client that does not read what it asked for, which a drain waits for.
async fn deaf(address: SocketAddr) -> RawClient<TcpStream> {
    let mut client = session(address).await;
    client.set(b"k", &[1; 1 << 20]).await.unwrap();
    for id in 100..150 {
        client.queue(Opcode::Get, id, &Extensions::default(), b"k", &[]);
    }
    client.flush().await.unwrap();
    // The first answers have come, so that the others are on their way.
    assert_eq!(within(client.next()).await.unwrap().unwrap().id, 100);
    client
}

const PATIENT: &str =
    "[limits]\noutput_stall_timeout = \"50m\"\n[shutdown]\ndrain_timeout = \"50m\"";

#[tokio::test]
async fn the_second_signal_ends_it_at_once_with_6() {
    let (program, address) = Program::start(PATIENT);
    let _deaf = deaf(address).await;
    program.signal(Signal::TERM);
    program.line("draining", 1);
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code, Some(6), "{}", ended.said);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_it_with_6() {
    let (program, address) =
        Program::start(&PATIENT.replace("drain_timeout = \"50m\"", "drain_timeout = \"200ms\""));
    let _deaf = deaf(address).await;
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code, Some(6), "{}", ended.said);
}

#[tokio::test]
async fn a_hang_up_reads_keys_again_and_keeps_them_when_they_are_bad() {
    let (program, address) = Program::start("");
    let mut old = session(address).await;
    write_key(program.directory(), &[0x77; 32]);
    program.signal(Signal::HUP);
    program.line("configuration reloaded", 1);
    within(old.rest()).await;
    assert!(within(try_session(address, &KEY)).await.is_err());
    let mut new = within(try_session(address, &[0x77; 32])).await.unwrap();
    std::fs::write(program.file("app.key"), "no key").unwrap();
    program.signal(Signal::HUP);
    program.line("the configuration was not reloaded", 1);
    new.set(b"k", b"v").await.unwrap();
    within(try_session(address, &[0x77; 32])).await.unwrap();
    drop(new);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code, Some(0));
}

/// A session with the key `other`, which has the same secret.
async fn other(address: SocketAddr) -> std::io::Result<RawClient<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let settings = raw::settings(Some(("other", Secret::new(&KEY))), &[Suite::Hmac]);
    RawClient::connect(stream, settings).await
}

fn other_key(roles: &str) -> String {
    format!("[[auth.keys]]\nid = \"other\"\nsecret_file = \"app.key\"\nroles = [\"{roles}\"]\n")
}

/// C9, S11: what a hang-up changes in a server that runs, and what it says about the rest.
#[tokio::test]
async fn a_hang_up_reads_the_whole_configuration_again() {
    let (program, address) = Program::start(&other_key("writer"));
    let write = |text: &str| std::fs::write(program.file("server.toml"), text).unwrap();
    let (mut app, mut writer) = (
        session(address).await,
        within(other(address)).await.unwrap(),
    );
    writer.set(b"k", b"v").await.unwrap();

    // A permission that goes is gone in open sessions too.
    write(&config(&other_key("reader")));
    program.signal(Signal::HUP);
    program.line("configuration reloaded", 1);
    let line = program.line("auth.keys[\\\"other\\\"]", 1);
    assert!(line.contains("\"applied\""), "{line}");
    let plain = Extensions::default();
    let refused = within(writer.call(Opcode::Set, &plain, b"k", b"w")).await;
    assert_eq!(raw::code(&refused.unwrap()), ErrorCode::PermissionDenied);
    assert_eq!(writer.get(b"k").await.unwrap().unwrap(), b"v");

    // A mistake anywhere keeps everything as it is, and is named.
    write(&config("[limits]\nmax_conections = 5"));
    program.signal(Signal::HUP);
    let line = program.line("the configuration was not reloaded", 1);
    assert!(line.contains("did you mean `max_connections`?"), "{line}");
    assert_eq!(writer.get(b"k").await.unwrap().unwrap(), b"v");

    // A key that goes ends its sessions; what cannot change now is said to need a restart.
    write(&config(
        "[limits]\nmax_connections = 77\nmax_unauthenticated_connections = 77",
    ));
    let began = Instant::now();
    program.signal(Signal::HUP);
    let last = within(writer.rest()).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(last.len(), 1);
    assert_eq!(raw::code(&last[0]), ErrorCode::AuthFailed);
    assert!(within(other(address)).await.is_err());
    let line = program.line("\"limits.max_connections\"", 1);
    assert!(line.contains("needs restart"), "{line}");
    app.set(b"k", b"v2").await.unwrap();

    program.signal(Signal::TERM);
    within(app.rest()).await;
    drop((app, writer));
    assert_eq!(program.wait().code, Some(0));
}

/// The reader of the log has gone: lines that cannot be written must not end what handles signals.
#[test]
fn it_ends_when_asked_after_the_reader_of_its_log_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    write_key(directory.path(), &KEY);
    let file = directory.path().join("server.toml");
    std::fs::write(&file, config("")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kv-server"))
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("\"ready\"")));
    drop(log);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
