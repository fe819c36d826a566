//! Values of every size, in both directions, in every suite, compressed and not.

use kv_proto::{Capabilities, Extensions, Flags, FrameHead, Opcode, Secret, Suite, compress};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::within;

use crate::support::{
    KEY, Raw, Setup, TestServer, assert_code, assert_ok, call, next, noise, plain, rest,
};

const SUITES: &str = "[protocol]\nsuites = [\"hmac-sha256\", \"x25519-aes256ctr-hmac-sha256\", \"checksum\"]\n\
                      [auth]\nanonymous = [\"read\", \"write\", \"scan\"]\n";

/// Around the places where a value is copied, shared, or cut.
const LENGTHS: [usize; 12] = [
    0,
    1,
    16_383,
    16_384,
    16_385,
    65_535,
    65_536,
    65_537,
    131_072,
    1_048_576,
    1_048_577,
    16 * 1024 * 1024,
];

#[tokio::test]
async fn values_of_every_length_come_back_in_every_suite() {
    let server = Setup::new().toml(SUITES).start().await;
    for suite in Suite::ALL {
        let mut client = server.raw_in(suite).await;
        for len in LENGTHS {
            // The cipher of an unoptimised build is slow; the other suites cover the longest.
            if suite == Suite::Encrypted && len > 2 * 1024 * 1024 {
                continue;
            }
            let value = noise(len as u64, len);
            let version = client.set(b"value", &value).await.unwrap();
            let read = call(&mut client, Opcode::Get, plain(), b"value", &[]).await;
            assert!(read.value == value, "{suite:?}: {len} bytes");
            assert_eq!(read.extensions().version, Some(version));
        }
    }
}

#[tokio::test]
async fn a_value_beyond_the_message_limit_is_refused_and_the_rest_of_it_swallowed() {
    let server = Setup::new()
        .limits("max_message_bytes = \"1MiB\"")
        .start()
        .await;
    let mut client = server.raw().await;
    client.set(b"k", &noise(1, 1 << 20)).await.unwrap();
    let long = call(
        &mut client,
        Opcode::Set,
        plain(),
        b"k",
        &noise(2, (1 << 20) + 1),
    )
    .await;
    assert_code(&long, kv_proto::ErrorCode::TooLarge);
    assert!(client.get(b"k").await.unwrap().unwrap() == noise(1, 1 << 20));
}

#[tokio::test]
async fn a_small_request_between_the_pieces_of_a_large_one_is_answered_first() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let value = noise(3, 200_000);
    let pieces: Vec<&[u8]> = value.chunks(65_536).collect();
    let total = Extensions {
        total_len: Some(200_000),
        ..plain()
    }
    .encode();
    for (at, piece) in pieces.iter().enumerate() {
        let more = at + 1 < pieces.len();
        let flags = if more { Flags::MORE } else { Flags::NONE };
        let head = FrameHead {
            flags,
            ..FrameHead::new(Opcode::Set, 7)
        };
        let (ext, key): (&[u8], &[u8]) = if at == 0 {
            (total.as_bytes(), b"k")
        } else {
            (&[], &[])
        };
        let frame = client.seal(head, ext, key, piece);
        client.send_bytes(&frame).await.unwrap();
        if more {
            let echo = call(&mut client, Opcode::Echo, plain(), &[], b"between").await;
            assert_eq!(echo.value, b"between");
        }
    }
    assert_ok(&client.reply(7).await.unwrap());
    assert!(client.get(b"k").await.unwrap().unwrap() == value);
}

async fn compressing(server: &TestServer) -> Raw {
    let settings = kv_proto::ClientSettings {
        capabilities: Capabilities::LZ4,
        ..raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac])
    };
    within(RawClient::connect(server.dial().await, settings))
        .await
        .unwrap()
}

/// Sends a value as it stands with the flag COMPRESSED.
async fn set_compressed(client: &mut Raw, key: &[u8], wire: &[u8]) -> kv_testkit::peer::Received {
    let id = client.id();
    let head = FrameHead {
        flags: Flags::COMPRESSED,
        ..FrameHead::new(Opcode::Set, id)
    };
    client.ends().send(head, &[], key, wire);
    client.flush().await.unwrap();
    next(client).await
}

#[tokio::test]
async fn compressed_values_are_what_they_were_and_lies_are_refused() {
    let server = Setup::new()
        .toml("[protocol]\ncompression = \"lz4\"")
        .start()
        .await;
    let mut client = compressing(&server).await;
    let text = b"the same words again and again; ".repeat(20_000);
    let wire = compress(&text).unwrap();
    assert_ok(&set_compressed(&mut client, b"k", &wire).await);
    let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert!(
        read.flags.contains(Flags::COMPRESSED),
        "the reply is compressed too"
    );
    assert!(read.value == text);
    // One that does not get smaller goes as it is.
    let value = noise(4, 50_000);
    client.set(b"noise", &value).await.unwrap();
    let read = call(&mut client, Opcode::Get, plain(), b"noise", &[]).await;
    assert!(!read.flags.contains(Flags::COMPRESSED) && read.value == value);
    // A client that did not ask gets it whole.
    assert!(server.raw().await.get(b"k").await.unwrap().unwrap() == text);

    let mut bomb = (17u32 << 20).to_be_bytes().to_vec();
    bomb.extend_from_slice(&wire[4..]);
    assert_code(
        &set_compressed(&mut client, b"x", &bomb).await,
        kv_proto::ErrorCode::TooLarge,
    );
    let len = u32::try_from(text.len()).unwrap();
    for lie in [len - 1, len + 1, 0] {
        let mut wire = wire.clone();
        wire[..4].copy_from_slice(&lie.to_be_bytes());
        assert_code(
            &set_compressed(&mut client, b"x", &wire).await,
            kv_proto::ErrorCode::InvalidArgument,
        );
    }
    for broken in [&wire[..3], &wire[..wire.len() - 1], &[0, 0, 0, 9, 0xFF][..]] {
        assert_code(
            &set_compressed(&mut client, b"x", broken).await,
            kv_proto::ErrorCode::InvalidArgument,
        );
    }
    assert_eq!(client.get(b"x").await.unwrap(), None);
}

#[tokio::test]
async fn compression_that_was_not_agreed_on_ends_the_connection() {
    let server = TestServer::start().await;
    let mut client = compressing(&server).await;
    let head = FrameHead {
        flags: Flags::COMPRESSED,
        ..FrameHead::new(Opcode::Set, 1)
    };
    let wire = compress(&[7; 1000]).unwrap();
    client.ends().send(head, &[], b"k", &wire);
    client.flush().await.unwrap();
    let rest = rest(&mut client).await;
    assert!(
        rest.iter().all(|message| message.id == 0),
        "nothing was served"
    );
    assert_eq!(server.raw().await.get(b"k").await.unwrap(), None);
}

#[tokio::test]
async fn a_session_goes_on_over_key_updates_in_both_signed_suites() {
    let server = TestServer::start().await;
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let mut client = server.raw_in(suite).await;
        for round in 0..5u8 {
            client.set(b"k", &[round]).await.unwrap();
            client.ends().update_sending_keys().unwrap();
            client.flush().await.unwrap();
            assert_eq!(client.get(b"k").await.unwrap().unwrap(), [round]);
        }
    }
}
