//! A server that breaks the protocol: the connection ends, every call is told why, nobody gets a
//! wrong answer, and nothing grows.

use kv_client::{ErrorCode, ErrorKind, MultiplexedClient};
use kv_proto::{Flags, FrameHead, Opcode};
use kv_testkit::peer::{Peer, PeerSettings};
use tokio::io::DuplexStream;

use crate::support::{begun, builder, pair, settle};

/// What becomes of a read and a sent write when the server does `wrong` with the read's id.
async fn both(wrong: impl AsyncFnOnce(&mut Peer<DuplexStream>, u32)) -> [kv_client::Error; 2] {
    let (client, mut peer) = pair().await;
    let read = begun(client.get("k")).await;
    let write = begun(client.set("k", "v")).await;
    let id = peer.next().await.unwrap().unwrap().id;
    peer.next().await.unwrap().unwrap();
    wrong(&mut peer, id).await;
    let (read, write) = tokio::join!(read, write);
    [read.unwrap_err(), write.unwrap_err()]
}

#[track_caller]
fn is_protocol(errors: &[kv_client::Error; 2]) {
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
    }
    let [read, write] = errors;
    assert_eq!(read.retry(), kv_client::Retry::AfterReconnect);
    assert_eq!(write.retry(), kv_client::Retry::OutcomeUnknown);
}

#[tokio::test]
async fn an_answer_to_an_id_that_is_not_in_flight_ends_the_connection() {
    for id in [0x7fff_ffff, 0x0001_0077, 0] {
        let wrong = async |peer: &mut Peer<DuplexStream>, _| {
            peer.ends().ok(id, 1, b"x");
            peer.flush().await.unwrap();
        };
        is_protocol(&both(wrong).await);
    }
}

#[tokio::test]
async fn a_second_answer_to_one_request_ends_the_connection() {
    let (client, mut peer) = pair().await;
    let (first, id) = tokio::join!(client.get("k"), async {
        let id = peer.next().await.unwrap().unwrap().id;
        peer.ends().ok(id, 1, b"v");
        peer.flush().await.unwrap();
        id
    });
    assert!(first.unwrap().is_some());
    let next = begun(client.get("k")).await;
    peer.ends().ok(id, 1, b"again");
    peer.flush().await.unwrap();
    assert!(matches!(
        next.await.unwrap_err().kind(),
        ErrorKind::Protocol(_)
    ));
}

#[tokio::test]
async fn an_answer_of_a_kind_that_the_request_cannot_get_ends_the_connection() {
    for opcode in [Opcode::End, Opcode::Item] {
        let wrong = async |peer: &mut Peer<DuplexStream>, id| {
            peer.ends().bare(opcode, id);
            peer.flush().await.unwrap();
        };
        is_protocol(&both(wrong).await);
    }
    let (client, mut peer) = pair().await;
    let write = begun(client.incr("n", 1)).await;
    let id = peer.next().await.unwrap().unwrap().id;
    peer.ends().bare(Opcode::NotFound, id);
    peer.flush().await.unwrap();
    assert!(matches!(
        write.await.unwrap_err().kind(),
        ErrorKind::Protocol(_)
    ));
}

#[tokio::test]
async fn frames_that_only_a_client_sends_and_handshake_frames_end_the_connection() {
    for opcode in [Opcode::Get, Opcode::Goodbye, Opcode::Ready, Opcode::Welcome] {
        let wrong = async |peer: &mut Peer<DuplexStream>, _| {
            peer.ends().bare(opcode, 0);
            peer.flush().await.unwrap();
        };
        is_protocol(&both(wrong).await);
    }
}

