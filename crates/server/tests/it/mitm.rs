//! Random faults of a man in the middle: what the server applied is always a prefix of what was sent,
//! and a client never believes anything that is not so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kv_client::MultiplexedClient;
use kv_proto::{Extensions, Opcode, Secret, Suite, Transport};
use kv_testkit::proxy::{Fault, Proxy, Schedule, Side};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::rng::{Rng, seeds};
use kv_testkit::wait::within;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::{KEY, Raw, Setup, TestServer, builder, dial, plain, raw_to};

/// Requests of one session, and how many frames a schedule may aim at.
const REQUESTS: usize = 10;
const FRAMES: usize = REQUESTS + 4;
/// Sessions at one time.
const AT_ONCE: usize = 16;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// One request, and what it does to a store.
#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>, Vec<u8>),
    Incr(Vec<u8>),
    Del(Vec<u8>),
}

/// The requests of one seed, on keys of their own.
fn script(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(!seed);
    let key = |n: usize| format!("{seed}/{n}").into_bytes();
    let mut steps = Vec::new();
    for at in 0..REQUESTS {
        steps.push(match rng.below(3) {
            0 => Step::Set(key(rng.below(2)), format!("value {at}").into_bytes()),
            1 => Step::Incr(key(9)),
            _ => Step::Del(key(rng.below(2))),
        });
    }
    steps
}

impl Step {
    fn apply(&self, store: &mut Store) {
        match self {
            Self::Set(key, value) => {
                store.insert(key.clone(), value.clone());
            }
            Self::Incr(key) => {
                let sum = store.get(key).map_or(0, |old| {
                    String::from_utf8_lossy(old).parse::<i64>().unwrap()
                });
                store.insert(key.clone(), (sum + 1).to_string().into_bytes());
            }
            Self::Del(key) => {
                store.remove(key);
            }
        }
    }

    fn queue(&self, client: &mut Raw, id: u32) {
        match self {
            Self::Set(key, value) => client.queue(Opcode::Set, id, &plain(), key, value),
            Self::Incr(key) => client.queue(Opcode::Incr, id, &plain(), key, &[]),
            Self::Del(key) => client.queue(Opcode::Del, id, &plain(), key, &[]),
        }
    }
}

/// After how many of the steps the store stood as it does; `None` if it never did.
fn prefix(steps: &[Step], stored: &Store, at_least: usize) -> Option<usize> {
    let mut model = Store::new();
    for count in 0..=steps.len() {
        if count >= at_least && model == *stored {
            return Some(count);
        }
        if let Some(step) = steps.get(count) {
            step.apply(&mut model);
        }
    }
    None
}

/// What the server holds of a seed.
async fn stored(witness: &MultiplexedClient, seed: u64) -> Store {
    let mut scan = witness.scan(format!("{seed}/"));
    let mut store = Store::new();
    while let Some(item) = within(scan.next()).await {
        let item = item.unwrap();
        store.insert(item.key.to_vec(), item.value.to_vec());
    }
    store
}

/// One session through the proxy: everything is sent at once, then the end of the stream. How many
/// answers came that the client could believe.
async fn session(proxy: &Proxy, suite: Suite, steps: &[Step]) -> usize {
    let key = (suite != Suite::Checksum).then(|| ("app", Secret::new(&KEY)));
    let settings = raw::settings(key, &[suite]);
    let stream = dial(proxy.address()).await;
    // READY is not waited for: it may never come.
    let opened = RawClient::authenticate(stream, settings, Transport::Plain);
    let Ok(mut client) = within(opened).await else {
        return 0;
    };
    for (step, id) in steps.iter().zip(1..) {
        step.queue(&mut client, id);
    }
    // A connection that is killed may be so already.
    let _ = client.flush().await;
    let _ = client.io().shutdown().await;
    let answers = within(client.rest()).await;
    let ids: Vec<u32> = answers.iter().map(|answer| answer.id).collect();
    // READY, then the answers.
    let expected: Vec<u32> = (0..).take(ids.len()).collect();
    assert_eq!(
        ids, expected,
        "answers out of order, twice, or of another session"
    );
    ids.len().saturating_sub(1)
}

