//! Who may open a data directory: one process, of a version that knows its format, and only when
//! nothing that was acknowledged is missing, unless it is told to accept that.

use std::path::Path;

use kv_testkit::faults::damage::{copy_directory, cut, files_below, written};
use kv_testkit::ledger::Script;
use kv_testkit::wait::within;

use crate::server::{Server, Setup};
use crate::survey::survey;

/// Files that are copied often had better be small.
pub(crate) const DISK: &str = "engine = \"disk\"\ndurability = \"always\"\nlog_bytes = \"8MiB\"";
/// The exit code of a data directory that cannot be used.
pub(crate) const UNUSABLE: Option<i32> = Some(5);

const KEYS: usize = 13;

/// The keys that [`write`] uses.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    (0..KEYS)
        .map(|at| format!("small.{at}").into_bytes())
        .collect()
}

/// Writes, one after the other, on a few keys; some are removals.
/// The version of the last one that has one.
pub(crate) async fn write(server: &Server, script: &mut Script, count: usize) -> u64 {
    let mut version = 0;
    let client = server.client().await.unwrap();
    for _ in 0..count {
        let at = script.len();
        let key = format!("small.{}", at * 7 % KEYS);
        if at % 5 == 4 {
            script.delete(key.as_bytes());
            within(client.delete(&key)).await.unwrap();
        } else {
            let value = script.put(key.as_bytes());
            version = within(client.set(&key, value)).await.unwrap().version;
        }
    }
    client.close().await;
    version
}

/// How many of the script's writes are there; none when it is no prefix of them.
pub(crate) async fn prefix(server: &Server, script: &Script) -> Option<usize> {
    let client = server.client().await.unwrap();
    let (found, disagree) = survey(&client, &keys()).await.unwrap();
    assert_eq!(disagree, [] as [String; 0]);
    client.close().await;
    script.prefix(&found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_directory_is_refused_and_the_first_goes_on() {
    let setup = Setup::new(DISK);
    let server = setup.start();
    let mut script = Script::default();
    write(&server, &mut script, 10).await;
    let ended = setup.spawn().wait();
    assert_eq!(ended.code, UNUSABLE, "{}", ended.said);
    let directory = setup.data().to_str().unwrap();
    assert!(ended.said.contains(directory), "{}", ended.said);
    assert!(ended.said.contains("another process"), "{}", ended.said);
    write(&server, &mut script, 10).await;
    assert_eq!(prefix(&server, &script).await, Some(20));
    server.kill();
    // Who is dead holds nothing.
    assert_eq!(prefix(&setup.start(), &script).await, Some(20));
}

/// Starts a server on a directory from which acknowledged writes are missing: it refuses and names
/// the option that accepts the loss; with that it starts, and from then on without.
async fn missing(setup: &Setup, script: &Script) {
    let ended = match setup.spawn().ready() {
        Err(ended) => ended,
        Ok(server) => panic!(
            "it starts with {:?} of {} writes",
            prefix(&server, script).await,
            script.len()
        ),
    };
    assert_eq!(ended.code, UNUSABLE, "{}", ended.said);
    let names = ["accept_data_loss", "accept-data-loss"];
    assert!(
        names.iter().any(|name| ended.said.contains(name)),
        "{}",
        ended.said
    );
    setup.write("accept_data_loss = true");
    let server = setup.start();
    let left = prefix(&server, script).await;
    assert!(left.is_some_and(|left| left < script.len()), "{left:?}");
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    setup.write("");
    assert_eq!(prefix(&setup.start(), script).await, left);
}

/// Bytes in front of the first group of a segment of the log.
pub(crate) const HEADER: u64 = 4096;
/// Where `state` says what was acknowledged; `docs/storage/FORMAT.md`.
const ACKNOWLEDGED: std::ops::Range<usize> = 40..48;

/// A directory whose server was killed after it had written down what it acknowledged, so that what
/// is missing later is known to be missing.
pub(crate) async fn written_down(setup: &Setup, script: &mut Script) {
    let server = setup.start();
    // A position is a version.
    let last = write(&server, script, 60).await;
    let client = server.client().await.unwrap();
    kv_testkit::wait::until(async || {
        // It does so once a second: a read between two looks gives it its turn.
        within(client.ping()).await.unwrap();
        let state = std::fs::read(setup.data().join("state")).ok()?;
        let acknowledged = state.get(ACKNOWLEDGED)?.try_into().unwrap();
        (u64::from_be_bytes(acknowledged) >= last).then_some(())
    })
    .await;
    client.close().await;
    server.kill();
}

/// The segments of the log, the newest last.
pub(crate) fn logs(data: &Path) -> Vec<std::path::PathBuf> {
    let log = data.join("log");
    let files = files_below(&log).unwrap().into_iter();
    let segments: Vec<_> = files
        .filter(|(file, _)| file.extension().is_some_and(|end| end == "log"))
        .map(|(file, _)| log.join(file))
        .collect();
    assert!(!segments.is_empty());
    segments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_is_missed() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    written_down(&setup, &mut script).await;
    for file in logs(setup.data()) {
        std::fs::remove_file(file).unwrap();
    }
    missing(&setup, &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_in_its_middle_is_missed() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    written_down(&setup, &mut script).await;
    let last = logs(setup.data()).pop().unwrap();
    let written = written(&last).unwrap();
    cut(&last, HEADER + (written - HEADER) / 2).unwrap();
    missing(&setup, &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_log_is_missed() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    written_down(&setup, &mut script).await;
    let (log, older) = (setup.data().join("log"), setup.beside("older"));
    copy_directory(&log, &older).unwrap();
    written_down(&setup, &mut script).await;
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&older, &log).unwrap();
    missing(&setup, &script).await;
}

/// CRC-32 as `docs/storage/FORMAT.md` has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_a_newer_format_is_refused_and_left_alone() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    let server = setup.start();
    write(&server, &mut script, 20).await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let state = setup.data().join("state");
    let ours = std::fs::read(&state).unwrap();
    let mut newer = ours.clone();
    newer.truncate(ours.len() - 4);
    newer[8..12].copy_from_slice(&99_u32.to_be_bytes());
    newer.extend(crc32(&newer).to_be_bytes());
    std::fs::write(&state, &newer).unwrap();
    let ended = setup.spawn().wait();
    assert_eq!(ended.code, UNUSABLE, "{}", ended.said);
    assert!(ended.said.contains("format 99"), "{}", ended.said);
    assert_eq!(std::fs::read(&state).unwrap(), newer);
    std::fs::write(&state, ours).unwrap();
    assert_eq!(prefix(&setup.start(), &script).await, Some(20));
}
