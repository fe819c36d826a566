//! Sessions over an in-memory stream in paused time: peers that do not read, read slowly, half close,
//! hold on to what they can. Rows of the catalogue are named at each test.

mod held;
mod keys;
mod times;

use std::sync::Arc;
use std::time::Duration;

use kv_proto::{Batch, BatchWriter, ErrorCode, Extensions, FrameHead, Opcode, Secret, Suite};
use kv_service::{Accountant, Engine, KeyRing, MemoryConfig, MemoryEngine, Metrics, Service};
use kv_testkit::engine::SlowEngine;
use kv_testkit::raw::{self, RawClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Arrived, serve_plain};
use crate::shared::{Parts, Shared};

const KEY: [u8; 32] = [7; 32];
const KIB: u64 = 1024;

/// A server without sockets.
struct Bench {
    shared: Arc<Shared>,
    /// Kept for the key file.
    _directory: tempfile::TempDir,
    connections: JoinSet<()>,
}

type Client = RawClient<DuplexStream>;

fn memory() -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::new(MemoryConfig::default()))
}

impl Bench {
    fn new(limits: &str) -> Self {
        Self::with(limits, "", memory())
    }

    fn with(limits: &str, sections: &str, engine: Arc<dyn Engine>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("app.key"), "07".repeat(32)).unwrap();
        let text = format!(
            "[limits]\n{limits}\n{sections}\n\
             [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n"
        );
        let file = directory.path().join("kv.toml");
        let config = crate::config::parse(&file, &text).unwrap().config;
        let entries = crate::keys::load(&config.auth, |_| None).unwrap().entries;
        let shared = Shared::new(Parts {
            service: Arc::new(Service::new(engine)),
            metrics: Arc::new(Metrics::new(1, 10)),
            accountant: Arc::new(Accountant::new(
                crate::convert::memory_bytes(&config),
                crate::convert::thresholds(&config.limits),
            )),
            keys: Arc::new(KeyRing::new(entries).unwrap()),
            certificates: None,
            decoy: Secret::new(&[1; 32]),
            connections_max: 100,
            config,
        });
        Self {
            shared: Arc::new(shared),
            _directory: directory,
            connections: JoinSet::new(),
        }
    }

    /// A stream that the server serves; so many bytes fit between the two sides.
    fn dial(&mut self, room: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(room);
        let arrived = Arrived {
            id: self.shared.registry.next_id(),
            address: None,
            place: None,
            unauthenticated: None,
        };
        self.connections
            .spawn(serve_plain(far, arrived, Arc::clone(&self.shared)));
        near
    }

    async fn client(&mut self, room: usize) -> Client {
        let settings = raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac]);
        RawClient::connect(self.dial(room), settings).await.unwrap()
    }

    /// What the one connection holds.
    fn held(&self) -> u64 {
        self.shared.registry.peers()[0].holding().0
    }

    /// Waits until no connection is left, at most so long.
    async fn ends_within(&mut self, time: Duration) {
        let began = Instant::now();
        while let Some(ended) = self.connections.join_next().await {
            ended.unwrap();
        }
        let took = began.elapsed();
        assert!(took <= time, "{took:?}");
        assert_eq!(self.shared.accountant.reserved(), 0);
        assert_eq!(self.shared.registry.len(), 0);
    }
}

fn plain() -> Extensions<'static> {
    Extensions::default()
}

/// Lets everything that can happen now happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Queues so many GETs of `key`.
fn ask(client: &mut Client, key: &[u8], count: u32) {
    for id in 1..=count {
        client.queue(Opcode::Get, id, &plain(), key, &[]);
    }
}