/// Frames of an honest session, for splicing.
async fn honest_frames(server: &TestServer, suite: Suite) -> [Vec<Vec<u8>>; 2] {
    let proxy = Proxy::start(server.address).await.unwrap();
    let answered = session(&proxy, suite, &script(u64::MAX)).await;
    assert_eq!(answered, REQUESTS);
    [
        proxy.captured(Side::ToServer),
        proxy.captured(Side::ToClient),
    ]
}

/// Runs one seed and gives what the server holds, and how many answers the client got.
async fn run(
    server: &TestServer,
    suite: Suite,
    schedule: Schedule,
    foreign: &[Vec<Vec<u8>>; 2],
    steps: &[Step],
) -> usize {
    let proxy = Proxy::start(server.address).await.unwrap();
    proxy.set_foreign(Side::ToServer, foreign[0].clone());
    proxy.set_foreign(Side::ToClient, foreign[1].clone());
    proxy.plan(schedule);
    session(&proxy, suite, steps).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_is_a_prefix_of_what_was_sent() {
    // A handshake that loses a frame ends with the server's patience.
    let server = Setup::new().limits("authentication_timeout = \"300ms\"");
    let server = Arc::new(server.start().await);
    let witness = server.client().await;
    let foreign = Arc::new([
        honest_frames(&server, Suite::Hmac).await,
        honest_frames(&server, Suite::Encrypted).await,
    ]);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for seed in seeds(3_000) {
        let (server, foreign, turns) = (
            Arc::clone(&server),
            Arc::clone(&foreign),
            Arc::clone(&turns),
        );
        let witness = witness.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let encrypted = seed % 4 == 3;
            let suite = if encrypted {
                Suite::Encrypted
            } else {
                Suite::Hmac
            };
            let schedule = Schedule::random(seed, FRAMES);
            let shown = format!("KV_TEST_SEED={seed}: {schedule:?}");
            let steps = script(seed);
            let answered = run(
                &server,
                suite,
                schedule,
                &foreign[usize::from(encrypted)],
                &steps,
            )
            .await;
            let stored = stored(&witness, seed).await;
            let applied = prefix(&steps, &stored, answered);
            let Some(applied) = applied else {
                panic!("{shown}: {stored:?} with {answered} answers is no prefix of {steps:?}")
            };
            (applied, answered)
        });
    }
    let results = tasks.join_all().await;
    let whole = results
        .iter()
        .filter(|(applied, _)| *applied == REQUESTS)
        .count();
    let cut = results.len() - whole;
    println!("{whole} sessions applied whole, {cut} cut");
    assert!(
        results.len() < 2 || (whole > 0 && cut > 0),
        "the schedules do nothing, or everything"
    );
}

/// The canary: in suite 0 a man in the middle can change what is sent, and the check above sees it.
#[tokio::test]
async fn a_change_that_is_accepted_is_seen_as_no_prefix() {
    let server = Setup::new()
        .toml("[protocol]\nsuites = [\"hmac-sha256\", \"checksum\"]\n[auth]\nanonymous = [\"read\", \"write\"]")
        .start()
        .await;
    let witness = server.client().await;
    let steps = vec![
        Step::Set(b"0/0".to_vec(), b"value".to_vec()),
        Step::Incr(b"0/9".to_vec()),
    ];
    let nothing = [Vec::new(), Vec::new()];
    let bit = 8 * 3 + 1; // behind the key
    let schedule = Schedule::new().with(Side::ToServer, 2, Fault::FlipAndMend(bit));
    run(&server, Suite::Checksum, schedule, &nothing, &steps).await;
    let seen = stored(&witness, 0).await;
    assert_eq!(seen.len(), 2, "it was accepted: {seen:?}");
    assert_eq!(prefix(&steps, &seen, 0), None);
    // The same change without a right checksum is refused, and that is a prefix.
    let steps = vec![Step::Set(b"1/0".to_vec(), b"value".to_vec())];
    let schedule = Schedule::new().with(Side::ToServer, 2, Fault::Flip(8 * 51 + 1));
    run(&server, Suite::Checksum, schedule, &nothing, &steps).await;
    assert_eq!(prefix(&steps, &stored(&witness, 1).await, 0), Some(0));
}

