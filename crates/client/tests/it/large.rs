//! Values of more than one frame, both ways, and what they may not do to small ones.

use kv_client::ErrorKind;
use kv_proto::{Flags, Opcode};
use kv_testkit::peer::{PeerSettings, Received};
use tokio::task::JoinSet;

use crate::support::{begun, builder, pair, pair_with, serve, settle};

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| byte()).collect()
}

#[tokio::test]
async fn values_around_every_cut_come_back_as_they_were() {
    let (client, peer) = pair().await;
    let mut server = JoinSet::new();
    server.spawn(serve(peer));
    for len in [
        0, 1, 511, 512, 65_535, 65_536, 65_537, 131_072, 131_073, 1_000_000, 16_777_216,
    ] {
        let value = noise(len);
        client.set("k", &value).await.unwrap();
        let back = client.get("k").await.unwrap().unwrap();
        assert!(back == value, "{len} bytes");
    }
    assert_eq!(client.echo(noise(300_000)).await.unwrap(), noise(300_000));
    let error = client.set("k", vec![0; 16_777_217]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)));
}

#[tokio::test]
async fn no_frame_exceeds_the_negotiated_limit_and_long_keys_find_their_room() {
    let mut settings = PeerSettings::default();
    settings.server.limits.frame_bytes_max = 16 * 1024;
    let (client, peer) = pair_with(builder(), &settings, 4_096).await;
    let mut server = JoinSet::new();
    server.spawn(serve(peer));
    // The peer's end closes on a frame above the limit, or a piece below 4 KiB.
    for (key, value) in [
        (1, 100_000),
        (12_000, 20_000),
        (12_282, 4_102),
        (16_000, 384),
    ] {
        let key = vec![b'k'; key];
        client.set(&key, noise(value)).await.unwrap();
        assert_eq!(client.get(&key).await.unwrap().unwrap(), noise(value));
    }
    let error = client
        .set(vec![b'k'; 13_000], noise(20_000))
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)));
    assert!(client.get(vec![b'k'; 16_385]).await.is_err());
}

#[tokio::test]
async fn many_large_values_at_once_stay_within_what_a_receiver_takes() {
    let (client, peer) = pair().await;
    let mut server = JoinSet::new();
    server.spawn(serve(peer));
    for (count, len) in [(60, 1 << 20), (100, 70_000)] {
        let mut calls = JoinSet::new();
        for id in 0..count {
            let client = client.clone();
            let value = noise(len);
            calls.spawn(async move { client.set(format!("k{id}"), value).await });
        }
        for set in calls.join_all().await {
            set.unwrap();
        }
    }
}

#[tokio::test]
async fn a_small_request_overtakes_a_large_one_that_is_under_way() {
    let (client, mut peer) = pair_with(builder(), &PeerSettings::default(), 1_024).await;
    let large = begun(client.set("large", noise(2_000_000))).await;
    settle().await;
    let small = begun(client.get("small")).await;
    let first = peer.next().await.unwrap().unwrap();
    assert_eq!(first.key, b"small");
    let second = peer.next().await.unwrap().unwrap();
    assert_eq!(
        (&*second.key, second.value.len()),
        (&b"large"[..], 2_000_000)
    );
    assert_eq!(second.frames, 2_000_000_usize.div_ceil(65_536));
    peer.ends().ok(second.id, 1, &[]);
    peer.ends().ok(first.id, 1, b"v");
    peer.flush().await.unwrap();
    let (large, small) = tokio::join!(large, small);
    assert!(large.is_ok() && small.unwrap().is_some());
}

#[tokio::test]
async fn large_messages_take_turns() {
    let (client, mut peer) = pair_with(builder(), &PeerSettings::default(), 1_024).await;
    let mut calls = Vec::new();
    for i in 0..6_u8 {
        calls.push(begun(client.set([i], noise(700_000))).await);
    }
    // In turns all end with the last round of pieces, in the order in which they began.
    let mut received: Vec<Received> = Vec::new();
    for _ in 0..6 {
        received.push(peer.next().await.unwrap().unwrap());
    }
    for (i, message) in received.iter().enumerate() {
        assert_eq!(message.key, [u8::try_from(i).unwrap()]);
        assert!(message.value == noise(700_000));
        peer.ends().ok(message.id, 1, &[]);
    }
    let flushed = peer.flush();
    let all = async {
        for call in calls {
            call.await.unwrap();
        }
    };
    let (flushed, ()) = tokio::join!(flushed, all);
    flushed.unwrap();
}

