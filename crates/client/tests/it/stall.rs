//! A transport that does not move: the outbound queue is bounded, and fair.

use kv_client::ErrorKind;
use kv_testkit::peer::PeerSettings;
use tokio::task::JoinSet;

use crate::support::{begun, builder, pair_with, serve, settle};

#[tokio::test]
async fn a_stalled_peer_takes_exactly_64_frames_and_the_next_caller_goes_on_when_it_drains() {
    // One byte each way: of the first frame a byte leaves, and no frame as a whole.
    let (client, peer) = pair_with(builder(), &PeerSettings::default(), 1).await;
    let mut calls = JoinSet::new();
    for i in 0..64 {
        let client = client.clone();
        calls.spawn(async move { client.set(format!("k{i}"), "v").await.unwrap() });
    }
    settle().await;
    let stats = client.stats();
    assert_eq!(
        (stats.outbound_frames, stats.in_flight, stats.waiting),
        (64, 64, 0)
    );

    for i in 64..70 {
        let client = client.clone();
        calls.spawn(async move { client.set(format!("k{i}"), "v").await.unwrap() });
    }
    settle().await;
    let stats = client.stats();
    assert_eq!(
        (stats.outbound_frames, stats.in_flight, stats.waiting),
        (64, 64, 6)
    );

    let mut server = JoinSet::new();
    server.spawn(serve(peer));
    let mut ended = 0;
    while let Some(done) = calls.join_next().await {
        done.unwrap();
        ended += 1;
    }
    assert_eq!(ended, 70);
    assert_eq!(client.stats(), kv_client::ClientStats::default());
}

#[tokio::test]
async fn the_outbound_bound_can_be_set_and_waiters_are_served_in_their_order() {
    let builder = builder().outbound_frames_max(2);
    let (client, mut peer) = pair_with(builder, &PeerSettings::default(), 1).await;
    let mut calls = Vec::new();
    for i in 0..10_u8 {
        calls.push(begun(client.set([i], "v")).await);
        settle().await;
        let stats = client.stats();
        assert_eq!(stats.outbound_frames, usize::from(i + 1).min(2));
        assert_eq!(stats.waiting, usize::from(i + 1).saturating_sub(2));
    }
    let mut server = JoinSet::new();
    server.spawn(async move {
        for i in 0..10_u8 {
            let request = peer.next_request().await.unwrap().unwrap();
            assert_eq!(request.key, [i]);
            peer.ends().ok(request.id, 1, &[]);
            peer.flush().await.unwrap();
        }
    });
    for call in calls {
        call.await.unwrap();
    }
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn at_the_in_flight_limit_a_caller_waits_or_fails_as_it_was_told_to() {
    let settings = PeerSettings::default();
    let waits = builder().in_flight_max(3);
    let (client, _peer) = pair_with(waits, &settings, 4_096).await;
    let mut held = Vec::new();
    for i in 0..4_u8 {
        held.push(begun(client.get([i])).await);
    }
    assert_eq!((client.stats().in_flight, client.stats().waiting), (3, 1));

    let fails = builder().in_flight_max(3).fail_fast();
    let (client, _peer) = pair_with(fails, &settings, 4_096).await;
    let mut held = Vec::new();
    for i in 0..3_u8 {
        held.push(begun(client.get([i])).await);
    }
    let error = client.get("one more").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InFlightLimit));
    assert_eq!(error.retry(), kv_client::Retry::Safe);
    assert_eq!((client.stats().in_flight, client.stats().waiting), (3, 0));
}

#[tokio::test]
async fn the_servers_in_flight_limit_holds_when_it_is_lower() {
    let mut settings = PeerSettings::default();
    settings.server.limits.in_flight_max = 2;
    let (client, _peer) = pair_with(builder().fail_fast(), &settings, 4_096).await;
    let _first = begun(client.get("1")).await;
    let _second = begun(client.get("2")).await;
    assert!(client.get("3").await.is_err());
}

#[tokio::test]
async fn a_transport_that_holds_bytes_back_until_it_is_flushed_is_flushed() {
    let (near, far) = tokio::io::duplex(256);
    let near = tokio::io::BufWriter::with_capacity(64 * 1024, near);
    let settings = PeerSettings::default();
    let (client, peer) = tokio::join!(
        builder().connect_with_stream(near),
        kv_testkit::peer::Peer::accept(far, &settings)
    );
    let client = client.unwrap();
    let mut server = JoinSet::new();
    server.spawn(serve(peer.unwrap()));
    for len in [0, 100, 10_000, 300_000] {
        client.set("k", vec![7; len]).await.unwrap();
        assert_eq!(client.get("k").await.unwrap().unwrap().len(), len);
    }
    client.close().await;
    server.join_next().await.unwrap().unwrap();
}
