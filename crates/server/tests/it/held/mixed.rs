//! Held replies beside everything else that can be under way, and under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_proto::{Batch, ErrorCode, Opcode, OpcodeByte};
use kv_testkit::engine::{DurableEngine, PanicEngine, SlowEngine};
use kv_testkit::wait::within;
use tokio::task::JoinSet;

use super::{answers, ids, is_silent, send, server};
use crate::batches::item;
use crate::support::{Setup, assert_code, assert_ok, call, info, memory, next, plain};

/// A batch of which a part waits for its turn and another part for the disk.
#[tokio::test]
async fn a_batch_that_waited_for_a_slow_key_still_waits_for_the_disk() {
    let engine = DurableEngine::new(memory());
    let (slow, gate) = SlowEngine::new(engine.clone(), b"slow");
    let server = Setup::new().engine(slow).start().await;
    let mut client = server.raw().await;
    let mut body = Vec::new();
    item(&mut body, Opcode::Set, &plain(), b"fast", b"v");
    item(&mut body, Opcode::Get, &plain(), b"slow", &[]);
    send_batch(&mut client, 1, &body).await;
    // Behind it on both keys, so that it waits for it, and one that has nothing to do with it.
    send(&mut client, Opcode::Get, 2, b"slow", &[]).await;
    send(&mut client, Opcode::Set, 3, b"other", b"w").await;
    within(gate.holds(1)).await;
    gate.open();
    assert!(
        next(&mut client).await.is(Opcode::NotFound),
        "the read of the slow key"
    );
    assert!(is_silent(&mut client).await);
    engine.advance();
    let told = answers(&mut client, 2).await;
    assert_eq!(ids(&told), [1, 3]);
    let kinds: Vec<_> = Batch::replies(&told[0].value)
        .unwrap()
        .iter()
        .map(|item| item.opcode)
        .collect();
    assert_eq!(kinds, [Opcode::Ok, Opcode::NotFound].map(OpcodeByte::from));
}

async fn send_batch(client: &mut crate::support::Raw, id: u32, body: &[u8]) {
    send(client, Opcode::Batch, id, &[], body).await;
}

/// Work that waits on some keys, held replies on others, all in one run.
#[tokio::test]
async fn slow_keys_and_held_replies_do_not_hinder_each_other() {
    let engine = DurableEngine::new(memory());
    let (slow, gate) = SlowEngine::new(engine.clone(), b"slow");
    let server = Setup::new().engine(slow).start().await;
    let mut client = server.raw().await;
    for id in 1..=60u32 {
        let key = match id % 4 {
            0 => "slow".to_owned(),
            _ => format!("fast{}", id % 8),
        };
        client.queue(Opcode::Incr, id, &plain(), key.as_bytes(), &[]);
    }
    client.flush().await.unwrap();
    within(gate.holds(1)).await;
    assert!(is_silent(&mut client).await);
    assert_eq!(info(&mut client, "clients", "in_flight").await, 60);
    engine.advance();
    let fast = answers(&mut client, 45).await;
    assert!(fast.iter().all(|answer| answer.id % 4 != 0));
    let mut sums = std::collections::BTreeMap::new();
    for answer in fast {
        // One key's operations take effect in the order sent.
        let sum = i64::from_be_bytes(answer.value.as_slice().try_into().unwrap());
        let before = sums.insert(answer.id % 8, sum).unwrap_or_default();
        assert_eq!(sum, before + 1);
    }
    gate.open();
    for count in 1..=15i64 {
        while engine.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        engine.advance();
        assert_eq!(next(&mut client).await.value, count.to_be_bytes());
    }
}

#[tokio::test]
async fn a_panic_takes_no_held_reply_with_it() {
    let engine = DurableEngine::new(memory());
    let panicking = PanicEngine::new(engine.clone());
    let server = Setup::new().engine(panicking).start().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Set, 1, &plain(), b"a", b"v");
    client.queue(Opcode::Get, 2, &plain(), PanicEngine::NOW, &[]);
    client.queue(Opcode::Set, 3, &plain(), b"b", b"w");
    client.queue(Opcode::Get, 4, &plain(), b"b", &[]);
    client.flush().await.unwrap();
    let failed = next(&mut client).await;
    assert_eq!(failed.id, 2);
    assert_code(&failed, ErrorCode::Internal);
    assert!(is_silent(&mut client).await);
    engine.advance();
    let told = answers(&mut client, 3).await;
    assert_eq!(ids(&told), [1, 3, 4]);
    assert_eq!(told[2].value, b"w");
}

/// Makes everything durable again and again, on a thread as an engine's.
struct Flusher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flusher {
    fn start(engine: &Arc<DurableEngine>) -> Self {
        let (engine, stop) = (Arc::clone(engine), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                engine.advance();
                std::thread::yield_now();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// The writes of many at once: none is lost, and each is durable when it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_under_load() {
    let (server, engine) = server().await;
    let server = Arc::new(server);
    let _flusher = Flusher::start(&engine);
    let mut tasks = JoinSet::new();
    for at in 0..20u32 {
        let (server, engine) = (Arc::clone(&server), Arc::clone(&engine));
        tasks.spawn(async move {
            let mut client = server.raw().await;
            for round in 0..100u32 {
                let key = (at * 1_000 + round).to_be_bytes();
                let before = engine.staged();
                let set = call(&mut client, Opcode::Set, plain(), &key, b"v").await;
                assert_ok(&set);
                assert!(engine.durable_in_truth() > before);
            }
        });
    }
    within(tasks.join_all()).await;
    assert_eq!(engine.staged().get(), 2_000);
}

/// The client library uses its request ids again, in no order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_library_writes_and_reads_its_own_writes() {
    let (server, engine) = server().await;
    let _flusher = Flusher::start(&engine);
    let client = server.client().await;
    let mut tasks = JoinSet::new();
    for task in 0..64u32 {
        let client = client.clone();
        tasks.spawn(async move {
            for round in 0..30u32 {
                let value = format!("{task} {round}");
                client.set(format!("k{task}"), value.clone()).await.unwrap();
                let read = client.get(format!("k{task}")).await.unwrap();
                assert_eq!(read.unwrap(), value);
            }
        });
    }
    within(tasks.join_all()).await;
    assert_eq!(engine.staged().get(), 64 * 30);
}