#[tokio::test]
async fn a_large_message_dropped_midway_is_cancelled_and_no_more_of_it_is_sent() {
    let (client, mut peer) = pair_with(builder(), &PeerSettings::default(), 1_024).await;
    let large = begun(client.set("large", noise(8_000_000))).await;
    settle().await;
    let waiting = begun(client.set("waiting", noise(100_000))).await;
    drop(waiting);
    drop(large);
    assert_eq!(
        client.stats().in_flight,
        1,
        "of what was not begun nothing is left"
    );
    let next = begun(client.get("next")).await;
    let cancel = peer.next().await.unwrap().unwrap();
    assert!(cancel.is(Opcode::Cancel), "{cancel:?}");
    let request = peer.next().await.unwrap().unwrap();
    assert_eq!(request.key, b"next");
    peer.ends().bare(Opcode::End, cancel.id);
    peer.ends().bare(Opcode::NotFound, request.id);
    peer.flush().await.unwrap();
    assert_eq!(next.await.unwrap(), None);
    assert_eq!(client.stats(), kv_client::ClientStats::default());
}

#[tokio::test]
async fn answers_in_pieces_may_interleave() {
    let (client, mut peer) = pair().await;
    let one = begun(client.get("one")).await;
    let two = begun(client.get("two")).await;
    let first = peer.next().await.unwrap().unwrap().id;
    let second = peer.next().await.unwrap().unwrap().id;
    let value = noise(12_000);
    let ext = kv_proto::Extensions {
        total_len: Some(12_000),
        ..Default::default()
    }
    .encode();
    for (range, more) in [
        (0..5_000, true),
        (5_000..10_000, true),
        (10_000..12_000, false),
    ] {
        for id in [first, second] {
            let flags = if more { Flags::MORE } else { Flags::NONE };
            let head = kv_proto::FrameHead {
                opcode: Opcode::Ok,
                request_id: id,
                flags,
            };
            let ext = if range.start == 0 {
                ext.as_bytes()
            } else {
                &[]
            };
            peer.ends()
                .send_frame(head, ext, &[], &value[range.clone()]);
        }
    }
    peer.flush().await.unwrap();
    assert!(one.await.unwrap().unwrap() == value);
    assert!(two.await.unwrap().unwrap() == value);
}

#[tokio::test]
async fn compression_works_both_ways_once_it_is_asked_for() {
    let text = b"the same words again, ".repeat(20_000);
    let (client, mut peer) =
        pair_with(builder().compression(), &PeerSettings::default(), 64 * 1024).await;
    assert!(client.session().unwrap().compression);
    let (written, request) = tokio::join!(client.set("k", &text), async {
        let request = peer.next_request().await.unwrap().unwrap();
        peer.ends().ok(request.id, 1, &[]);
        peer.flush().await.unwrap();
        request
    });
    written.unwrap();
    assert!(request.flags.contains(Flags::COMPRESSED) && request.value == text);
    let (read, ()) = tokio::join!(client.get("k"), async {
        let request = peer.next_request().await.unwrap().unwrap();
        peer.ends().send_compressed(Opcode::Ok, request.id, &text);
        peer.flush().await.unwrap();
    });
    assert!(read.unwrap().unwrap() == text);

    let (client, mut peer) = pair().await;
    assert!(!client.session().unwrap().compression);
    let call = begun(client.set("k", &text[..1_000])).await;
    let request = peer.next_request().await.unwrap().unwrap();
    assert_eq!(request.flags, Flags::NONE);
    drop(call);
}

#[tokio::test]
async fn a_damaged_compressed_answer_fails_its_call_alone() {
    let (client, mut peer) =
        pair_with(builder().compression(), &PeerSettings::default(), 64 * 1024).await;
    let (read, ()) = tokio::join!(client.get("k"), async {
        let request = peer.next_request().await.unwrap().unwrap();
        let head = kv_proto::FrameHead {
            opcode: Opcode::Ok,
            request_id: request.id,
            flags: Flags::COMPRESSED,
        };
        peer.ends().send_frame(head, &[], &[], &[0, 0, 0, 9, 0xff]);
        peer.flush().await.unwrap();
    });
    assert!(matches!(
        read.unwrap_err().kind(),
        ErrorKind::UnusableReply(_)
    ));
    let mut server = JoinSet::new();
    server.spawn(serve(peer));
    assert_eq!(client.get("k").await.unwrap(), None);
}
