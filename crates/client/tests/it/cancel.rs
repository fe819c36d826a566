//! Dropped calls: no answer reaches anyone else, no slot is lost, the server is told.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kv_proto::Opcode;
use kv_testkit::peer::{Peer, PeerSettings, Received};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use crate::support::{Rng, begun, builder, pair, pair_with, settle};

#[tokio::test]
async fn a_call_that_was_never_polled_sends_nothing() {
    let (client, mut peer) = pair().await;
    drop(client.get("never"));
    let call = begun(client.get("polled")).await;
    assert_eq!(peer.next().await.unwrap().unwrap().key, b"polled");
    drop(call);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_keeps_its_id_until_the_answer() {
    let (client, mut peer) = pair().await;
    let dropped = begun(client.get("dropped")).await;
    let first = peer.next().await.unwrap().unwrap();
    drop(dropped);
    let cancel = peer.next().await.unwrap().unwrap();
    assert!(cancel.is(Opcode::Cancel));
    assert_eq!(cancel.id, first.id);
    assert_eq!((client.stats().in_flight, client.stats().orphans), (1, 1));

    let kept = begun(client.get("kept")).await;
    let second = peer.next().await.unwrap().unwrap();
    assert_ne!(second.id, first.id);
    // The answer crossed the CANCEL: it must not reach the second call.
    peer.ends().ok(first.id, 1, b"of the dropped one");
    peer.ends().ok(second.id, 1, b"of the kept one");
    peer.flush().await.unwrap();
    assert_eq!(kept.await.unwrap().unwrap(), "of the kept one");
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test]
async fn end_frees_the_slot_of_a_cancelled_call() {
    let (client, mut peer) = pair().await;
    let dropped = begun(client.set("k", "v")).await;
    let request = peer.next().await.unwrap().unwrap();
    drop(dropped);
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Cancel));
    peer.send(Opcode::End, request.id, &[]).await.unwrap();
    settle().await;
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test]
async fn a_dropped_call_that_waits_for_room_gives_its_place_to_the_next() {
    let builder = builder().in_flight_max(1);
    let (client, mut peer) = pair_with(builder, &PeerSettings::default(), 4_096).await;
    let first = begun(client.get("first")).await;
    let second = begun(client.get("second")).await;
    let third = begun(client.get("third")).await;
    assert_eq!(client.stats().waiting, 2);
    drop(second);
    assert_eq!(client.stats().waiting, 1);
    let request = peer.next().await.unwrap().unwrap();
    peer.ends().ok(request.id, 1, b"1");
    peer.flush().await.unwrap();
    assert!(first.await.unwrap().is_some());
    let (answer, third) = tokio::join!(
        async {
            let request = peer.next().await.unwrap().unwrap();
            assert_eq!(request.key, b"third");
            peer.ends().ok(request.id, 1, b"3");
            peer.flush().await.unwrap();
        },
        third
    );
    assert_eq!(((), third.unwrap().unwrap()), (answer, "3".into()));
}

#[tokio::test]
async fn a_grant_that_is_dropped_unused_goes_to_the_next() {
    let builder = builder().in_flight_max(1);
    let (client, mut peer) = pair_with(builder, &PeerSettings::default(), 4_096).await;
    let first = begun(client.get("first")).await;
    let second = begun(client.get("second")).await;
    let third = begun(client.get("third")).await;
    let request = peer.next().await.unwrap().unwrap();
    peer.ends().ok(request.id, 1, b"1");
    peer.flush().await.unwrap();
    assert!(first.await.unwrap().is_some());
    // The second call has room now, and is dropped without using it.
    drop(second);
    let third = begun(third).await;
    assert_eq!(peer.next().await.unwrap().unwrap().key, b"third");
    assert_eq!(client.stats().waiting, 0);
    drop(third);
}

/// Callers of the storm, which is suite 3 of the test plan.
const TASKS: u64 = 48;

/// Answers in random order, and lets some wait; CANCEL of a waiting one gives END.
async fn erratic(mut peer: Peer<DuplexStream>, mut rng: Rng) {
    let mut waiting: Vec<Received> = Vec::new();
    while let Some(request) = peer.next().await.unwrap() {
        take(&mut waiting, &mut peer, request);
        while let Some(request) = peer.ends().take().unwrap() {
            take(&mut waiting, &mut peer, request);
        }
        let keep = rng.below(24);
        while waiting.len() > keep {
            let request = waiting.swap_remove(rng.below(waiting.len()));
            peer.ends().ok(request.id, 1, &request.key);
        }
        peer.flush().await.unwrap();
    }
}

fn take(waiting: &mut Vec<Received>, peer: &mut Peer<DuplexStream>, request: Received) {
    if request.is(Opcode::Cancel) {
        if let Some(at) = waiting.iter().position(|other| other.id == request.id) {
            waiting.swap_remove(at);
            peer.ends().bare(Opcode::End, request.id);
        }
    } else if request.is(Opcode::Ping) {
        let head = kv_proto::FrameHead::new(Opcode::ServerPong, 0);
        peer.ends().send(head, &[], &[], &request.value);
        for request in waiting.drain(..) {
            peer.ends().ok(request.id, 1, &request.key);
        }
    } else {
        waiting.push(request);
    }
}

#[tokio::test]
async fn a_million_calls_dropped_at_random_points_never_meet_a_wrong_answer() {
    storm("a_million_calls", 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn neither_do_they_when_callers_and_driver_run_at_the_same_time() {
    storm("neither_do_they", 100_000).await;
}

async fn storm(name: &str, calls: u64) {
    let mut rng = Rng::for_test(name, 0x5eed_0001);
    let settings = PeerSettings::default();
    let builder = builder().suites(&[kv_client::Suite::Checksum]);
    let (client, peer) = pair_with(builder, &settings, 16 * 1024).await;
    let mut server = JoinSet::new();
    server.spawn(erratic(peer, rng.fork()));
    let counts = Arc::new([const { AtomicU64::new(0) }; 2]);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (client, mut rng, counts) = (client.clone(), rng.fork(), Arc::clone(&counts));
        tasks.spawn(async move {
            let [answered, dropped] = &*counts;
            for call in (task..calls).step_by(usize::try_from(TASKS).unwrap()) {
                let key = call.to_be_bytes();
                let patience = rng.below(12);
                let mut get = pin!(client.get(key));
                tokio::select! {
                    biased;
                    answer = &mut get => {
                        assert_eq!(*answer.unwrap().unwrap(), key);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    () = polls(patience), if patience < 8 => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
    }
    // Those that the peer lets wait while nobody else asks are set free by a PING.
    let pings = client.clone();
    let mut pinging = JoinSet::new();
    pinging.spawn(async move {
        loop {
            pings.ping().await.unwrap();
            settle().await;
        }
    });
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let [answered, dropped] = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!(answered + dropped, calls);
    assert!(
        answered > calls / 10 && dropped > calls / 10,
        "{answered} and {dropped}"
    );
    pinging.abort_all();
    while pinging.join_next().await.is_some() {}
    // Each PING lets the peer answer what is still due.
    while client.stats().orphans > 0 {
        client.ping().await.unwrap();
    }
    assert_eq!(client.stats(), kv_client::ClientStats::default());
    server.abort_all();
}

/// Is ready at the poll number `count`.
async fn polls(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
