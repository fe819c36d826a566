//! Peers that take without reading, ask without end, or say nothing of use: what they make the server
//! hold is bounded, and others do not notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_proto::typed::Value;
use kv_proto::{ErrorCode, FrameHead, Opcode};
use kv_testkit::engine::SlowEngine;
use kv_testkit::wait::{until, within};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Raw, Setup, TestServer, clients, info, memory, next, noise, plain};

const MIB: u64 = 1 << 20;

/// A connection taken apart, so that one side can be left alone.
async fn apart(server: &TestServer) -> (TcpStream, kv_testkit::peer::Ends) {
    server.raw().await.into_parts()
}

/// The most that one connection holds, as the server says; `None` when the witness is alone.
async fn held(witness: &mut Raw) -> Option<u64> {
    let list = clients(witness).await;
    let held = list
        .iter()
        .map(|c| c.at("held_bytes").and_then(Value::as_u64).unwrap());
    held.max().filter(|_| list.len() > 1)
}

/// Writes bytes again and again until the other side takes no more or is gone.
async fn pour(mut stream: impl AsyncWrite + Unpin, bytes: Vec<u8>) -> std::io::Result<()> {
    for chunk in bytes.chunks(16 * 1024) {
        stream.write_all(chunk).await?;
    }
    // Held open, and never read from.
    std::future::pending().await
}

