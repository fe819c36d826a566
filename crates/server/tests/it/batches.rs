//! BATCH: several operations under one tag, each with its own answer, or all or nothing.

use kv_proto::{
    Batch, BatchWriter, ErrorCode, Extensions, IF_ABSENT, IF_PRESENT, Opcode, OpcodeByte,
};

use crate::support::{TestServer, assert_code, assert_ok, call, plain};

/// Adds an item to the body of a batch.
pub(crate) fn item(
    body: &mut Vec<u8>,
    opcode: Opcode,
    ext: &Extensions<'_>,
    key: &[u8],
    value: &[u8],
) {
    let ext = ext.encode();
    BatchWriter::requests(body)
        .item(opcode, ext.as_bytes(), key, value)
        .unwrap();
}

#[tokio::test]
async fn a_batch_answers_every_item_in_order_and_one_failure_stops_nothing() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let mut body = Vec::new();
    let present = Extensions {
        if_version: Some(IF_PRESENT),
        ..plain()
    };
    item(&mut body, Opcode::Set, &plain(), b"a", b"1");
    item(&mut body, Opcode::Get, &plain(), b"a", &[]);
    item(&mut body, Opcode::Set, &present, b"none", b"x");
    item(&mut body, Opcode::Scan, &plain(), b"", &[]);
    item(&mut body, Opcode::Get, &plain(), b"", &[]);
    item(&mut body, Opcode::Incr, &plain(), b"a", &[]);
    item(&mut body, Opcode::Del, &plain(), b"none", &[]);
    item(&mut body, Opcode::Touch, &plain(), b"a", &[]);
    let reply = call(&mut client, Opcode::Batch, plain(), &[], &body).await;
    assert_ok(&reply);
    let answers = Batch::replies(&reply.value).unwrap();
    let kinds: Vec<_> = answers.iter().map(|item| item.opcode).collect();
    let [ok, err, none] = [Opcode::Ok, Opcode::Err, Opcode::NotFound].map(OpcodeByte::from);
    assert_eq!(kinds, [ok, ok, err, err, err, ok, none, ok]);
    let values: Vec<_> = answers.iter().map(|item| item.value).collect();
    assert_eq!((values[1], values[5]), (&b"1"[..], &2i64.to_be_bytes()[..]));
    assert_eq!(client.get(b"a").await.unwrap().unwrap(), b"2");
    let empty = call(&mut client, Opcode::Batch, plain(), &[], &[]).await;
    assert!(empty.is(Opcode::Ok) && empty.value.is_empty());
    let broken = call(
        &mut client,
        Opcode::Batch,
        plain(),
        &[],
        &body[..body.len() - 1],
    )
    .await;
    assert_code(&broken, ErrorCode::InvalidArgument);
    assert_eq!(
        client.get(b"a").await.unwrap().unwrap(),
        b"2",
        "nothing of a broken one is applied"
    );
}

#[tokio::test]
async fn an_atomic_batch_is_applied_whole_or_names_the_item_that_failed() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let atomic = Extensions {
        atomic: true,
        ..plain()
    };
    let absent = Extensions {
        if_version: Some(IF_ABSENT),
        ..plain()
    };
    let mut body = Vec::new();
    item(&mut body, Opcode::Set, &absent, b"a", b"1");
    item(&mut body, Opcode::Incr, &plain(), b"a", &[]);
    let reply = call(&mut client, Opcode::Batch, atomic, &[], &body).await;
    assert_ok(&reply);
    assert_eq!(Batch::replies(&reply.value).unwrap().len(), 2);
    let mut body = Vec::new();
    item(&mut body, Opcode::Del, &plain(), b"a", &[]);
    item(&mut body, Opcode::Set, &absent, b"b", b"x");
    item(&mut body, Opcode::Set, &absent, b"b", b"y");
    let refused = call(&mut client, Opcode::Batch, atomic, &[], &body).await;
    assert_code(&refused, ErrorCode::Conflict);
    assert_eq!(refused.key, 2u32.to_be_bytes(), "the item's index");
    assert_eq!(client.get(b"a").await.unwrap().unwrap(), b"2");
    assert_eq!(client.get(b"b").await.unwrap(), None);
}
