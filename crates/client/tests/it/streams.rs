//! Scans: credit, ends, cancellation, and going on after a lost connection.

use std::time::Duration;

use kv_client::{ErrorCode, ErrorKind, MultiplexedClient, Scan};
use kv_proto::Opcode;
use kv_testkit::peer::Peer;
use tokio::io::DuplexStream;

use crate::support::{Network, builder, pair, settle};

/// The key of item number `n`.
fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// Takes the request that opens a scan.
async fn opened(peer: &mut Peer<DuplexStream>) -> kv_testkit::peer::Received {
    let request = peer.next_request().await.unwrap().unwrap();
    assert!(request.is(Opcode::Scan));
    request
}

async fn collect(scan: &mut Scan) -> Vec<u32> {
    let mut keys = Vec::new();
    while let Some(item) = scan.next().await {
        keys.push(u32::from_be_bytes(
            item.unwrap().key.as_ref().try_into().unwrap(),
        ));
    }
    keys
}

#[tokio::test]
async fn a_scan_gives_its_items_in_order_and_ends() {
    let (client, mut peer) = pair().await;
    let mut scan = client
        .scan("user:")
        .limit(10)
        .reverse()
        .after("user:9")
        .keys_only();
    let (keys, ()) = tokio::join!(collect(&mut scan), async {
        let request = opened(&mut peer).await;
        let ext = request.extensions();
        assert_eq!(
            (ext.limit, ext.reverse, ext.returns, ext.credit),
            (Some(10), true, Some(2), None)
        );
        assert_eq!(
            (&*request.key, &*request.value),
            (&b"user:"[..], &b"user:9"[..])
        );
        for n in 0..3 {
            peer.ends().item(request.id, &key(n), b"");
        }
        peer.ends().bare(Opcode::End, request.id);
        peer.flush().await.unwrap();
    });
    assert_eq!(keys, [0, 1, 2]);
    assert!(scan.next().await.is_none());
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test]
async fn credit_goes_back_as_items_are_taken_and_never_more_than_the_window_is_out() {
    let (client, mut peer) = pair().await;
    let mut scan = client.scan("").window(10);
    let serving = async {
        let request = opened(&mut peer).await;
        let mut credit = request.extensions().credit.unwrap();
        let mut sent = 0;
        assert_eq!(credit, 10);
        while sent < 1_000 {
            for _ in 0..std::mem::take(&mut credit).min(1_000 - sent) {
                peer.ends().item(request.id, &key(sent), b"v");
                sent += 1;
            }
            peer.flush().await.unwrap();
            if sent < 1_000 {
                let more = peer.next().await.unwrap().unwrap();
                assert!(more.is(Opcode::Credit) && more.id == request.id);
                credit = u32::from_be_bytes(more.value.try_into().unwrap());
                assert!((5..=10).contains(&credit));
            }
        }
        peer.send(Opcode::End, request.id, &[]).await.unwrap();
    };
    let (keys, ()) = tokio::join!(collect(&mut scan), serving);
    assert_eq!(keys, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn items_beyond_the_credit_end_the_connection() {
    let (client, mut peer) = pair().await;
    let mut scan = client.scan("").window(2);
    let (first, ()) = tokio::join!(scan.next(), async {
        let request = opened(&mut peer).await;
        for n in 0..4 {
            peer.ends().item(request.id, &key(n), b"v");
        }
        peer.flush().await.unwrap();
    });
    assert!(first.unwrap().is_ok());
    // What was granted is given, then the reason.
    assert!(scan.next().await.unwrap().is_ok());
    let error = scan.next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
    assert!(scan.next().await.is_none());
}

#[tokio::test]
async fn dropping_a_scan_cancels_it_and_what_still_comes_is_dropped() {
    let (client, mut peer) = pair().await;
    let mut scan = client.scan("");
    let (first, id) = tokio::join!(scan.next(), async {
        let request = opened(&mut peer).await;
        for n in 0..5 {
            peer.ends().item(request.id, &key(n), b"v");
        }
        peer.flush().await.unwrap();
        request.id
    });
    assert!(first.unwrap().is_ok());
    drop(scan);
    let cancel = peer.next().await.unwrap().unwrap();
    assert!(cancel.is(Opcode::Cancel) && cancel.id == id);
    peer.ends().item(id, &key(5), b"v");
    peer.ends().bare(Opcode::End, id);
    peer.flush().await.unwrap();
    settle().await;
    assert_eq!(client.stats(), kv_client::ClientStats::default());
    // The connection still carries calls.
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let ping = peer.next().await.unwrap().unwrap();
        peer.send(Opcode::ServerPong, 0, &ping.value).await.unwrap();
    });
    pinged.unwrap();
}