/// What the client library believes, over the same faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_library_reports_errors_and_never_a_wrong_value() {
    let server = Arc::new(TestServer::start().await);
    let witness = server.client().await;
    let foreign = Arc::new(honest_frames(&server, Suite::Hmac).await);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for seed in seeds(400) {
        let (server, foreign, turns) = (
            Arc::clone(&server),
            Arc::clone(&foreign),
            Arc::clone(&turns),
        );
        let witness = witness.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let proxy = Proxy::start(server.address).await.unwrap();
            proxy.set_foreign(Side::ToServer, foreign[0].clone());
            proxy.set_foreign(Side::ToClient, foreign[1].clone());
            proxy.plan(Schedule::random(seed, FRAMES));
            let short = Duration::from_millis(100);
            let settings = builder()
                .request_timeout(short)
                .connect_timeout(short)
                .close_timeout(short);
            let Ok(client) = within(settings.connect(proxy.address().to_string())).await else {
                return 0;
            };
            within(believe(&client, &witness, seed)).await
        });
    }
    let believed: usize = tasks.join_all().await.into_iter().sum();
    assert!(believed > 0);
}

/// Writes, reads and counts; how many answers were right. None may be wrong.
async fn believe(client: &MultiplexedClient, witness: &MultiplexedClient, seed: u64) -> usize {
    let (mut right, mut sums, mut unsure) = (0, Vec::new(), 0);
    for round in 0..4 {
        let key = format!("library/{seed}/{round}");
        let value = format!("{seed} {round}");
        let written = client.set(&key, &value).await;
        match client.get(&key).await {
            Ok(Some(read)) => {
                assert_eq!(read, value, "seed {seed}");
                right += 1;
            }
            Ok(None) => assert!(
                written.is_err(),
                "seed {seed}: an acknowledged write is gone"
            ),
            Err(_) => {}
        }
        match client.incr(format!("library/{seed}/n"), 1).await {
            Ok(sum) => sums.push(sum),
            Err(_) => unsure += 1,
        }
        if written.is_ok() {
            assert_eq!(
                witness.get(&key).await.unwrap().unwrap(),
                value,
                "seed {seed}"
            );
        }
    }
    assert!(
        sums.windows(2).all(|pair| pair[0] < pair[1]),
        "seed {seed}: {sums:?}"
    );
    let stored = witness.get(format!("library/{seed}/n")).await.unwrap();
    let stored: usize = stored.map_or(0, |n| std::str::from_utf8(&n).unwrap().parse().unwrap());
    assert!(
        (sums.len()..=sums.len() + unsure).contains(&stored),
        "seed {seed}: {sums:?}, {unsure} unsure, {stored}"
    );
    right
}

/// The extension block must not be a way around the tag either: an empty frame with a changed block.
#[tokio::test]
async fn a_condition_that_was_taken_out_on_the_way_is_noticed() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    proxy.plan(Schedule::new().with(Side::ToServer, 3, Fault::Flip(8 * 9)));
    let mut client = raw_to(proxy.address(), Suite::Hmac).await.unwrap();
    client.set(b"k", b"first").await.unwrap();
    let absent = Extensions {
        if_version: Some(0),
        ..plain()
    };
    client.queue(Opcode::Set, 9, &absent, b"k", b"second");
    client.flush().await.unwrap();
    let _ = client.io().shutdown().await;
    assert!(within(client.rest()).await.is_empty());
    assert_eq!(
        server.raw().await.get(b"k").await.unwrap().unwrap(),
        b"first"
    );
}
