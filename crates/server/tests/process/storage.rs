//! The disk engine as operators see it: what outlives the process, who may open it, what is said.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kv_client::{MultiplexedClient, Secret};
use kv_testkit::wait::within;
use rustix::process::Signal;

use crate::program::{Ended, KEY, Program, config};

/// The data directory is locked, damaged, cut, newer or another's.
const UNUSABLE: Option<i32> = Some(5);

/// `[storage]` with a directory that outlives a server, and these lines.
fn on(directory: &Path, more: &str) -> String {
    format!("[storage]\nengine = \"disk\"\ndata_dir = {directory:?}\n{more}\n")
}

async fn client(address: std::net::SocketAddr) -> MultiplexedClient {
    let builder = MultiplexedClient::builder().key("app", Secret::new(&KEY));
    within(builder.connect(address.to_string())).await.unwrap()
}

fn stopped(program: Program) -> Ended {
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended
}

fn verify(directory: &Path, format: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kv-server"))
        .env_clear()
        .args(["verify", "--format", format, "--data-dir"])
        .arg(directory)
        .output()
        .unwrap()
}

/// S1: values, versions, times to live and deletions, after a stop in order and after a kill.
#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    let (program, address) = Program::start(&on(&directory, ""));
    let kv = client(address).await;
    let first = kv.set("first", "1").await.unwrap();
    kv.set("gone", "1").await.unwrap();
    kv.delete("gone").await.unwrap();
    let hour = Duration::from_secs(3600);
    let limited = kv.set("limited", "2").ttl(hour).await.unwrap();
    drop(kv);
    let ended = stopped(program);
    assert!(ended.said.contains("made a store"), "{}", ended.said);

    let mut last = limited.version;
    for ending in [Signal::TERM, Signal::KILL, Signal::TERM] {
        let (program, address) = Program::start(&on(&directory, ""));
        let line = program.line("opened the data directory", 1);
        assert!(line.contains("\"recovery_us\":"), "{line}");
        let ready = program.line("\"ready\"", 1);
        for part in [
            "\"durability\":\"always\"",
            "\"engine\":\"disk\"",
            "\"data_dir\":",
        ] {
            assert!(ready.contains(part), "{part} in {ready}");
        }
        let kv = client(address).await;
        let entry = kv.get_entry("first").await.unwrap().unwrap();
        assert_eq!(
            (&entry.value[..], entry.version),
            (b"1".as_slice(), first.version)
        );
        let entry = kv.get_entry("limited").await.unwrap().unwrap();
        assert_eq!(entry.version, limited.version);
        assert!(entry.ttl.unwrap() <= hour);
        assert!(kv.get("gone").await.unwrap().is_none());
        let next = kv.set("next", "3").await.unwrap().version;
        assert!(next > last, "{next} after {last}");
        last = next;
        drop(kv);
        program.signal(ending);
        program.wait();
    }
}

/// S9: one server at a time, and the second says so.
#[test]
fn a_directory_that_is_in_use_is_refused_with_5() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    let (first, _) = Program::start(&on(&directory, ""));
    let ended = Program::spawn(&config(&on(&directory, "")), None).wait();
    assert_eq!(ended.code, UNUSABLE, "{}", ended.said);
    assert!(
        ended.said.contains(directory.to_str().unwrap()),
        "{}",
        ended.said
    );
    let checked = verify(&directory, "human");
    assert_eq!(checked.status.code(), UNUSABLE, "{checked:?}");
    stopped(first);
}

#[test]
fn a_directory_that_cannot_be_made_ends_it_with_1() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let ended = Program::spawn(&config(&on(&file.join("data"), "")), None).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("file/data"), "{}", ended.said);
}

#[test]
fn a_start_warns_of_what_a_crash_may_lose() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    for (more, words) in [
        (
            "durability = \"interval\"\nsync_interval = \"2s\"",
            "up to 2s of",
        ),
        ("durability = \"os\"", "storage.durability is `os`"),
        ("accept_data_loss = true", "storage.accept_data_loss is on"),
    ] {
        let (program, _) = Program::start(&on(&directory, more));
        let line = program.line(words, 1);
        assert!(line.contains("\"WARN\""), "{line}");
        stopped(program);
    }
    let (program, _) = Program::start(&on(&directory, ""));
    let ended = stopped(program);
    assert!(
        !ended.said.contains("storage.durability is"),
        "{}",
        ended.said
    );
}

/// S7: an operator can ask what a start would find, and more.
#[tokio::test]
async fn a_check_says_what_is_there_and_finds_what_is_damaged() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    let (program, address) = Program::start(&on(&directory, ""));
    let kv = client(address).await;
    for n in 0..100 {
        kv.set(format!("key.{n}"), vec![7; 100]).await.unwrap();
    }
    drop(kv);
    stopped(program);

    let sound = verify(&directory, "human");
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert!(
        String::from_utf8_lossy(&sound.stdout).contains("is sound"),
        "{sound:?}"
    );
    let sound = verify(&directory, "json");
    let text = String::from_utf8_lossy(&sound.stdout).into_owned();
    assert!(
        text.contains("\"sound\":true") && text.contains("\"last\":100"),
        "{text}"
    );

    let state = directory.join("state");
    let mut bytes = std::fs::read(&state).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let damaged = verify(&directory, "human");
    assert_eq!(damaged.status.code(), UNUSABLE, "{damaged:?}");
    let words = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(
        words.contains("state") && words.contains("damaged"),
        "{words}"
    );
    let ended = Program::spawn(&config(&on(&directory, "")), None).wait();
    assert_eq!(ended.code, UNUSABLE, "{}", ended.said);
}

#[test]
fn a_check_of_nothing_is_no_success_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let nothing = home.path().join("nothing");
    let checked = verify(&nothing, "human");
    assert_ne!(checked.status.code(), Some(0), "{checked:?}");
    assert!(!nothing.exists());
}

/// A cache makes room by itself; a store that may lose nothing says that it is full.
#[tokio::test]
async fn a_full_memory_engine_evicts_or_refuses_as_it_is_told() {
    for (eviction, evicts) in [("lru", true), ("none", false)] {
        let storage = format!(
            "[storage]\nengine = \"memory\"\nmemory_limit_bytes = \"16MiB\"\neviction = \"{eviction}\""
        );
        let (program, address) = Program::start(&storage);
        let kv = client(address).await;
        let mut refused = 0;
        for n in 0..300 {
            let key = format!("key.{n}");
            let written = within(async { kv.set(key, vec![7; 64 << 10]).await }).await;
            refused += u32::from(written.is_err());
        }
        let last = within(async { kv.get("key.299").await }).await.unwrap();
        assert_eq!(
            (refused == 0, last.is_some()),
            (evicts, evicts),
            "{refused}"
        );
        drop(kv);
        stopped(program);
    }
}
