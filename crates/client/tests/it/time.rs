//! Everything that the clock decides, with a clock that only moves when nothing else does.

use std::time::Duration;

use kv_client::{ErrorKind, Retry};
use kv_proto::Opcode;
use kv_testkit::peer::PeerSettings;
use tokio::time::{Instant, advance};

use crate::support::{begun, builder, pair, pair_with, settle};

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_after_ten_seconds_and_is_cancelled() {
    let (client, mut peer) = pair().await;
    let begin = Instant::now();
    let (read, write) = tokio::join!(client.get("k"), client.set("k", "v"));
    let waited = begin.elapsed();
    assert!((10_000..10_100).contains(&waited.as_millis()), "{waited:?}");
    let (read, write) = (read.unwrap_err(), write.unwrap_err());
    assert!(
        matches!(read.kind(), ErrorKind::Timeout) && matches!(write.kind(), ErrorKind::Timeout)
    );
    assert_eq!(
        (read.retry(), write.retry()),
        (Retry::Safe, Retry::OutcomeUnknown)
    );

    let mut ids = Vec::new();
    for expected in [Opcode::Get, Opcode::Set, Opcode::Cancel, Opcode::Cancel] {
        let received = peer.next().await.unwrap().unwrap();
        assert!(received.is(expected), "{received:?}");
        ids.push(received.id);
    }
    ids[2..].sort_unstable();
    assert_eq!(ids[..2], ids[2..]);
    assert_eq!(client.stats().orphans, 2);
    // A late answer is dropped, END frees the other.
    peer.ends().ok(ids[0], 1, b"late");
    peer.ends().bare(Opcode::End, ids[1]);
    peer.flush().await.unwrap();
    settle().await;
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_have_a_timeout_of_its_own_which_the_server_is_told() {
    let (client, mut peer) = pair().await;
    let slow = begun(client.get("slow").timeout(Duration::from_secs(30))).await;
    let begin = Instant::now();
    let error = client
        .get("fast")
        .timeout(Duration::from_millis(250))
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout));
    assert!(
        (250..260).contains(&begin.elapsed().as_millis()),
        "{:?}",
        begin.elapsed()
    );
    let request = peer.next().await.unwrap().unwrap();
    assert_eq!(request.extensions().deadline_ms, Some(30_000));
    assert_eq!(
        peer.next().await.unwrap().unwrap().extensions().deadline_ms,
        Some(250)
    );
    peer.ends().ok(request.id, 1, b"v");
    peer.flush().await.unwrap();
    assert!(slow.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_ends_in_time_and_was_not_sent() {
    let builder = builder().in_flight_max(1);
    let (client, _peer) = pair_with(builder, &PeerSettings::default(), 4_096).await;
    let _first = begun(client.get("first").timeout(Duration::from_secs(60))).await;
    let begin = Instant::now();
    let error = client
        .set("second", "v")
        .timeout(Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(
        (2_000..2_050).contains(&begin.elapsed().as_millis()),
        "{:?}",
        begin.elapsed()
    );
    assert!(matches!(error.kind(), ErrorKind::Timeout));
    assert_eq!(error.retry(), Retry::Safe);
    assert_eq!(client.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_after_a_long_idle_time_has_its_whole_timeout() {
    let (client, _peer) = pair().await;
    advance(Duration::from_secs(25)).await;
    let begin = Instant::now();
    assert!(client.get("k").await.is_err());
    assert!(
        begin.elapsed() >= Duration::from_millis(9_990),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_pings_every_30_seconds_and_gives_up_after_two_misses() {
    let (client, mut peer) = pair().await;
    let begin = Instant::now();
    for seconds in [30, 60] {
        let ping = peer.next().await.unwrap().unwrap();
        assert!(ping.is(Opcode::Ping));
        assert_eq!((ping.id, begin.elapsed().as_secs()), (0, seconds));
        peer.send(Opcode::ServerPong, 0, &ping.value).await.unwrap();
    }
    // From here on the server is silent.
    for seconds in [90, 120] {
        assert!(peer.next().await.unwrap().unwrap().is(Opcode::Ping));
        assert_eq!(begin.elapsed().as_secs(), seconds);
    }
    assert_eq!(peer.next().await.unwrap(), None);
    assert_eq!(begin.elapsed().as_secs(), 150);
    assert!(matches!(
        client.get("k").await.unwrap_err().kind(),
        ErrorKind::ConnectionLost
    ));
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered_with_its_bytes_before_what_waits() {
    let (client, mut peer) = pair().await;
    peer.send(Opcode::ServerPing, 0, b"are you there")
        .await
        .unwrap();
    let pong = peer.next().await.unwrap().unwrap();
    assert!(pong.is(Opcode::Pong));
    assert_eq!((pong.id, &*pong.value), (0, &b"are you there"[..]));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_that_stays_unanswered_for_a_minute_ends_the_connection() {
    let (client, mut peer) = pair().await;
    drop(begun(client.get("k")).await);
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Get));
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Cancel));
    let begin = Instant::now();
    // PINGs are answered meanwhile: the server lives, and owes an answer.
    assert!(peer.next_request().await.unwrap().is_none());
    assert!(
        (60..=61).contains(&begin.elapsed().as_secs()),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_gets_no_answer_ends_after_the_connect_timeout() {
    let (near, _far) = tokio::io::duplex(4_096);
    let begin = Instant::now();
    let error = builder().connect_with_stream(near).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error:?}");
    assert!((5_000..5_050).contains(&begin.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn the_clients_key_is_changed_after_an_hour_and_the_session_goes_on() {
    let settings = PeerSettings::default();
    let builder = builder().suites(&[kv_client::Suite::Hmac]);
    let (client, mut peer) = pair_with(builder, &settings, 4_096).await;
    let begin = Instant::now();
    let epoch = loop {
        let received = peer.next().await.unwrap().unwrap();
        if received.is(Opcode::KeyUpdate) {
            break received.value;
        }
        assert!(received.is(Opcode::Ping), "{received:?}");
        peer.send(Opcode::ServerPong, 0, &received.value)
            .await
            .unwrap();
    };
    assert_eq!(epoch, 1_u32.to_be_bytes());
    assert!(
        (3_600..3_700).contains(&begin.elapsed().as_secs()),
        "{:?}",
        begin.elapsed()
    );
    let (echoed, ()) = tokio::join!(client.echo("after"), async {
        let request = peer.next_request().await.unwrap().unwrap();
        peer.ends().update_keys().unwrap();
        peer.ends().ok(request.id, 0, &request.value);
        peer.flush().await.unwrap();
    });
    assert_eq!(echoed.unwrap(), "after");
}