/// R1, P16: KILL, or memory, ends a connection whether it reads or not.
#[tokio::test]
async fn a_connection_that_waits_holds_its_session_and_little_else() {
    let bench = Bench::new("");
    let arrived = Arrived {
        id: 1,
        address: None,
        place: None,
        unauthenticated: None,
    };
    let (_near, far) = tokio::io::duplex(1);
    let task = serve_plain(far, arrived, Arc::clone(&bench.shared));
    let session = size_of::<super::Session<tokio::net::TcpStream>>();
    let sizes = (size_of_val(&task), session);
    // The second is a size that allocators have; a little more would take 256 bytes more.
    assert!(sizes.0 <= 384 && sizes.1 <= 1_536, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_connection_that_does_not_read_ends_at_once() {
    let mut bench = Bench::new("");
    let mut client = bench.client(4096).await;
    client.set(b"k", &[1; 10_000]).await.unwrap();
    ask(&mut client, b"k", 50);
    client.flush().await.unwrap();
    settle().await;
    assert!(bench.held() > 400 * KIB);
    assert_eq!(bench.shared.registry.shed(1).0, 1);
    // It waits a moment for the peer to have read what was said last.
    bench.ends_within(super::LINGER).await;
}

/// C9: the peer's silence does not prolong a revoked session.
#[tokio::test(start_paused = true)]
async fn a_revoked_session_that_does_not_read_ends_within_a_second() {
    let mut bench = Bench::new("");
    let mut client = bench.client(4096).await;
    client.set(b"k", &[1; 10_000]).await.unwrap();
    ask(&mut client, b"k", 50);
    client.flush().await.unwrap();
    settle().await;
    bench.shared.keys.replace(Vec::new()).unwrap();
    bench
        .shared
        .registry
        .signal_all(|signals| signals.recheck = true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.shared.registry.len(), 0);
    bench.ends_within(Duration::from_secs(1)).await;
}

/// P7, R1: what was not read cannot be late.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_neither_silent_nor_slow_to_send() {
    let mut bench = Bench::new(
        "output_soft_bytes = \"64KiB\"\noutput_hard_bytes = \"4MiB\"\n\
         keep_alive_interval = \"1s\"\nframe_timeout = \"1s\"\n\
         min_receive_rate_bytes = \"1GiB\"\nreceive_rate_window = \"1s\"",
    );
    let mut client = bench.client(16 * 1024).await;
    client.set(b"k", &[1; 10_000]).await.unwrap();
    ask(&mut client, b"k", 300);
    let requests = std::mem::take(client.ends().output());
    let (stream, mut ends) = client.into_parts();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        writer.write_all(&requests).await.unwrap();
        writer
    });
    let mut seen = 0;
    let mut bytes = vec![0; 200_000];
    while seen < 300 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut taken = 0;
        while taken < bytes.len() && seen < 300 {
            let read = reader.read(&mut bytes).await.unwrap();
            assert!(read > 0, "closed after {seen} answers");
            taken += read;
            ends.input().extend_from_slice(&bytes[..read]);
            while let Some(message) = ends.take().unwrap() {
                seen += u32::from(message.is(Opcode::Ok));
            }
        }
    }
}

/// R1: an answer of any size is counted, and stops the reading of further requests.
#[tokio::test(start_paused = true)]
async fn large_answers_to_small_requests_are_bounded() {
    let mut bench = Bench::new("output_soft_bytes = \"1MiB\"");
    let mut client = bench.client(1 << 20).await;
    client.set(b"k", &[1; 16_000]).await.unwrap();
    let mut body = Vec::new();
    for _ in 0..100 {
        let mut writer = BatchWriter::requests(&mut body);
        writer.item(Opcode::Get, &[], b"k", &[]).unwrap();
    }
    for id in 1..=100 {
        client.queue(Opcode::Batch, id, &plain(), &[], &body);
    }
    client.flush().await.unwrap();
    settle().await;
    let one = 100 * 16_000;
    assert!(bench.held() < KIB * KIB + 2 * one, "{}", bench.held());
    for id in 1..=100 {
        let answer = client.reply(id).await.unwrap();
        assert_eq!(Batch::replies(&answer.value).unwrap().iter().count(), 100);
    }
}

/// P10, C16: however many large values a peer asks for at once, it gets no more of them in pieces at
/// one time than it takes, and the small answers between them.
#[tokio::test(start_paused = true)]
async fn large_answers_are_under_way_in_no_greater_number_than_a_receiver_takes() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    for (key, len) in [(&b"one"[..], 1 << 20), (b"small", 10), (b"cut", 70_000)] {
        client.set(key, &vec![5; len]).await.unwrap();
    }
    for (key, count) in [(&b"one"[..], 50), (b"cut", 100)] {
        for id in 0..count {
            let id = 1_000 + 2 * id;
            client.queue(Opcode::Get, id, &plain(), key, &[]);
            client.queue(Opcode::Get, id + 1, &plain(), b"small", &[]);
        }
        client.flush().await.unwrap();
        for id in 0..count {
            let id = 1_000 + 2 * id;
            assert!(client.reply(id).await.unwrap().value.len() >= 70_000);
            assert_eq!(client.reply(id + 1).await.unwrap().value.len(), 10);
        }
    }
}

