//! Many operations in one message.

use std::time::Duration;

use kv_client::{BatchReply, ErrorCode, ErrorKind, WriteOptions};
use kv_proto::{Batch, BatchWriter, ErrorBody, Extensions, Opcode};

use crate::support::{begun, pair};

#[tokio::test]
async fn each_operation_has_its_own_answer() {
    let (client, mut peer) = pair().await;
    let call = client
        .batch()
        .get("a")
        .set_with(
            "b",
            "v",
            WriteOptions::new().if_absent().ttl(Duration::from_secs(1)),
        )
        .delete("c")
        .incr("d", -2)
        .touch("e", None)
        .get("f");
    let call = begun(call).await;
    let request = peer.next().await.unwrap().unwrap();
    assert!(request.is(Opcode::Batch) && !request.extensions().atomic);
    let items: Vec<_> = Batch::requests(&request.value).unwrap().iter().collect();
    let set = Extensions::decode(items[1].ext, Opcode::Set.info().ext).unwrap();
    assert_eq!((set.if_version, set.ttl_ms), (Some(0), Some(1_000)));
    assert_eq!(items[3].value, (-2_i64).to_be_bytes());

    let version = Extensions {
        version: Some(5),
        ..Extensions::default()
    }
    .encode();
    let mut conflict = Vec::new();
    ErrorBody {
        code: 1,
        retry_after_ms: 0,
        message: "there is one",
    }
    .encode(&mut conflict);
    let mut value = Vec::new();
    let mut replies = BatchWriter::replies(&mut value);
    let sum = 40_i64.to_be_bytes();
    for (opcode, ext, value) in [
        (Opcode::Ok, version.as_bytes(), &b"value"[..]),
        (Opcode::Err, version.as_bytes(), &conflict),
        (Opcode::NotFound, &[], &[]),
        (Opcode::Ok, version.as_bytes(), &sum),
        (Opcode::Ok, version.as_bytes(), &[]),
        (Opcode::NotFound, &[], &[]),
    ] {
        replies.item(opcode, ext, &[], value).unwrap();
    }
    peer.ends().ok(request.id, 0, &value);
    peer.flush().await.unwrap();
    let mut results = call.await.unwrap().into_iter();
    let BatchReply::Entry(Some(entry)) = results.next().unwrap().unwrap() else {
        panic!()
    };
    assert_eq!((&*entry.value, entry.version), (&b"value"[..], 5));
    let error = results.next().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Conflict));
    assert!(matches!(
        error.kind(),
        ErrorKind::Server {
            version: Some(5),
            ..
        }
    ));
    let rest: Vec<_> = results.map(Result::unwrap).collect();
    assert_eq!(
        rest,
        [
            BatchReply::Deleted(false),
            BatchReply::Counter(40),
            BatchReply::Touched(true),
            BatchReply::Entry(None)
        ]
    );
}

#[tokio::test]
async fn an_atomic_batch_that_fails_names_its_operation() {
    let (client, mut peer) = pair().await;
    let options = WriteOptions::new().if_version(3);
    let call = begun(
        client
            .batch()
            .set("a", "1")
            .set_with("b", "2", options)
            .atomic(),
    )
    .await;
    let request = peer.next().await.unwrap().unwrap();
    assert!(request.extensions().atomic);
    let mut value = Vec::new();
    ErrorBody {
        code: 1,
        retry_after_ms: 0,
        message: "another version",
    }
    .encode(&mut value);
    let ext = Extensions {
        version: Some(4),
        ..Extensions::default()
    }
    .encode();
    let head = kv_proto::FrameHead::new(Opcode::Err, request.id);
    peer.ends()
        .send(head, ext.as_bytes(), &1_u32.to_be_bytes(), &value);
    peer.flush().await.unwrap();
    let error = call.await.unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Server {
                item: Some(1),
                version: Some(4),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_batch_that_cannot_be_sent_says_so() {
    let (client, _peer) = pair().await;
    let mut batch = client.batch();
    for _ in 0..4_097 {
        batch = batch.get("k");
    }
    for call in [batch, client.batch().get("")] {
        assert!(matches!(
            call.await.unwrap_err().kind(),
            ErrorKind::InvalidArgument(_)
        ));
    }
}

#[tokio::test]
async fn answers_that_do_not_fit_the_batch_fail_it() {
    let (client, mut peer) = pair().await;
    for value in [&b""[..], b"rubbish"] {
        let call = begun(client.batch().get("a")).await;
        let request = peer.next().await.unwrap().unwrap();
        peer.ends().ok(request.id, 0, value);
        peer.flush().await.unwrap();
        assert!(matches!(
            call.await.unwrap_err().kind(),
            ErrorKind::UnusableReply(_)
        ));
    }
}
