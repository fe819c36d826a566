//! Answers come in any order and reach who asked.

use kv_proto::Opcode;
use tokio::task::JoinSet;

use crate::support::{begun, pair};

#[tokio::test]
async fn answers_in_reverse_order_reach_their_callers() {
    let (client, mut peer) = pair().await;
    let mut calls = JoinSet::new();
    for i in 0..50_u32 {
        let client = client.clone();
        calls.spawn(async move { (i, client.get(i.to_be_bytes()).await.unwrap().unwrap()) });
    }
    let mut requests = Vec::new();
    while requests.len() < 50 {
        requests.push(peer.next_request().await.unwrap().unwrap());
    }
    for request in requests.iter().rev() {
        peer.ends().ok(request.id, 1, &request.key);
    }
    peer.flush().await.unwrap();
    let mut ended = 0;
    while let Some(done) = calls.join_next().await {
        let (i, value) = done.unwrap();
        assert_eq!(*value, i.to_be_bytes());
        ended += 1;
    }
    assert_eq!(ended, 50);
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test]
async fn a_slow_request_does_not_delay_a_fast_one() {
    let (client, mut peer) = pair().await;
    let slow = begun(client.get("slow")).await;
    let fast = begun(client.get("fast")).await;
    let first = peer.next_request().await.unwrap().unwrap();
    let second = peer.next_request().await.unwrap().unwrap();
    assert_eq!((&*first.key, &*second.key), (&b"slow"[..], &b"fast"[..]));
    peer.ends().ok(second.id, 1, b"2");
    peer.flush().await.unwrap();
    assert_eq!(fast.await.unwrap().unwrap(), "2");
    peer.ends().ok(first.id, 1, b"1");
    peer.flush().await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn an_error_of_the_server_comes_with_its_code_and_its_advice() {
    let (client, mut peer) = pair().await;
    let call = begun(client.set("k", "v").if_absent()).await;
    let request = peer.next_request().await.unwrap().unwrap();
    assert_eq!(request.extensions().if_version, Some(0));
    peer.ends()
        .error(request.id, kv_client::ErrorCode::RateLimited, 250);
    peer.flush().await.unwrap();
    let error = call.await.unwrap_err();
    assert_eq!(error.code(), Some(kv_client::ErrorCode::RateLimited));
    assert_eq!(error.retry(), kv_client::Retry::Safe);
    assert_eq!(
        error.retry_after(),
        Some(std::time::Duration::from_millis(250))
    );
}

#[tokio::test]
async fn options_stand_in_the_frame_and_their_answers_in_the_reply() {
    use std::time::Duration;
    let (client, mut peer) = pair().await;
    let call = client
        .set("k", "new")
        .ttl(Duration::from_secs(2))
        .if_version(7)
        .content_type(kv_client::ContentType::Json)
        .return_previous();
    let call = begun(call).await;
    let request = peer.next_request().await.unwrap().unwrap();
    let ext = request.extensions();
    assert_eq!(
        (ext.ttl_ms, ext.if_version, ext.content_type, ext.returns),
        (Some(2_000), Some(7), Some(3), Some(1))
    );
    let reply = kv_proto::Extensions {
        version: Some(8),
        value_len: Some(0),
        ..kv_proto::Extensions::default()
    };
    let head = kv_proto::FrameHead::new(Opcode::Ok, request.id);
    peer.ends().send(head, reply.encode().as_bytes(), &[], &[]);
    peer.flush().await.unwrap();
    let reply = call.await.unwrap();
    assert_eq!(
        (reply.version, reply.previous),
        (8, Some(bytes::Bytes::new()))
    );
}

#[tokio::test]
async fn mistakes_of_the_caller_are_told_before_anything_is_sent() {
    let (client, _peer) = pair().await;
    let long = vec![b'k'; 65_536];
    for key in [&b""[..], &long] {
        let error = client.get(key).await.unwrap_err();
        assert!(matches!(
            error.kind(),
            kv_client::ErrorKind::InvalidArgument(_)
        ));
        assert!(client.set(key, "v").await.is_err());
    }
    assert_eq!(client.stats(), kv_client::ClientStats::default());
}
