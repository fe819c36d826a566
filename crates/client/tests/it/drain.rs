//! Orderly ends: GOAWAY from the server, GOODBYE from the client.

use kv_client::{ErrorCode, ErrorKind};
use kv_proto::Opcode;
use tokio::task::JoinSet;

use crate::support::{Network, begun, builder, pair, serve, settle};

#[tokio::test]
async fn after_goaway_calls_in_flight_finish_and_new_ones_go_elsewhere() {
    let (client, mut network, mut peer) = Network::with(builder()).await;
    let old = begun(client.set("old", "v")).await;
    let request = peer.next_request().await.unwrap().unwrap();
    let goaway = [&request.id.to_be_bytes()[..], b"maintenance"].concat();
    peer.send(Opcode::Goaway, 0, &goaway).await.unwrap();
    settle().await;
    let mut server = JoinSet::new();
    let (new, ()) = tokio::join!(client.get("new"), async {
        server.spawn(serve(network.accept().await));
    });
    assert_eq!(new.unwrap(), None);
    peer.ends().ok(request.id, 9, &[]);
    peer.flush().await.unwrap();
    assert_eq!(old.await.unwrap().version, 9);
    // With nothing in flight the client leaves the old connection in order.
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Goodbye));
    peer.send(Opcode::ServerGoodbye, 0, &[]).await.unwrap();
    assert_eq!(peer.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_request_that_crossed_goaway_is_sent_again_elsewhere() {
    let (client, mut network, mut peer) = Network::with(builder()).await;
    let write = begun(client.set("k", "v")).await;
    let request = peer.next_request().await.unwrap().unwrap();
    peer.ends().send(
        kv_proto::FrameHead::new(Opcode::Goaway, 0),
        &[],
        &[],
        &[0; 4],
    );
    peer.ends().error(request.id, ErrorCode::ShuttingDown, 0);
    peer.flush().await.unwrap();
    let mut server = JoinSet::new();
    let (write, ()) = tokio::join!(write, async {
        server.spawn(serve(network.accept().await));
    });
    assert_eq!(write.unwrap().version, 1);
}

#[tokio::test]
async fn a_call_that_waits_for_room_when_goaway_comes_goes_elsewhere() {
    let (client, mut network, mut peer) = Network::with(builder().in_flight_max(1)).await;
    let first = begun(client.get("first")).await;
    let second = begun(client.get("second")).await;
    let request = peer.next_request().await.unwrap().unwrap();
    peer.send(Opcode::Goaway, 0, &request.id.to_be_bytes())
        .await
        .unwrap();
    let mut server = JoinSet::new();
    let (second, ()) = tokio::join!(second, async {
        server.spawn(serve(network.accept().await));
    });
    assert_eq!(second.unwrap(), None);
    peer.send(Opcode::NotFound, request.id, &[]).await.unwrap();
    assert_eq!(first.await.unwrap(), None);
}

#[tokio::test]
async fn close_lets_calls_finish_says_goodbye_and_refuses_the_next() {
    let (client, mut peer) = pair().await;
    let call = begun(client.get("k")).await;
    let other = client.clone();
    let (result, (), answered) = tokio::join!(call, other.close(), async {
        let request = peer.next().await.unwrap().unwrap();
        assert!(peer.next().await.unwrap().unwrap().is(Opcode::Goodbye));
        peer.send(Opcode::NotFound, request.id, &[]).await.unwrap();
        peer.send(Opcode::ServerGoodbye, 0, &[]).await.unwrap();
        peer.next().await.unwrap().is_none()
    });
    assert!(answered);
    assert_eq!(result.unwrap(), None);
    assert!(matches!(
        client.get("k").await.unwrap_err().kind(),
        ErrorKind::Closed
    ));
    // Again is not a mistake.
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_a_server_that_says_nothing() {
    let (client, mut peer) = pair().await;
    let write = begun(client.set("k", "v")).await;
    let begin = tokio::time::Instant::now();
    let (result, ()) = tokio::join!(write, client.close());
    assert!(begin.elapsed() <= std::time::Duration::from_millis(5_100));
    assert!(matches!(
        result.unwrap_err().kind(),
        ErrorKind::OutcomeUnknown
    ));
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Set));
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Goodbye));
}

#[tokio::test]
async fn dropping_the_last_clone_says_goodbye() {
    let (client, mut peer) = pair().await;
    let clone = client.clone();
    drop(client);
    let call = begun(clone.get("k")).await;
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Get));
    drop(call);
    drop(clone);
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Cancel));
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Goodbye));
}

#[tokio::test]
async fn what_came_together_with_ready_is_not_left_lying() {
    let (near, far) = tokio::io::duplex(4_096);
    let settings = kv_testkit::peer::PeerSettings::default();
    let (client, peer) = tokio::join!(builder().connect_with_stream(near), async {
        let mut peer = kv_testkit::peer::Peer::accept_without_ready(far, &settings)
            .await
            .unwrap();
        peer.ends().ready("tester");
        peer.ends().send(
            kv_proto::FrameHead::new(Opcode::ServerPing, 0),
            &[],
            &[],
            b"early",
        );
        peer.flush().await.unwrap();
        peer
    });
    let (_client, mut peer) = (client.unwrap(), peer);
    let pong = peer.next().await.unwrap().unwrap();
    assert!(pong.is(Opcode::Pong) && pong.value == b"early");
}

#[tokio::test]
async fn nothing_follows_goodbye_not_even_pong_or_cancel() {
    let (client, mut peer) = pair().await;
    let call = begun(client.get("k")).await;
    let mut closing = JoinSet::new();
    let other = client.clone();
    closing.spawn(async move { other.close().await });
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Get));
    assert!(peer.next().await.unwrap().unwrap().is(Opcode::Goodbye));
    drop(call);
    peer.send(Opcode::ServerPing, 0, b"still there?")
        .await
        .unwrap();
    settle().await;
    peer.send(Opcode::ServerGoodbye, 0, &[]).await.unwrap();
    assert_eq!(peer.next().await.unwrap(), None);
    closing.join_next().await.unwrap().unwrap();
}