/// R7: what waits for a slow engine is counted, and stops the reading of further requests.
#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_bounded_by_their_bytes() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let limits = "max_frame_bytes = \"16KiB\"\nmax_message_bytes = \"64KiB\"\n\
                  max_partial_bytes_per_connection = \"64KiB\"";
    let mut bench = Bench::with(limits, "", engine);
    let mut client = bench.client(4 << 20).await;
    for id in 1..=100 {
        client.queue(Opcode::Set, id, &plain(), b"slow", &[3; 10_000]);
    }
    client.flush().await.unwrap();
    settle().await;
    let held = bench.held();
    assert!(held > 64 * KIB && held < 128 * KIB, "{held}");
    gate.open();
    for id in 1..=100 {
        assert!(client.reply(id).await.unwrap().is(Opcode::Ok));
    }
}

/// P10, R7: near the limit of memory no further message in pieces begins.
#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_does_not_begin_while_memory_is_short() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let accountant = Arc::clone(&bench.shared.accountant);
    accountant.set_stored(accountant.limit() / 100 * 85);
    let value = vec![1; 200_000];
    let answer = client
        .call(Opcode::Set, &plain(), b"k", &value)
        .await
        .unwrap();
    assert_eq!(raw::code(&answer), ErrorCode::Overloaded);
    accountant.set_stored(0);
    client.set(b"k", &value).await.unwrap();
}

/// Version 1 has no GOODBYE: who closes its side still gets its answers.
#[tokio::test(start_paused = true)]
async fn a_version_1_client_that_half_closes_gets_what_it_asked_for() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let mut bench = Bench::with("", "[protocol]\nv1 = true\nv1_key = \"app\"", engine);
    let mut client = RawClient::version_1(bench.dial(4096), &KEY);
    client
        .send(Opcode::Set, 1, &plain(), b"slow", b"v")
        .await
        .unwrap();
    client.io().shutdown().await.unwrap();
    gate.holds(1).await;
    // Longer than any silence is borne: it has nothing more to say.
    tokio::time::sleep(Duration::from_secs(300)).await;
    gate.open();
    assert!(client.next().await.unwrap().unwrap().is(Opcode::Ok));
    assert!(client.next().await.unwrap().is_none());
}

/// P9: between the time of a PING, which version 1 does not have, and its end the task rests: it was
/// woken without pause, and in this paused time nothing would move.
#[tokio::test(start_paused = true)]
async fn a_silent_version_1_client_costs_nothing_until_it_is_let_go() {
    let mut bench = Bench::with("", "[protocol]\nv1 = true\nv1_key = \"app\"", memory());
    let mut client = RawClient::version_1(bench.dial(4096), &KEY);
    assert_eq!(client.get(b"k").await.unwrap(), None);
    let began = Instant::now();
    assert!(client.next().await.unwrap().is_none());
    assert_eq!(began.elapsed().as_secs(), 60);
    drop(client);
    bench.ends_within(super::LINGER).await;
}

/// The same for a scan that was late while its page is on its way.
#[tokio::test(start_paused = true)]
async fn a_scan_that_was_late_costs_nothing_until_its_page_comes() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let mut bench = Bench::with("", "", engine);
    let mut client = bench.client(1 << 20).await;
    let soon = Extensions {
        deadline_ms: Some(20),
        ..plain()
    };
    client
        .send(Opcode::Scan, 5, &soon, b"slow", &[])
        .await
        .unwrap();
    let late = client.reply(5).await.unwrap();
    assert_eq!(raw::code(&late), ErrorCode::DeadlineExceeded);
    tokio::time::sleep(Duration::from_secs(10)).await;
    gate.open();
    let echo = client
        .call(Opcode::Echo, &plain(), &[], b"x")
        .await
        .unwrap();
    assert!(echo.is(Opcode::Ok));
}

/// P-11.6: a stream without credit would wait for ever for more.
#[tokio::test(start_paused = true)]
async fn goodbye_ends_streams_also_those_without_credit() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    client.set(b"k", b"v").await.unwrap();
    let paused = Extensions {
        credit: Some(0),
        ..plain()
    };
    client.queue(Opcode::Scan, 9, &paused, &[], &[]);
    client.queue(Opcode::Goodbye, 0, &plain(), &[], &[]);
    client.flush().await.unwrap();
    assert!(client.reply(9).await.unwrap().is(Opcode::End));
    assert!(
        client
            .next()
            .await
            .unwrap()
            .unwrap()
            .is(Opcode::ServerGoodbye)
    );
    drop(client);
    bench.ends_within(Duration::ZERO).await;
}

