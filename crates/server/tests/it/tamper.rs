//! Bytes that were changed, and frames that were sent before.

use kv_proto::{FrameHead, HEADER_LEN, Opcode, PREFIX_LEN, Suite, checksum};
use kv_testkit::peer::Received;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Raw, Setup, TestServer, assert_ok, next, plain, rest};

/// Sends bytes that end the stream, and gives what still comes.
async fn last_words(client: &mut Raw, bytes: &[u8]) -> Vec<Received> {
    // The server may have closed in the middle of it.
    let _ = client.send_bytes(bytes).await;
    let _ = client.io().shutdown().await;
    rest(client).await
}

fn set(client: &mut Raw, value: &[u8]) -> Vec<u8> {
    client.seal(FrameHead::new(Opcode::Set, 1), &[], b"key", value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_with_any_bit_turned_is_rejected_and_the_store_is_unchanged() {
    let server = TestServer::start().await;
    let mut witness = server.raw().await;
    let before = witness.set(b"key", b"before").await.unwrap();
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let len = set(&mut server.raw_in(suite).await, b"after").len();
        assert_eq!(len, PREFIX_LEN + 3 + 5);
        for bit in 0..len * 8 {
            let mut client = server.raw_in(suite).await;
            let mut frame = set(&mut client, b"after");
            frame[bit / 8] ^= 1 << (bit % 8);
            let answer = last_words(&mut client, &frame).await;
            assert!(answer.is_empty(), "{suite:?}, bit {bit}: {answer:?}");
        }
        let read = crate::support::call(&mut witness, Opcode::Get, plain(), b"key", &[]).await;
        assert_eq!(
            (read.value.as_slice(), read.extensions().version),
            (&b"before"[..], Some(before))
        );
    }
}

/// The canary of the test above: where anybody can make the tag, the change goes through, and it is
/// seen.
#[tokio::test]
async fn without_a_key_a_turned_bit_with_the_right_checksum_is_accepted() {
    let server = Setup::new()
        .toml("[protocol]\nsuites = [\"hmac-sha256\", \"checksum\"]\n[auth]\nanonymous = [\"read\", \"write\"]")
        .start()
        .await;
    let mut client = server.raw_in(Suite::Checksum).await;
    let mut frame = set(&mut client, b"after");
    frame[PREFIX_LEN + 3] ^= 1;
    let tag = checksum(&[&frame[..HEADER_LEN], &frame[PREFIX_LEN..]]).to_bytes();
    frame[HEADER_LEN..PREFIX_LEN].copy_from_slice(&tag);
    client.send_bytes(&frame).await.unwrap();
    assert_ok(&next(&mut client).await);
    assert_eq!(
        server.raw().await.get(b"key").await.unwrap().unwrap(),
        b"`fter"
    );
    // And without the right one it is not.
    let mut client = server.raw_in(Suite::Checksum).await;
    let mut frame = set(&mut client, b"after");
    frame[PREFIX_LEN + 3] ^= 1;
    assert!(last_words(&mut client, &frame).await.is_empty());
}

#[tokio::test]
async fn a_captured_frame_sent_again_is_rejected_in_its_session_and_in_a_new_one() {
    let server = TestServer::start().await;
    let mut witness = server.raw().await;
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let mut client = server.raw_in(suite).await;
        let captured = set(&mut client, b"replayed");
        client.send_bytes(&captured).await.unwrap();
        assert_ok(&next(&mut client).await);
        witness
            .call(Opcode::Del, &plain(), b"key", &[])
            .await
            .unwrap();
        assert!(last_words(&mut client, &captured).await.is_empty());
        let mut other = server.raw_in(suite).await;
        assert!(last_words(&mut other, &captured).await.is_empty());
        assert_eq!(witness.get(b"key").await.unwrap(), None, "{suite:?}");
    }
}

#[tokio::test]
async fn frames_that_change_places_are_rejected_at_the_first() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let first = set(&mut client, b"first");
    let second = client.seal(FrameHead::new(Opcode::Set, 2), &[], b"key", b"second");
    assert!(
        last_words(&mut client, &[second, first].concat())
            .await
            .is_empty()
    );
    assert_eq!(server.raw().await.get(b"key").await.unwrap(), None);
}

#[tokio::test]
async fn what_the_server_said_is_not_taken_from_a_client() {
    let server = TestServer::start().await;
    let proxy = kv_testkit::proxy::Proxy::start(server.address)
        .await
        .unwrap();
    let mut seen = crate::support::raw_to(proxy.address(), Suite::Hmac)
        .await
        .unwrap();
    seen.set(b"key", b"value").await.unwrap();
    let reply = proxy
        .captured(kv_testkit::proxy::Side::ToClient)
        .pop()
        .unwrap();
    assert!(last_words(&mut seen, &reply).await.is_empty());
}

#[tokio::test]
async fn nothing_behind_a_rejected_frame_is_applied() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let good = set(&mut client, b"good");
    let mut bad = client.seal(FrameHead::new(Opcode::Set, 2), &[], b"key", b"bad");
    bad[PREFIX_LEN] ^= 1;
    let behind = client.seal(FrameHead::new(Opcode::Set, 3), &[], b"key", b"behind");
    // Its answer may be lost with the connection; what was before the bad frame is applied.
    let _ = last_words(&mut client, &[good, bad, behind].concat()).await;
    assert_eq!(
        server.raw().await.get(b"key").await.unwrap().unwrap(),
        b"good"
    );
}
