//! Lost connections: every call ends, as retryable or as unknown, and reads go on by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_client::{Backoff, ErrorKind, Retry};
use kv_proto::Opcode;
use kv_testkit::peer::PeerSettings;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Model, Network, Rng, begun, builder, pair, pair_with, settle};

#[tokio::test]
async fn a_write_that_was_sent_and_not_answered_is_of_unknown_outcome() {
    let (client, mut peer) = pair().await;
    let write = begun(client.set("k", "v")).await;
    let read = begun(client.get("k")).await;
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Set));
    drop(peer);
    let error = write.await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::OutcomeUnknown),
        "{error:?}"
    );
    assert_eq!(error.retry(), Retry::OutcomeUnknown);
    // This client was told not to connect again: the read fails, and may be repeated.
    let error = read.await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost));
    assert_eq!(error.retry(), Retry::Safe);
    assert!(matches!(
        client.get("k").await.unwrap_err().kind(),
        ErrorKind::ConnectionLost
    ));
}

#[tokio::test]
async fn a_write_of_which_not_every_byte_left_was_not_applied() {
    let (client, peer) = pair_with(builder(), &PeerSettings::default(), 1).await;
    let first = begun(client.set("first", "v")).await;
    let second = begun(client.set("second", "v")).await;
    settle().await;
    drop(peer);
    for call in [first, second] {
        let error = call.await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::ConnectionLost),
            "{error:?}"
        );
        assert_eq!(error.retry(), Retry::Safe);
    }
}

#[tokio::test]
async fn an_orderly_goodbye_leaves_what_is_unanswered_unknown_as_well() {
    let (client, mut peer) = pair().await;
    let write = begun(client.set("k", "v")).await;
    peer.next().await.unwrap();
    peer.send(Opcode::ServerGoodbye, 0, &[]).await.unwrap();
    assert!(matches!(
        write.await.unwrap_err().kind(),
        ErrorKind::OutcomeUnknown
    ));
}

#[tokio::test]
async fn reads_and_unsent_writes_go_on_over_the_next_connection() {
    let (client, mut network, mut peer) = Network::with(builder()).await;
    let read = begun(client.get("k")).await;
    let write = begun(client.set("sent", "v")).await;
    for _ in 0..2 {
        peer.next().await.unwrap().unwrap();
    }
    // This one the driver has not even seen.
    let unsent = begun(client.set("unsent", "v")).await;
    drop(peer);
    let serving = async {
        let mut peer = network.accept().await;
        let mut model = Model::default();
        for _ in 0..2 {
            let request = peer.next_request().await.unwrap().unwrap();
            assert_ne!(request.key, b"sent", "a write must not be repeated");
            model.answer(&mut peer, &request);
            peer.flush().await.unwrap();
        }
        peer
    };
    let (read, write, unsent, _peer) = tokio::join!(read, write, unsent, serving);
    assert_eq!(read.unwrap(), None);
    assert!(matches!(
        write.unwrap_err().kind(),
        ErrorKind::OutcomeUnknown
    ));
    assert_eq!(unsent.unwrap().version, 1);
}

#[tokio::test]
async fn a_client_without_calls_does_not_connect_again() {
    let (client, network, peer) = Network::with(builder()).await;
    drop(peer);
    settle().await;
    assert!(network.is_quiet());
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_connection_end_within_their_timeout_and_say_why() {
    let (client, network, peer) =
        Network::with(builder().request_timeout(Duration::from_secs(3))).await;
    drop(peer);
    drop(network);
    let begin = Instant::now();
    let (read, write) = tokio::join!(client.get("k"), client.set("k", "v"));
    assert!(
        begin.elapsed() <= Duration::from_millis(3_050),
        "{:?}",
        begin.elapsed()
    );
    for error in [read.unwrap_err(), write.unwrap_err()] {
        assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error:?}");
        assert_eq!(error.retry(), Retry::Safe);
    }
}

