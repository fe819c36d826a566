//! The client as a whole with settings that only this crate can make.

use kv_testkit::peer::{Peer, PeerSettings};
use tokio::io::duplex;
use tokio::task::JoinSet;

use crate::link::slots::IdSpace;
use crate::{MultiplexedClient, Suite};

#[tokio::test]
async fn calls_keep_apart_when_ids_wrap_every_three_uses() {
    let (near, far) = duplex(64 * 1024);
    let settings = PeerSettings::default();
    let builder = MultiplexedClient::builder()
        .ids(IdSpace::with_generations(3))
        .suites(&[Suite::Checksum]);
    let (client, peer) = tokio::join!(
        builder.connect_with_stream(near),
        Peer::accept(far, &settings)
    );
    let (client, mut peer) = (client.unwrap(), peer.unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = None;
        while let Some(request) = peer.next_request().await.unwrap() {
            // One answer is always kept back for later uses of other slots to pass.
            if let Some(request) = held.replace(request) {
                peer.ends().ok(request.id, 1, &request.key);
                peer.flush().await.unwrap();
            }
        }
    });
    let mut calls = JoinSet::new();
    for task in 0..8_u64 {
        let client = client.clone();
        calls.spawn(async move {
            for call in 0..500_u64 {
                let key = (task << 32 | call).to_be_bytes();
                let get = client.get(key);
                if call % 7 == 3 {
                    // Polled once and dropped: an orphan among the live ones.
                    let mut get = Box::pin(get);
                    std::future::poll_fn(|cx| {
                        let _ = get.as_mut().poll(cx);
                        std::task::Poll::Ready(())
                    })
                    .await;
                } else {
                    assert_eq!(*get.await.unwrap().unwrap(), key);
                }
            }
        });
    }
    // The last answer is kept back for ever unless someone asks again.
    let mut ended = 0;
    while ended < 8 {
        tokio::select! {
            Some(done) = calls.join_next() => {
                done.unwrap();
                ended += 1;
            }
            _ = async { let _ = client.get("again").await; } => {}
        }
    }
}
