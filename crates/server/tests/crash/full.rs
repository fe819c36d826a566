//! A disk that fills: writes are refused while there is still room for what must be written, reads
//! and removals go on, and writes resume by themselves when there is room again.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_client::{ErrorCode, MultiplexedClient, Retry};
use kv_testkit::faults::say;
use kv_testkit::ledger::value_of;
use kv_testkit::powercut::Volume;
use kv_testkit::wait::{until, within};
use tokio::task::JoinSet;

use crate::server::{Server, Setup};

const VOLUME_MIB: u64 = 192;
/// What is left for the store once everything else is taken, above what it keeps free.
const ROOM: u64 = 12 << 20;
const VALUE_LEN: usize = 60_000;

/// Large values under keys of their own, as they were acknowledged; none where nobody knows.
type Written = BTreeMap<String, Option<Vec<u8>>>;

fn value(number: u64) -> Vec<u8> {
    let mut value = value_of(b"full", number);
    value.resize(VALUE_LEN, 0xA7);
    value
}

/// Writes until it is refused; why.
async fn fill(client: &MultiplexedClient, written: &mut Written) -> kv_client::Error {
    loop {
        let number = written.len() as u64;
        let key = format!("large.{number:06}");
        match within(client.set(&key, value(number))).await {
            Ok(_) => {
                written.insert(key, Some(value(number)));
            }
            Err(error) => {
                if error.retry() == Retry::OutcomeUnknown {
                    written.insert(key, None);
                }
                return error;
            }
        }
    }
}

async fn check(client: &MultiplexedClient, written: &Written) {
    for (key, value) in written {
        let found = within(client.get(key)).await.unwrap();
        if let Some(value) = value {
            assert!(found.is_some_and(|found| found == *value), "{key} is gone");
        }
    }
}

/// A file that takes all room but so much. The store may take some at the same time.
fn take_room(volume: &Volume, but: u64) -> std::path::PathBuf {
    use rustix::fs::{FallocateFlags, fallocate, statvfs};
    let ballast = volume.path().join("ballast");
    let file = std::fs::File::create(&ballast).unwrap();
    let mut taken = 0;
    loop {
        let free = statvfs(volume.path()).unwrap();
        let more = (free.f_bavail * free.f_frsize).saturating_sub(but);
        if more == 0 {
            return ballast;
        }
        if fallocate(&file, FallocateFlags::empty(), taken, more).is_ok() {
            taken += more;
        }
    }
}

fn volume() -> Option<Volume> {
    match Volume::tmpfs(VOLUME_MIB) {
        Ok(volume) => Some(volume),
        Err(missing) => {
            say(&format!(
                "not checked: no file systems can be mounted here: {missing}"
            ));
            None
        }
    }
}

async fn restart_and_check(server: Server, setup: &Setup, written: &Written) {
    server.kill();
    let server = setup.start();
    let client = server.client().await.unwrap();
    check(&client, written).await;
    within(client.set("after", b"restart")).await.unwrap();
    client.close().await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_refuses_writes_and_nothing_else_until_there_is_room() {
    let Some(volume) = volume() else { return };
    let storage = "engine = \"disk\"\nmin_free_bytes = \"16MiB\"\nlog_bytes = \"16MiB\"\ncache_bytes = \"32MiB\"";
    let setup = Setup::at(volume.path().join("data"), storage);
    let server = setup.start();
    let client = server.client().await.unwrap();
    let ballast = take_room(&volume, (16 << 20) + ROOM);
    let mut written = Written::new();
    let refused = fill(&client, &mut written).await;
    assert_eq!(refused.code(), Some(ErrorCode::DiskFull), "{refused:?}");
    assert!(written.len() > 10, "{} writes had room", written.len());

    check(&client, &written).await;
    let (removed, _) = written.pop_first().unwrap();
    assert!(within(client.delete(&removed)).await.unwrap());
    assert_eq!(within(client.get(&removed)).await.unwrap(), None);
    let refused = within(client.set("large.", value(1))).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::DiskFull), "{refused:?}");

    std::fs::remove_file(ballast).unwrap();
    until(async || client.set("resumed", value(1)).await.ok()).await;
    written.insert("resumed".to_owned(), Some(value(1)));
    client.close().await;
    restart_and_check(server, &setup, &written).await;
}

/// Writes so many values, or until one is refused.
async fn write_on(client: MultiplexedClient, mut written: Written) -> Written {
    for number in 100..500 {
        let key = format!("large.{number:06}");
        match client.set(&key, value(number)).await {
            Ok(_) => {
                written.insert(key, Some(value(number)));
            }
            Err(error) => {
                let is_full = error.code() == Some(ErrorCode::DiskFull);
                assert!(
                    is_full || error.retry() == Retry::OutcomeUnknown,
                    "{error:?}"
                );
                if !is_full {
                    written.insert(key, None);
                }
                break;
            }
        }
    }
    written
}

/// Others can use up what the store keeps free: then a write that was taken fails in earnest. It is
/// held until there is room, later ones are refused, and reads go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_any_room_loses_nothing_that_was_acknowledged() {
    let Some(volume) = volume() else { return };
    let storage = "engine = \"disk\"\nmin_free_bytes = \"1MiB\"\nlog_bytes = \"16MiB\"\n\
                   cache_bytes = \"32MiB\"";
    let setup = Setup::at(volume.path().join("data"), storage);
    let server = setup.start();
    let client = server.client().await.unwrap();
    let mut written = Written::new();
    for number in 0..20 {
        let key = format!("large.{number:06}");
        within(client.set(&key, value(number))).await.unwrap();
        written.insert(key, Some(value(number)));
    }
    let ballast = take_room(&volume, 0);
    let mut writer = JoinSet::new();
    writer.spawn(write_on(server.client().await.unwrap(), written.clone()));
    let mut probes = 0;
    until(async || {
        // One that was taken before it was known that there is no room is held like the other, and
        // whatever is asked of its key behind it.
        probes += 1;
        let probe = client.set(format!("probe.{probes}"), value(1));
        let refused = probe.timeout(Duration::from_millis(500)).await.err()?;
        (refused.code() == Some(ErrorCode::DiskFull)).then_some(())
    })
    .await;
    check(&client, &written).await;
    std::fs::remove_file(ballast).unwrap();
    let written = within(writer.join_next()).await.unwrap().unwrap();
    check(&client, &written).await;
    client.close().await;
    restart_and_check(server, &setup, &written).await;
}