#[tokio::test]
async fn an_unknown_opcode_ends_the_connection() {
    // OK's opcode is not under the cipher: 0xEF stands in its place, under a right tag of suite 0.
    let settings = PeerSettings::default();
    let builder = builder().suites(&[kv_client::Suite::Checksum]);
    let (client, mut peer) = crate::support::pair_with(builder, &settings, 4_096).await;
    let read = begun(client.get("k")).await;
    let id = peer.next().await.unwrap().unwrap().id;
    peer.ends().bare(Opcode::Ok, id);
    let frame = peer.ends().output();
    frame[3] = 0xEF;
    let tag = kv_proto::checksum(&[&frame[..16], &[]]).to_bytes();
    frame[16..48].copy_from_slice(&tag);
    peer.flush().await.unwrap();
    let error = read.await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_flipped_bit_anywhere_ends_the_connection_and_delivers_nothing() {
    for at in [0, 3, 4, 8, 9, 11, 15, 16, 47, 48, 60] {
        let errors = both(async |peer, id| {
            peer.ends().ok(id, 1, b"value");
            // A flipped length reaches into what follows.
            peer.ends().bare(Opcode::ServerPing, 0);
            peer.ends().bare(Opcode::ServerPing, 0);
            peer.ends().output()[at] ^= 1;
            peer.flush().await.unwrap();
        })
        .await;
        is_protocol(&errors);
    }
}

#[tokio::test]
async fn bytes_of_another_protocol_end_the_connection() {
    let errors =
        both(async |peer, _| peer.send_raw(b"HTTP/1.1 400 Bad Request").await.unwrap()).await;
    is_protocol(&errors);
}

#[tokio::test]
async fn a_frame_above_the_limit_is_refused_at_its_header() {
    let errors = both(async |peer, id| {
        peer.ends().ok(id, 1, b"value");
        peer.ends().output()[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        peer.flush().await.unwrap();
    })
    .await;
    is_protocol(&errors);
}

#[tokio::test]
async fn answers_before_the_wrong_frame_count() {
    let (client, mut peer) = pair().await;
    let first = begun(client.get("1")).await;
    let second = begun(client.get("2")).await;
    let id = peer.next().await.unwrap().unwrap().id;
    peer.next().await.unwrap();
    peer.ends().ok(id, 1, b"good");
    peer.ends().bare(Opcode::Get, 1);
    peer.flush().await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), "good");
    assert!(matches!(
        second.await.unwrap_err().kind(),
        ErrorKind::Protocol(_)
    ));
}

#[tokio::test]
async fn pings_that_are_not_answered_for_want_of_room_do_not_pile_up() {
    let settings = PeerSettings::default();
    let (client, mut peer) = crate::support::pair_with(builder(), &settings, 1).await;
    let call = begun(client.get("k")).await;
    for _ in 0..100 {
        peer.ends()
            .send(FrameHead::new(Opcode::ServerPing, 0), &[], &[], &[7; 64]);
    }
    // The client does not get its PONGs out, since nobody reads them; it leaves at a bound.
    assert!(peer.flush().await.is_err());
    assert!(matches!(
        call.await.unwrap_err().kind(),
        ErrorKind::Protocol(_)
    ));
}

#[tokio::test]
async fn the_reason_that_a_server_gives_is_told_to_every_call() {
    let errors = both(async |peer, _| {
        peer.ends().error(0, ErrorCode::AuthFailed, 0);
        peer.flush().await.unwrap();
    })
    .await;
    for error in &errors {
        assert_eq!(error.code(), Some(ErrorCode::AuthFailed));
    }
    assert_eq!(errors[1].retry(), kv_client::Retry::OutcomeUnknown);
}

#[tokio::test]
async fn a_pong_that_answers_nothing_is_ignored() {
    let (client, mut peer) = pair().await;
    for payload in [&b""[..], &[0; 4], &[0xff; 4], &[1; 64]] {
        peer.send(Opcode::ServerPong, 0, payload).await.unwrap();
    }
    let call = begun(client.get("k")).await;
    let request = peer.next().await.unwrap().unwrap();
    // Nor does the id of a call that is not a PING make it an answer.
    peer.send(Opcode::ServerPong, 0, &request.id.to_be_bytes())
        .await
        .unwrap();
    settle().await;
    peer.ends().ok(request.id, 1, b"v");
    peer.flush().await.unwrap();
    assert!(call.await.unwrap().is_some());
}

#[tokio::test]
async fn compressed_answers_that_nobody_asked_for_end_the_connection() {
    let errors = both(async |peer, id| {
        let head = FrameHead {
            opcode: Opcode::Ok,
            request_id: id,
            flags: Flags::COMPRESSED,
        };
        peer.ends().send_frame(head, &[], &[], &[0; 20]);
        peer.flush().await.unwrap();
    })
    .await;
    is_protocol(&errors);
}

#[tokio::test]
async fn a_refusal_before_the_session_is_told_with_its_text() {
    let (near, mut far) = tokio::io::duplex(4_096);
    let mut bytes = Vec::new();
    kv_proto::refusal(&mut bytes, None, "OVERLOADED: come back later");
    let sending = tokio::io::AsyncWriteExt::write_all(&mut far, &bytes);
    let (client, sent) = tokio::join!(
        MultiplexedClient::builder().connect_with_stream(near),
        sending
    );
    sent.unwrap();
    let error = client.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Refused(text) if text.contains("come back later")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_in_the_place_of_ready_is_told() {
    let (near, far) = tokio::io::duplex(4_096);
    let settings = PeerSettings::default();
    let (client, _peer) = tokio::join!(builder().connect_with_stream(near), async {
        let mut peer = Peer::accept_without_ready(far, &settings).await.unwrap();
        peer.ends().error(0, ErrorCode::AuthFailed, 0);
        peer.flush().await.unwrap();
        peer
    });
    assert_eq!(client.unwrap_err().code(), Some(ErrorCode::AuthFailed));
}
