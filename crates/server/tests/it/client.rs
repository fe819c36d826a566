//! The client library against the real server.

use std::time::Duration;

use bytes::Bytes;
use kv_client::{BatchReply, ContentType, MultiplexedClient, Scan, ScanItem};
use kv_proto::{ErrorCode, Suite};
use kv_testkit::wait::within;
use tokio::task::JoinSet;

use crate::support::{Setup, TestServer, noise};

async fn all(mut scan: Scan) -> Vec<ScanItem> {
    let mut items = Vec::new();
    while let Some(item) = within(scan.next()).await {
        items.push(item.unwrap());
    }
    items
}

async fn operations_on_an_entry(client: &MultiplexedClient) {
    assert_eq!(client.get("greeting").await.unwrap(), None);
    let set = client
        .set("greeting", b"hello")
        .content_type(ContentType::Text)
        .await
        .unwrap();
    assert_eq!(
        client.get("greeting").await.unwrap().as_deref(),
        Some(&b"hello"[..])
    );
    let entry = client.get_entry("greeting").await.unwrap().unwrap();
    assert_eq!(
        (entry.version, entry.ttl, entry.content_type),
        (set.version, None, ContentType::Text)
    );
    assert!(client.exists("greeting").await.unwrap() && !client.exists("none").await.unwrap());
    assert_eq!(
        client
            .metadata("greeting")
            .await
            .unwrap()
            .unwrap()
            .value_len,
        5
    );
    let taken = client.set("greeting", b"x").if_absent().await.unwrap_err();
    assert_eq!(taken.code(), Some(ErrorCode::Conflict));
    let before = client
        .set("greeting", b"hi")
        .if_version(set.version)
        .return_previous()
        .await
        .unwrap();
    assert_eq!(before.previous.as_deref(), Some(&b"hello"[..]));
    assert!(
        client
            .touch("greeting", Some(Duration::from_secs(60)))
            .await
            .unwrap()
    );
    assert!(
        client
            .get_entry("greeting")
            .await
            .unwrap()
            .unwrap()
            .ttl
            .unwrap()
            <= Duration::from_secs(60)
    );
}

async fn other_operations(client: &MultiplexedClient) {
    assert_eq!(client.incr("n", 5).await.unwrap(), 5);
    assert_eq!(client.incr("n", -7).await.unwrap(), -2);
    assert!(client.delete("greeting").await.unwrap() && !client.delete("greeting").await.unwrap());
    client.ping().await.unwrap();
    assert_eq!(
        client.echo(b"again").await.unwrap(),
        Bytes::from_static(b"again")
    );
    let replies = client
        .batch()
        .set("a", "1")
        .get("a")
        .incr("a", 1)
        .delete("none")
        .await
        .unwrap();
    assert!(matches!(replies[1], Ok(BatchReply::Entry(Some(ref entry))) if entry.value == "1"));
    assert!(matches!(replies[2], Ok(BatchReply::Counter(2))));
    assert!(matches!(replies[3], Ok(BatchReply::Deleted(false))));
    for at in 0..700 {
        client.set(format!("s{at:03}"), b"v").await.unwrap();
    }
    let found = all(client.scan("s")).await;
    assert!(
        found
            .iter()
            .map(|item| item.key.clone())
            .eq((0..700).map(|at| Bytes::from(format!("s{at:03}"))))
    );
    assert_eq!(
        all(client.scan("s").reverse().limit(2)).await[1].key,
        "s698"
    );
    for len in [0, 70_000, 3_000_000] {
        let value = noise(9, len);
        client.set("large", &value).await.unwrap();
        assert!(client.get("large").await.unwrap().unwrap() == value);
        let found = all(client.scan("large")).await;
        assert!(found.len() == 1 && found[0].value == value);
    }
}

#[tokio::test]
async fn every_operation_works_in_every_suite() {
    let server = Setup::new()
        .toml(
            "[protocol]\nsuites = [\"hmac-sha256\", \"x25519-aes256ctr-hmac-sha256\", \"checksum\"]\ncompression = \"lz4\"\n\
             [auth]\nanonymous = [\"read\", \"write\", \"scan\"]",
        )
        .start()
        .await;
    let address = server.address.to_string();
    for suite in Suite::ALL {
        let builder = match suite {
            Suite::Checksum => MultiplexedClient::builder().anonymous(),
            _ => server.builder(),
        };
        let builder = builder.suites(&[suite]).compression();
        let client = within(builder.connect(&address)).await.unwrap();
        assert_eq!(client.session().unwrap().suite, suite.name());
        operations_on_an_entry(&client).await;
        other_operations(&client).await;
        client.delete("n").await.unwrap();
        client.close().await;
    }
}

#[tokio::test]
async fn clients_and_kill_and_info_through_the_library() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let other = within(
        server
            .builder()
            .software("other/7")
            .no_reconnect()
            .connect(server.address.to_string()),
    )
    .await
    .unwrap();
    let list = client.clients().await.unwrap();
    let list = list.as_array().unwrap();
    let found = list
        .iter()
        .find(|c| c.at("software").unwrap().as_str() == Some("other/7"))
        .unwrap();
    let id = found.at("id").unwrap().as_u64().unwrap();
    assert!(client.kill(id).await.unwrap());
    assert!(within(async { other.echo(b"x").await }).await.is_err());
    assert!(!client.kill(u64::MAX).await.unwrap());
    assert!(client.info("server").await.unwrap().at("server").is_some());
}

#[tokio::test]
async fn a_key_that_the_server_does_not_hold_opens_nothing() {
    let server = TestServer::start().await;
    for (id, secret) in [("app", [9; 32]), ("nobody", [9; 32])] {
        let builder = MultiplexedClient::builder().key(id, kv_proto::Secret::new(&secret));
        let error = within(builder.connect(server.address.to_string()))
            .await
            .unwrap_err();
        assert!(
            matches!(error.kind(), kv_client::ErrorKind::NotAuthentic { .. }),
            "{error:?}"
        );
    }
    let anonymous = MultiplexedClient::builder().anonymous();
    assert!(
        within(anonymous.connect(server.address.to_string()))
            .await
            .is_err()
    );
}

/// The program of the issue, as written there.
#[tokio::test]
async fn the_program_of_the_first_page_runs() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (a, b, c) = tokio::join!(
        client.get("key-one"),
        client.set("key-two", b"value"),
        client.delete("key-three")
    );
    assert!(a.unwrap().is_none() && b.is_ok() && !c.unwrap());
    let mut set = JoinSet::new();
    for i in 0..1_000 {
        let c = client.clone();
        set.spawn(async move { c.get(&format!("k{}", i)).await });
    }
    while let Some(got) = within(set.join_next()).await {
        assert_eq!(got.unwrap().unwrap(), None);
    }
}

#[tokio::test]
async fn two_servers_and_clients_in_one_process_do_not_mix() {
    let (one, two) = (TestServer::start().await, TestServer::start().await);
    let (a, b) = (one.client().await, two.client().await);
    let (x, y) = tokio::join!(a.set("k", b"one"), b.set("k", b"two"));
    x.unwrap();
    y.unwrap();
    assert_eq!(a.get("k").await.unwrap().unwrap(), "one");
    assert_eq!(b.get("k").await.unwrap().unwrap(), "two");
    drop(two);
    assert_eq!(a.get("k").await.unwrap().unwrap(), "one");
}
