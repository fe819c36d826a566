//! SIGTERM, SIGINT, SIGHUP.

use kv_proto::{Opcode, OpcodeByte};
use kv_testkit::wait::within;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::program::{KEY, Program, session, try_session, write_key};

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

/// A client in the middle of its handshake, which a drain waits for.
async fn half_open(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0xCA]).await.unwrap();
    // Accepted in order: when this one is served, the other has been.
    session(address).await;
    stream
}

const PATIENT: &str =
    "[limits]\nauthentication_timeout = \"50m\"\n[shutdown]\ndrain_timeout = \"50m\"";

#[tokio::test]
async fn the_second_signal_ends_it_at_once_with_6() {
    let (program, address) = Program::start(PATIENT);
    let _half = half_open(address).await;
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
    let _half = half_open(address).await;
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
    program.line("keys reloaded", 1);
    within(old.rest()).await;
    assert!(within(try_session(address, &KEY)).await.is_err());
    let mut new = within(try_session(address, &[0x77; 32])).await.unwrap();
    std::fs::write(program.file("app.key"), "no key").unwrap();
    program.signal(Signal::HUP);
    program.line("keys not reloaded", 1);
    new.set(b"k", b"v").await.unwrap();
    within(try_session(address, &[0x77; 32])).await.unwrap();
    drop(new);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code, Some(0));
}
