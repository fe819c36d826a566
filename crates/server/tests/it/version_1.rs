//! Version 1: the small protocol, where it is allowed.

use kv_proto::{FrameHead, Opcode, OpcodeByte, PREFIX_LEN};
use kv_testkit::peer::Received;
use kv_testkit::raw::RawClient;
use tokio::io::AsyncReadExt as _;

use crate::support::{KEY, Raw, Setup, TestServer, assert_ok, call, next, noise, plain, rest};

async fn server() -> TestServer {
    Setup::new()
        .toml("[protocol]\nv1 = true\nv1_key = \"app\"")
        .start()
        .await
}

async fn client(server: &TestServer) -> Raw {
    RawClient::version_1(server.dial().await, &KEY)
}

fn text(message: &Received) -> String {
    assert!(message.is(Opcode::Err));
    String::from_utf8(message.value.clone()).unwrap()
}

#[tokio::test]
async fn get_set_and_del_work_without_a_session() {
    let server = server().await;
    let mut client = client(&server).await;
    assert!(
        call(&mut client, Opcode::Get, plain(), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
    let set = call(&mut client, Opcode::Set, plain(), b"k", b"v").await;
    assert!(set.is(Opcode::Ok) && set.ext.is_empty() && set.value.is_empty());
    let got = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert!(got.ext.is_empty() && got.value == b"v");
    assert_ok(&call(&mut client, Opcode::Del, plain(), b"k", &[]).await);
    assert!(
        call(&mut client, Opcode::Del, plain(), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
    let large = noise(1, 900_000);
    let frame = client.seal(FrameHead::new(Opcode::Set, 2_000_000), &[], b"big", &large);
    client.send_bytes(&frame).await.unwrap();
    assert_ok(&next(&mut client).await);
    let frame = client.seal(FrameHead::new(Opcode::Get, 2_000_001), &[], b"big", &[]);
    client.send_bytes(&frame).await.unwrap();
    assert!(next(&mut client).await.value == large);
}

#[tokio::test]
async fn a_value_too_long_for_one_frame_is_told_in_words() {
    let server = server().await;
    server
        .raw()
        .await
        .set(b"big", &noise(1, (1 << 20) + 1))
        .await
        .unwrap();
    let mut client = client(&server).await;
    let refused = call(&mut client, Opcode::Get, plain(), b"big", &[]).await;
    assert!(
        text(&refused).starts_with("TOO_LARGE: "),
        "{}",
        text(&refused)
    );
    let empty = call(&mut client, Opcode::Get, plain(), b"", &[]).await;
    assert!(
        text(&empty).starts_with("INVALID_ARGUMENT: "),
        "{}",
        text(&empty)
    );
    let unknown = call(&mut client, Opcode::Incr, plain(), b"k", &[]).await;
    assert!(
        text(&unknown).starts_with("UNSUPPORTED: "),
        "{}",
        text(&unknown)
    );
    assert!(
        call(&mut client, Opcode::Get, plain(), b"none", &[])
            .await
            .is(Opcode::NotFound)
    );
}

#[tokio::test]
async fn the_same_id_or_a_lower_one_is_refused_and_ends_the_connection() {
    let server = server().await;
    for id in [5u32, 4, 1, 0] {
        let mut client = client(&server).await;
        let first = client.seal(FrameHead::new(Opcode::Set, 5), &[], b"k", b"first");
        client.send_bytes(&first).await.unwrap();
        assert_ok(&next(&mut client).await);
        let again = if id == 5 {
            first
        } else {
            client.seal(FrameHead::new(Opcode::Set, id), &[], b"k", b"replayed")
        };
        client.send_bytes(&again).await.unwrap();
        let refused = next(&mut client).await;
        assert_eq!(refused.id, 0);
        assert!(
            text(&refused).starts_with("INVALID_ARGUMENT: "),
            "{}",
            text(&refused)
        );
        assert!(rest(&mut client).await.is_empty());
        assert_eq!(
            server.raw().await.get(b"k").await.unwrap().unwrap(),
            b"first"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_a_turned_bit_and_a_long_first_frame_end_the_connection_without_a_word() {
    let server = server().await;
    let mut stranger = RawClient::version_1(server.dial().await, &[1; 32]);
    let frame = stranger.seal(FrameHead::new(Opcode::Set, 1), &[], b"k", b"v");
    stranger.send_bytes(&frame).await.unwrap();
    assert!(rest(&mut stranger).await.is_empty());
    let mut signed = client(&server).await;
    let frame = signed.seal(FrameHead::new(Opcode::Set, 1), &[], b"k", b"v");
    for at in 0..frame.len() {
        let mut flipped = frame.clone();
        flipped[at] ^= 1;
        let mut victim = client(&server).await;
        victim.send_bytes(&flipped).await.unwrap();
        // A length that promises more is waited for; the end of the stream tells that none comes.
        tokio::io::AsyncWriteExt::shutdown(victim.io())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = victim.io().read_to_end(&mut answer).await;
        // A version that is not known is the one thing that is told.
        assert!(answer.is_empty() || at == 2, "byte {at}: {answer:?}");
    }
    let mut long = client(&server).await;
    let frame = long.seal(FrameHead::new(Opcode::Set, 1), &[], b"k", &[0; 4096]);
    long.send_bytes(&frame).await.unwrap();
    assert!(rest(&mut long).await.is_empty());
    assert_eq!(server.raw().await.get(b"k").await.unwrap(), None);
}

#[tokio::test]
async fn without_the_setting_version_1_is_refused_by_name() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let frame = client.seal(FrameHead::new(Opcode::Get, 1), &[], b"k", &[]);
    client.send_bytes(&frame).await.unwrap();
    let mut answer = Vec::new();
    client.io().read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer[2], OpcodeByte(answer[3])), (1, Opcode::Err.into()));
    assert_eq!(answer[4..8], [0; 4]);
    assert_eq!(answer[16..PREFIX_LEN], [0; 32]);
    assert_eq!(
        &answer[PREFIX_LEN..],
        b"UNSUPPORTED_VERSION: supported versions 2-2"
    );
}