/// An id that has its final answer is the client's again, also while work on it goes on.
#[tokio::test(start_paused = true)]
async fn the_id_of_a_cancelled_scan_is_free_while_its_page_is_on_its_way() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let mut bench = Bench::with("", "", engine);
    let mut client = bench.client(1 << 20).await;
    client
        .send(Opcode::Scan, 5, &plain(), b"slow", &[])
        .await
        .unwrap();
    gate.holds(1).await;
    client
        .send(Opcode::Cancel, 5, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(client.reply(5).await.unwrap().is(Opcode::End));
    client
        .send(Opcode::Get, 5, &plain(), b"fast", &[])
        .await
        .unwrap();
    assert!(client.reply(5).await.unwrap().is(Opcode::NotFound));
    gate.open();
    let echo = client
        .call(Opcode::Echo, &plain(), &[], b"x")
        .await
        .unwrap();
    assert!(echo.is(Opcode::Ok));
}

/// R9: packing requests together does not lift them over the rate.
#[tokio::test(start_paused = true)]
async fn every_item_of_a_batch_counts_towards_the_rate() {
    let rate = "[rate_limits]\nper_client = \"10/s\"";
    let mut bench = Bench::with("", rate, memory());
    let mut client = bench.client(1 << 20).await;
    let mut body = Vec::new();
    for _ in 0..100 {
        let mut writer = BatchWriter::requests(&mut body);
        writer.item(Opcode::Incr, &[], b"count", &[]).unwrap();
    }
    let answer = client.call(Opcode::Batch, &plain(), &[], &body).await;
    let value = answer.unwrap().value;
    let replies = Batch::replies(&value).unwrap();
    let done = |item: &kv_proto::BatchItem<'_>| item.opcode == Opcode::Ok.into();
    assert_eq!(replies.iter().filter(done).count(), 10);
    assert_eq!(replies.iter().count(), 100);
    let refused = client.call(Opcode::Get, &plain(), b"count", &[]).await;
    assert_eq!(raw::code(&refused.unwrap()), ErrorCode::RateLimited);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let atomic = Extensions {
        atomic: true,
        ..plain()
    };
    let refused = client.call(Opcode::Batch, &atomic, &[], &body).await;
    assert_eq!(raw::code(&refused.unwrap()), ErrorCode::RateLimited);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.get(b"count").await.unwrap().unwrap(), b"10");
}

/// TOO_MANY_IN_FLIGHT says that nothing was applied.
#[tokio::test(start_paused = true)]
async fn a_batch_that_would_have_to_wait_and_may_not_is_not_begun() {
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let mut bench = Bench::with("max_in_flight_per_connection = 1", "", engine);
    let mut client = bench.client(1 << 20).await;
    client
        .send(Opcode::Get, 1, &plain(), b"slow", &[])
        .await
        .unwrap();
    gate.holds(1).await;
    let mut body = Vec::new();
    for key in [b"count".as_slice(), b"slow-2"] {
        let mut writer = BatchWriter::requests(&mut body);
        writer.item(Opcode::Incr, &[], key, &[]).unwrap();
    }
    client
        .send(Opcode::Batch, 2, &plain(), &[], &body)
        .await
        .unwrap();
    let refused = client.reply(2).await.unwrap();
    assert_eq!(raw::code(&refused), ErrorCode::TooManyInFlight);
    assert_eq!(client.get(b"count").await.unwrap(), None);
    gate.open();
}

/// R1: what is owed to a peer that leaves in good order does not keep its place for ever.
#[tokio::test(start_paused = true)]
async fn a_peer_that_says_goodbye_and_does_not_read_is_given_up() {
    let mut bench = Bench::new("output_stall_timeout = \"2s\"");
    let mut client = bench.client(48).await;
    let goodbye = FrameHead::new(Opcode::Goodbye, 0);
    let ping = FrameHead::new(Opcode::Ping, 0);
    let mut bytes = client.seal(ping, &[], &[], b"fills the stream");
    bytes.extend(client.seal(goodbye, &[], &[], &[]));
    client.send_bytes(&bytes).await.unwrap();
    bench.ends_within(Duration::from_secs(4)).await;
}
