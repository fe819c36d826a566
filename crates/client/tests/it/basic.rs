//! The ordinary calls.

use kv_client::{MultiplexedClient, Secret, Suite};
use kv_testkit::peer::{Peer, PeerSettings};
use tokio::task::JoinSet;

use crate::support::{pair, pair_with, serve};

#[tokio::test]
async fn the_program_of_the_manual_runs_as_written() {
    let (client, peer) = pair().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(peer).await });
    let (a, b, c) = tokio::join!(
        client.get("key-one"),
        client.set("key-two", b"value"),
        client.delete("key-three")
    );
    assert_eq!(a.unwrap(), None);
    assert_eq!(b.unwrap().version, 1);
    assert!(!c.unwrap());
    assert_eq!(client.get("key-two").await.unwrap().unwrap(), "value");
    let key = String::from("key-two");
    assert!(client.get(&key).await.unwrap().is_some());
    assert!(client.get(key.as_bytes()).await.unwrap().is_some());
    assert!(client.get(bytes::Bytes::from(key)).await.unwrap().is_some());
    client.ping().await.unwrap();
    assert_eq!(client.session().unwrap().identity, "tester");
    client.close().await;
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_thousand_concurrent_gets_each_get_their_own_value() {
    let (client, peer) = pair().await;
    let mut server = JoinSet::new();
    server.spawn(async move { serve(peer).await });
    for i in 0..1_000 {
        client
            .set(format!("k{i}"), format!("value {i}"))
            .await
            .unwrap();
    }
    let mut set = JoinSet::new();
    for i in 0..1_000 {
        let c = client.clone();
        set.spawn(async move { (i, c.get(&format!("k{}", i)).await) });
    }
    let mut seen = 0;
    while let Some(done) = set.join_next().await {
        let (i, value) = done.unwrap();
        assert_eq!(value.unwrap().unwrap(), format!("value {i}"));
        seen += 1;
    }
    assert_eq!(seen, 1_000);
}

#[tokio::test]
async fn every_suite_carries_calls() {
    let secret = Secret::new(&[7; 32]);
    for suite in Suite::ALL {
        let key = (suite != Suite::Checksum).then(|| ("app".into(), secret.clone()));
        let settings = PeerSettings {
            key,
            ..PeerSettings::default()
        };
        let mut builder = MultiplexedClient::builder().suites(&[suite]);
        if suite != Suite::Checksum {
            builder = builder.key("app", secret.clone());
        }
        let (client, peer) = pair_with(builder, &settings, 64 * 1024).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { serve(peer).await });
        client.set("k", "v").await.unwrap();
        assert_eq!(client.get("k").await.unwrap().unwrap(), "v", "{suite:?}");
        assert_eq!(client.session().unwrap().suite, suite.name());
    }
}

#[tokio::test]
async fn another_key_is_told_as_such() {
    let settings = PeerSettings {
        key: Some(("app".into(), Secret::new(&[7; 32]))),
        ..PeerSettings::default()
    };
    for (id, byte) in [("app", 8), ("other", 7)] {
        let (near, far) = tokio::io::duplex(4_096);
        let builder = MultiplexedClient::builder().key(id, Secret::new(&[byte; 32]));
        let (client, _) = tokio::join!(
            builder.connect_with_stream(near),
            Peer::accept(far, &settings)
        );
        let error = client.unwrap_err();
        assert!(
            matches!(error.kind(), kv_client::ErrorKind::NotAuthentic { key_id } if **key_id == *id)
        );
        assert_eq!(
            error.to_string(),
            format!("the server does not hold key \"{id}\"")
        );
    }
}
