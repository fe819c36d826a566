//! Files that were changed behind the server's back: it answers with what was written, says CORRUPT,
//! or does not start; it never answers with something else.

use std::path::{Path, PathBuf};

use kv_client::{ErrorCode, MultiplexedClient};
use kv_testkit::faults::damage::{copy_directory, cut, files_below, flip, garble, written};
use kv_testkit::ledger::{Script, number_of};
use kv_testkit::rng::Rng;
use kv_testkit::wait::within;

use crate::bounds::Cycles;
use crate::directory::{DISK, HEADER, UNUSABLE, keys, logs, prefix, write, written_down};
use crate::server::{Ended, Server, Setup};

/// Coprime to any number of bytes that a small store has: every byte has its turn.
const STRIDE: u64 = 1_000_003;

/// Bytes behind the last one that was written in a file; they are zeros.
const BEHIND: u64 = 64;

/// Every byte that was written in a store, and some behind, file by file.
struct Bytes(Vec<(PathBuf, u64)>);

impl Bytes {
    fn of(data: &Path) -> Self {
        let files = files_below(data).unwrap().into_iter();
        let end = |file: &Path| written(&data.join(file)).unwrap() + BEHIND;
        let bytes = files.map(|(file, len)| {
            let end = end(&file).min(len);
            (file, end)
        });
        Self(bytes.collect())
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(_, len)| len).sum()
    }

    /// The byte of this number.
    fn at(&self, mut number: u64) -> (&Path, u64) {
        for (file, len) in &self.0 {
            if number < *len {
                return (file, number);
            }
            number -= len;
        }
        panic!("no byte {number} behind the last");
    }
}

/// A copy of a store, to be damaged.
fn copy(setup: &Setup) -> Setup {
    let copy = Setup::new(DISK);
    copy_directory(setup.data(), copy.data()).unwrap();
    copy
}

/// A server that did not start has said why, in its exit code too.
fn judge_refusal(ended: &Ended) -> Vec<String> {
    let panicked = ended.said.contains("panicked");
    if ended.code == UNUSABLE && !panicked {
        return Vec::new();
    }
    vec![format!("it refused badly: {ended:?}")]
}