#[tokio::test]
async fn an_error_ends_a_scan() {
    let (client, mut peer) = pair().await;
    let mut scan = client.scan("");
    let (first, ()) = tokio::join!(scan.next(), async {
        let request = opened(&mut peer).await;
        peer.ends()
            .error(request.id, ErrorCode::PermissionDenied, 0);
        peer.flush().await.unwrap();
    });
    assert_eq!(
        first.unwrap().unwrap_err().code(),
        Some(ErrorCode::PermissionDenied)
    );
    assert!(scan.next().await.is_none());
}

/// Gives three items, then loses the connection in the way of `lose`; the next one has the rest.
async fn interrupted(
    lose: impl AsyncFnOnce(Peer<DuplexStream>, u32),
) -> (Vec<u32>, MultiplexedClient) {
    let (client, mut network, mut peer) = Network::with(builder()).await;
    let mut scan = client.scan("").limit(5);
    let (keys, ()) = tokio::join!(collect(&mut scan), async {
        let request = opened(&mut peer).await;
        for n in 0..3 {
            peer.ends().item(request.id, &key(n), b"v");
        }
        peer.flush().await.unwrap();
        lose(peer, request.id).await;
        let mut peer = network.accept().await;
        let request = opened(&mut peer).await;
        assert_eq!(request.value, key(2), "it goes on after the last key");
        assert_eq!(request.extensions().limit, Some(2));
        for n in 3..5 {
            peer.ends().item(request.id, &key(n), b"v");
        }
        peer.ends().bare(Opcode::End, request.id);
        peer.flush().await.unwrap();
    });
    (keys, client)
}

#[tokio::test]
async fn a_scan_goes_on_after_its_last_key_when_the_connection_is_lost() {
    let (keys, _) = interrupted(async |peer, _| drop(peer)).await;
    assert_eq!(keys, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn end_from_a_server_that_drains_is_not_taken_for_the_end() {
    let (keys, _) = interrupted(async |mut peer, id| {
        peer.ends().send(
            kv_proto::FrameHead::new(Opcode::Goaway, 0),
            &[],
            &[],
            &[0; 4],
        );
        peer.ends().bare(Opcode::End, id);
        peer.flush().await.unwrap();
    })
    .await;
    assert_eq!(keys, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_scan_that_the_draining_server_refuses_goes_on_elsewhere() {
    let (keys, _) = interrupted(async |mut peer, id| {
        peer.ends().send(
            kv_proto::FrameHead::new(Opcode::Goaway, 0),
            &[],
            &[],
            &[0; 4],
        );
        peer.ends().error(id, ErrorCode::ShuttingDown, 0);
        peer.flush().await.unwrap();
    })
    .await;
    assert_eq!(keys, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_gets_no_item_in_time_ends_and_one_that_is_not_read_does_not() {
    let (client, mut peer) = pair().await;
    let mut scan = client.scan("");
    let (first, id) = tokio::join!(scan.next(), async {
        let request = opened(&mut peer).await;
        peer.ends().item(request.id, &key(0), b"v");
        peer.ends().item(request.id, &key(1), b"v");
        peer.flush().await.unwrap();
        request.id
    });
    assert!(first.unwrap().is_ok());
    // A consumer that takes its time is not the server's fault.
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(scan.next().await.unwrap().is_ok());
    let error = scan.next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout));
    assert!(scan.next().await.is_none());
    let mut cancel = peer.next().await.unwrap().unwrap();
    if cancel.is(Opcode::Ping) {
        cancel = peer.next().await.unwrap().unwrap();
    }
    assert!(cancel.is(Opcode::Cancel) && cancel.id == id, "{cancel:?}");
}