/// Many sealed frames of one kind, with ids from 1 on.
fn frames(ends: &mut kv_testkit::peer::Ends, count: u32, opcode: Opcode, key: &[u8]) -> Vec<u8> {
    for id in 1..=count {
        ends.send_frame(FrameHead::new(opcode, id), &[], key, &[]);
    }
    std::mem::take(ends.output())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_is_no_longer_read_from_and_then_let_go() {
    let server = Setup::new()
        .limits("output_stall_timeout = \"1500ms\"")
        .start()
        .await;
    let mut witness = server.raw().await;
    witness.set(b"big", &noise(1, 60_000)).await.unwrap();
    let (stream, mut ends) = apart(&server).await;
    // 600 MB of answers, if anybody sent them.
    let asked = frames(&mut ends, 10_000, Opcode::Get, b"big");
    let mut pouring = JoinSet::new();
    pouring.spawn(pour(stream, asked));
    let soft = until(async || held(&mut witness).await.filter(|&held| held >= 3 * MIB)).await;
    let (mut most, began) = (soft, Instant::now());
    // Others are served all the while, and it holds no more until it is gone.
    while let Some(held) = held(&mut witness).await {
        most = most.max(held);
        assert!(witness.get(b"big").await.unwrap().is_some());
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it is never let go"
        );
    }
    println!(
        "held at most {most} bytes, gone after {:?}",
        began.elapsed()
    );
    assert!(most <= 8 * MIB + 128 * 1024, "{most}");
    assert_eq!(info(&mut witness, "clients", "connections").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_nobody_reads_do_not_pile_up() {
    let server = TestServer::start().await;
    let mut witness = server.raw().await;
    let (stream, mut ends) = apart(&server).await;
    // Each is refused with a text longer than itself.
    let asked = frames(&mut ends, 100_000, Opcode::Get, b"");
    let mut pouring = JoinSet::new();
    pouring.spawn(pour(stream, asked));
    let mut most = 0;
    for _ in 0..200 {
        most = most.max(held(&mut witness).await.unwrap_or(0));
        assert_eq!(witness.get(b"k").await.unwrap(), None);
    }
    println!("held at most {most} bytes");
    assert!(most <= MIB, "{most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_without_end_are_answered_at_their_pace_and_others_at_theirs() {
    const PINGS: usize = 4_000;
    let server = TestServer::start().await;
    let mut witness = server.raw().await;
    let mut flooder = server.raw().await;
    for _ in 0..PINGS {
        flooder.queue(Opcode::Ping, 0, &plain(), &[], b"?");
    }
    let began = Instant::now();
    flooder.flush().await.unwrap();
    let mut flood = JoinSet::new();
    flood.spawn(async move {
        for _ in 0..PINGS {
            assert!(next(&mut flooder).await.is(Opcode::ServerPong));
        }
    });
    let mut served = 0_u32;
    while flood.try_join_next().is_none() {
        assert_eq!(witness.get(b"k").await.unwrap(), None);
        served += 1;
    }
    // 100 at once, then ten per millisecond; what the last read brought is not waited for.
    let least = Duration::from_millis((PINGS as u64 - 100) / 10);
    assert!(
        began.elapsed() >= least.mul_f64(0.7),
        "{:?}",
        began.elapsed()
    );
    println!(
        "{PINGS} pings in {:?}; {served} reads beside them",
        began.elapsed()
    );
    assert!(served > 100, "{served} reads in all that time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_cancelled_as_fast_as_they_come_stay_within_the_limit() {
    const PAIRS: u32 = 5_000;
    const MAX: usize = 1_024;
    let (engine, gate) = SlowEngine::new(memory(), b"slow");
    let server = Setup::new().engine(engine).start().await;
    let mut witness = server.raw().await;
    let (stream, mut ends) = apart(&server).await;
    let (mut from, to) = stream.into_split();
    for id in 1..=PAIRS {
        ends.send_frame(
            FrameHead::new(Opcode::Get, id),
            &[],
            format!("slow{id}").as_bytes(),
            &[],
        );
        ends.send_frame(FrameHead::new(Opcode::Cancel, id), &[], &[], &[]);
    }
    let storm = std::mem::take(ends.output());
    let mut pouring = JoinSet::new();
    pouring.spawn(pour(to, storm));
    let refused = within(answers(&mut from, &mut ends, PAIRS as usize - MAX)).await;
    assert!(
        refused
            .iter()
            .all(|code| *code == Some(ErrorCode::TooManyInFlight))
    );
    assert_eq!(gate.held(), MAX, "cancelled work keeps its place");
    assert_eq!(info(&mut witness, "clients", "in_flight").await, MAX as u64);
    let most = held(&mut witness).await.unwrap();
    assert!(most <= MIB, "{most}");
    gate.open();
    let ended = within(answers(&mut from, &mut ends, MAX)).await;
    assert!(ended.iter().all(Option::is_none), "END and nothing else");
    until(async || (info(&mut witness, "clients", "in_flight").await == 0).then_some(())).await;
}

/// Reads so many final answers; of each the error's code, `None` for END.
async fn answers(
    from: &mut (impl AsyncRead + Unpin),
    ends: &mut kv_testkit::peer::Ends,
    count: usize,
) -> Vec<Option<ErrorCode>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        while let Some(message) = ends.take().unwrap() {
            let is_end = message.is(Opcode::End);
            seen.push((!is_end).then(|| kv_testkit::raw::code(&message)));
        }
        if seen.len() < count {
            assert!(
                from.read_buf(ends.input()).await.unwrap() > 0,
                "after {} answers",
                seen.len()
            );
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_vanish_in_the_middle_of_everything_leave_nothing_behind() {
    let server = Arc::new(TestServer::start().await);
    let mut witness = server.raw().await;
    witness.set(b"big", &noise(1, 300_000)).await.unwrap();
    let mut tasks = JoinSet::new();
    for peer in 0..60_usize {
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            let (mut stream, mut ends) = apart(&server).await;
            let bytes = frames(&mut ends, 20, Opcode::Get, b"big");
            let part = bytes.len() * peer / 60;
            stream.write_all(&bytes[..part]).await.unwrap();
            let mut some = vec![0; peer * 1000 + 1];
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut some)).await;
        });
    }
    within(tasks.join_all()).await;
    until(async || (info(&mut witness, "clients", "connections").await == 1).then_some(())).await;
    let held = until(async || {
        let held = info(&mut witness, "memory", "connections_bytes").await;
        (held < 64 * 1024).then_some(held)
    })
    .await;
    println!("{held} bytes held for one connection that is left");
    assert_eq!(info(&mut witness, "clients", "in_flight").await, 0);
}

/// P7: sockets that send a byte now and then, before and after they are authenticated, while somebody
/// else works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dribbling_peers_do_not_slow_down_a_good_one() {
    const DRIBBLERS: usize = 300;
    let limits = "max_unauthenticated_connections = 400\nauthentication_timeout = \"50m\"";
    let server = Arc::new(Setup::new().limits(limits).start().await);
    let mut witness = server.raw().await;
    let mut dribblers = JoinSet::new();
    for peer in 0..DRIBBLERS {
        let server = Arc::clone(&server);
        dribblers.spawn(async move {
            let (mut stream, bytes) = if peer % 2 == 0 {
                (server.dial().await, vec![0xCA, 0xFE, 2, 16])
            } else {
                let (stream, mut ends) = apart(&server).await;
                (stream, frames(&mut ends, 1, Opcode::Get, &[7; 1000]))
            };
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for byte in bytes {
                ticks.tick().await;
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        });
    }
    until(async || (clients(&mut witness).await.len() > DRIBBLERS / 2).then_some(())).await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let began = Instant::now();
        assert_eq!(witness.get(b"k").await.unwrap(), None);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[500], times[990]);
    println!("among {DRIBBLERS} dribbling peers: p50 {p50:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
}