/// What a damaged store answers, key by key and in a scan: each wrong answer.
async fn wrong_answers(client: &MultiplexedClient, script: &Script) -> Vec<String> {
    let entries = script.entries();
    let mut wrong = Vec::new();
    for key in keys() {
        let name = key.escape_ascii().to_string();
        match within(client.get(&key)).await {
            Ok(value) => {
                let found = value.map(|value| number_of(&key, &value));
                let expected = entries.get(&key).copied().map(Some);
                if found != expected {
                    wrong.push(format!("{name}: {found:?} for {expected:?}"));
                }
            }
            Err(error) if error.code() == Some(ErrorCode::Corrupt) => {}
            // It may notice only now that it cannot go on.
            Err(error) if error.code().is_none() => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    wrong.extend(wrong_items(client, script).await);
    wrong
}

async fn wrong_items(client: &MultiplexedClient, script: &Script) -> Vec<String> {
    let entries = script.entries();
    let mut scan = client.scan("");
    let (mut seen, mut wrong) = (0, Vec::new());
    loop {
        match within(scan.next()).await {
            None if seen == entries.len() => return wrong,
            None => {
                wrong.push(format!("a scan of {seen} entries for {}", entries.len()));
                return wrong;
            }
            Some(Err(error)) => {
                if error.code().is_some_and(|code| code != ErrorCode::Corrupt) {
                    wrong.push(format!("a scan: {error}"));
                }
                return wrong;
            }
            Some(Ok(item)) => {
                seen += 1;
                let found = number_of(&item.key, &item.value);
                if found != entries.get(&item.key[..]).copied() {
                    wrong.push(format!("a scan: {} is wrong", item.key.escape_ascii()));
                }
            }
        }
    }
}

/// Flips one bit in a copy of the store and starts it.
async fn flipped(setup: &Setup, script: &Script, file: &Path, at: u64, mask: u8) -> Vec<String> {
    let copy = copy(setup);
    flip(&copy.data().join(file), at, mask).unwrap();
    match copy.spawn().ready() {
        Err(ended) => judge_refusal(&ended),
        Ok(server) => {
            let wrong = match server.client().await {
                Ok(client) => wrong_answers(&client, script).await,
                Err(error) => vec![format!("no session: {error}")],
            };
            server.kill();
            wrong
        }
    }
}

/// Flips a bit of one byte of the store in each cycle.
async fn every_byte(setup: &Setup, script: &Script, mut cycles: Cycles) {
    let bytes = Bytes::of(setup.data());
    let mut wrong = Vec::new();
    for seed in cycles.by_ref() {
        let (file, at) = bytes.at(seed.wrapping_mul(STRIDE) % bytes.count());
        let mask = 1 << Rng::new(seed).below(8);
        let found = flipped(setup, script, file, at, mask).await;
        let place = format!("{} at {at}, bits {mask:#04x}", file.display());
        wrong.extend(found.into_iter().map(|what| format!("{place}: {what}")));
    }
    let (files, count) = (bytes.0.len(), bytes.count());
    cycles.settle(format_args!("{count} bytes in {files} files"), &wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flipped_bit_of_a_stopped_store_makes_a_wrong_answer() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    let server = setup.start();
    write(&server, &mut script, 60).await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let name = "no_flipped_bit_of_a_stopped_store_makes_a_wrong_answer";
    every_byte(&setup, &script, Cycles::new(name, 60, u64::MAX)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flipped_bit_of_a_killed_store_makes_a_wrong_answer() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    written_down(&setup, &mut script).await;
    let name = "no_flipped_bit_of_a_killed_store_makes_a_wrong_answer";
    every_byte(&setup, &script, Cycles::new(name, 60, u64::MAX)).await;
}

fn noise(rng: &mut Rng, len: u64) -> Vec<u8> {
    (0..len).map(|_| rng.next().to_be_bytes()[0]).collect()
}

/// How many of the script's writes a damaged directory still has; none when it is refused.
async fn left(setup: &Setup, script: &Script) -> Option<usize> {
    match setup.spawn().ready() {
        Err(ended) => {
            assert_eq!(judge_refusal(&ended), [] as [String; 0]);
            None
        }
        Ok(server) => Some(left_in(&server, script).await),
    }
}

async fn left_in(server: &Server, script: &Script) -> usize {
    // Some of the first writes, and none of the later ones.
    prefix(server, script).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_torn_or_garbled_tail_has_the_writes_before_it() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    written_down(&setup, &mut script).await;
    let sure = script.len();
    let server = setup.start();
    write(&server, &mut script, 40).await;
    server.kill();
    let name = "a_log_with_a_torn_or_garbled_tail_has_the_writes_before_it";
    let mut cycles = Cycles::new(name, 30, 1_000);
    let (mut refused, mut shorter) = (0, 0);
    for seed in cycles.by_ref() {
        let mut rng = Rng::new(seed);
        let copy = copy(&setup);
        let last = logs(copy.data()).pop().unwrap();
        let end = written(&last).unwrap();
        let at = HEADER + rng.next() % (end - HEADER);
        let noise = noise(&mut rng, end + 100 - at);
        match rng.below(3) {
            0 => cut(&last, at).unwrap(),
            1 => garble(&last, at, &noise).unwrap(),
            _ => garble(&last, at, &vec![0; noise.len()]).unwrap(),
        }
        match left(&copy, &script).await {
            None => refused += 1,
            Some(left) => {
                assert!(
                    left >= sure,
                    "seed {seed}: {left} of {sure} that were written down"
                );
                shorter += 1;
            }
        }
    }
    cycles.settle(
        format_args!("{shorter} with fewer writes, {refused} refused"),
        &[],
    );
    assert!(shorter + refused > 0);
}

/// What was being written when the power went is behind everything that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_the_end_of_a_log_changes_nothing() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    let server = setup.start();
    write(&server, &mut script, 40).await;
    server.kill();
    for seed in kv_testkit::rng::seeds(4) {
        let mut rng = Rng::new(seed);
        let copy = copy(&setup);
        let last = logs(copy.data()).pop().unwrap();
        let noise = noise(&mut rng, 300);
        // A group begins at a multiple of eight.
        let end = written(&last).unwrap().next_multiple_of(8);
        garble(&last, end, &noise).unwrap();
        assert_eq!(
            left(&copy, &script).await,
            Some(script.len()),
            "KV_TEST_SEED={seed}"
        );
    }
}

/// Whole groups behind a hole tell that something is missing: the hole is no end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_a_log_is_never_taken_for_its_end() {
    let (setup, mut script) = (Setup::new(DISK), Script::default());
    let server = setup.start();
    write(&server, &mut script, 100).await;
    server.kill();
    for seed in kv_testkit::rng::seeds(8) {
        let mut rng = Rng::new(seed);
        let copy = copy(&setup);
        let last = logs(copy.data()).pop().unwrap();
        let end = written(&last).unwrap();
        let at = HEADER + rng.next() % ((end - HEADER) / 2);
        garble(&last, at, &rng.next().to_be_bytes()).unwrap();
        if let Some(left) = left(&copy, &script).await {
            assert_eq!(left, script.len(), "KV_TEST_SEED={seed}");
        }
    }
}