#[tokio::test(start_paused = true)]
async fn dialling_slows_down_and_does_not_stop_while_a_call_waits() {
    let attempts = Arc::new(AtomicU64::new(0));
    let (first, far) = tokio::io::duplex(4_096);
    let streams = Arc::new(parking_lot::Mutex::new(Some(first)));
    let counted = Arc::clone(&attempts);
    let connecting = builder()
        .request_timeout(Duration::from_secs(60))
        .connect_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let stream = streams.lock().take();
            async move { stream.ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into()) }
        });
    let settings = PeerSettings::default();
    let (client, peer) = tokio::join!(connecting, kv_testkit::peer::Peer::accept(far, &settings));
    let client = client.unwrap();
    drop(peer);
    assert!(client.get("k").await.is_err());
    // At once, then 10-20, 20-40 ... up to 2.5-5 s: about 20 to 35 attempts in a minute.
    let count = attempts.load(Ordering::Relaxed);
    assert!((15..45).contains(&count), "{count} attempts");
}

#[tokio::test]
async fn a_first_connection_that_fails_is_told_at_once() {
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refused.local_addr().unwrap();
    drop(refused);
    let error = builder()
        .anonymous()
        .connect(address.to_string())
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_killed_at_random_points_ends_every_call_and_no_value_is_wrong() {
    const CALLS: u64 = 3_000;
    let mut rng = Rng::for_test("killed_at_random", 0x5eed_0002);
    let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let patient = builder()
        .reconnect(at_once)
        .request_timeout(Duration::from_secs(120));
    let (client, mut network, mut peer) = Network::with(patient).await;
    let mut calls = JoinSet::new();
    for i in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move {
            let key = i.to_be_bytes();
            if i % 3 == 0 {
                match client.set(key, key).await {
                    Ok(reply) => assert_eq!(reply.version, i + 1),
                    Err(error) => assert_eq!(error.retry(), Retry::OutcomeUnknown, "{error:?}"),
                }
            } else {
                // A read is repeated until it is answered.
                assert_eq!(*client.get(key).await.unwrap().unwrap(), key);
            }
        });
    }
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            let budget = 20 + rng.below(400);
            for _ in 0..budget {
                // Nothing new comes when all wait for answers that were kept back.
                let request = tokio::select! {
                    biased;
                    request = peer.next_request() => request.unwrap(),
                    () = settle() => None,
                };
                let Some(request) = request else { break };
                if rng.below(8) == 0 {
                    continue;
                }
                let number = u64::from_be_bytes(request.key.clone().try_into().unwrap());
                peer.ends().ok(request.id, number + 1, &request.key);
                if rng.below(4) == 0 {
                    peer.flush().await.unwrap();
                }
            }
            // What was not flushed is lost, and so is what was not answered.
            if rng.below(2) == 0 {
                let half = peer.ends().output().len() / 2;
                peer.ends().output().truncate(half);
                peer.flush().await.unwrap();
            }
            drop(peer);
            peer = network.accept().await;
        }
    });
    let mut ended = 0;
    while ended < CALLS {
        tokio::select! {
            Some(done) = calls.join_next() => done.unwrap(),
            Some(over) = server.join_next() => over.unwrap(),
        }
        ended += 1;
    }
}

#[tokio::test]
async fn the_runtime_of_the_driver_may_end_and_no_call_hangs() {
    let (near, far) = tokio::io::duplex(4_096);
    let settings = PeerSettings::default();
    let (sender, receiver) = std::sync::mpsc::channel();
    let connecting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = runtime
            .block_on(builder().connect_with_stream(near))
            .unwrap();
        sender.send(client).unwrap();
        drop(runtime);
    });
    let _peer = kv_testkit::peer::Peer::accept(far, &settings)
        .await
        .unwrap();
    let client = receiver.recv().unwrap();
    connecting.join().unwrap();
    let error = client.get("k").await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionLost),
        "{error:?}"
    );
}
