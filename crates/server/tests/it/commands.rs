//! Every request that gets one reply, as bytes through a whole session.

use kv_proto::typed::Value;
use kv_proto::{Batch, ErrorCode, Extensions, IF_ABSENT, IF_PRESENT, Opcode, OpcodeByte, returns};
use kv_testkit::peer::Received;
use kv_testkit::raw;

use crate::batches;
use crate::support::{TestServer, assert_code, assert_ok, call, clients, info, next, plain, rest};

fn version(message: &Received) -> u64 {
    message.extensions().version.expect("a version")
}

#[tokio::test]
async fn an_entry_is_written_read_changed_and_removed() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    assert!(
        call(&mut client, Opcode::Get, plain(), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
    let first = call(&mut client, Opcode::Set, plain(), b"k", b"one").await;
    assert_ok(&first);
    assert!(first.value.is_empty());
    let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert_eq!(
        (read.value.as_slice(), version(&read)),
        (&b"one"[..], version(&first))
    );
    assert_eq!(
        (read.extensions().ttl_ms, read.extensions().content_type),
        (None, None)
    );
    let second = call(&mut client, Opcode::Set, plain(), b"k", b"").await;
    assert!(version(&second) > version(&first));
    assert_eq!(client.get(b"k").await.unwrap(), Some(Vec::new()));
    assert_ok(&call(&mut client, Opcode::Del, plain(), b"k", &[]).await);
    assert!(
        call(&mut client, Opcode::Del, plain(), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
    let again = call(&mut client, Opcode::Set, plain(), b"k", b"new").await;
    assert!(version(&again) > version(&second), "versions never go back");
}

#[tokio::test]
async fn counters_count_and_other_text_stays_as_it_is() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let sum = |message: &Received| {
        assert_ok(message);
        i64::from_be_bytes(message.value.as_slice().try_into().unwrap())
    };
    assert_eq!(
        sum(&call(&mut client, Opcode::Incr, plain(), b"n", &[]).await),
        1
    );
    let delta = (-5i64).to_be_bytes();
    assert_eq!(
        sum(&call(&mut client, Opcode::Incr, plain(), b"n", &delta).await),
        -4
    );
    assert_eq!(client.get(b"n").await.unwrap().unwrap(), b"-4");
    let ttl = Extensions {
        ttl_ms: Some(60_000),
        ..plain()
    };
    let expiring = call(&mut client, Opcode::Incr, ttl, b"n", &[]).await;
    assert!(expiring.extensions().ttl_ms.is_some());
    let kept = call(&mut client, Opcode::Incr, plain(), b"n", &[]).await;
    assert!(kept.extensions().ttl_ms.is_some(), "INCR keeps the expiry");
    client
        .set(b"n", i64::MAX.to_string().as_bytes())
        .await
        .unwrap();
    assert_code(
        &call(&mut client, Opcode::Incr, plain(), b"n", &[]).await,
        ErrorCode::WrongType,
    );
    client.set(b"n", b"twelve").await.unwrap();
    assert_code(
        &call(&mut client, Opcode::Incr, plain(), b"n", &[]).await,
        ErrorCode::WrongType,
    );
    assert_eq!(client.get(b"n").await.unwrap().unwrap(), b"twelve");
    let wrong = call(&mut client, Opcode::Incr, plain(), b"n", &[1, 2, 3]).await;
    assert_code(&wrong, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn an_entry_lives_as_long_as_it_was_given() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let ttl = |ms| Extensions {
        ttl_ms: Some(ms),
        ..plain()
    };
    let set = call(&mut client, Opcode::Set, ttl(60_000), b"k", b"v").await;
    let left = set.extensions().ttl_ms.unwrap();
    assert!((1..=60_000).contains(&left));
    let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert!((1..=left).contains(&read.extensions().ttl_ms.unwrap()));
    let touched = call(&mut client, Opcode::Touch, ttl(0), b"k", &[]).await;
    assert_ok(&touched);
    assert!(version(&touched) > version(&set));
    let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert_eq!(
        (read.extensions().ttl_ms, read.value.as_slice()),
        (None, &b"v"[..])
    );
    assert_ok(&call(&mut client, Opcode::Touch, ttl(u64::MAX), b"k", &[]).await);
    assert_ok(&call(&mut client, Opcode::Touch, ttl(1), b"k", &[]).await);
    kv_testkit::wait::until(async || {
        let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
        read.is(Opcode::NotFound).then_some(())
    })
    .await;
    assert!(
        call(&mut client, Opcode::Touch, ttl(5), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
    assert_code(
        &call(&mut client, Opcode::Set, ttl(0), b"k", b"v").await,
        ErrorCode::InvalidArgument,
    );
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing_and_names_the_version() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let only = |version| Extensions {
        if_version: Some(version),
        ..plain()
    };
    let conflict = call(&mut client, Opcode::Set, only(IF_PRESENT), b"k", b"v").await;
    assert_code(&conflict, ErrorCode::Conflict);
    assert_eq!(version(&conflict), 0);
    let created = call(&mut client, Opcode::Set, only(IF_ABSENT), b"k", b"1").await;
    assert_ok(&created);
    for opcode in [Opcode::Set, Opcode::Del, Opcode::Incr, Opcode::Touch] {
        for wrong in [IF_ABSENT, version(&created) + 1] {
            let refused = call(&mut client, opcode, only(wrong), b"k", &[]).await;
            assert_code(&refused, ErrorCode::Conflict);
            assert_eq!(version(&refused), version(&created), "{opcode:?}");
        }
    }
    assert_eq!(client.get(b"k").await.unwrap().unwrap(), b"1");
    let counted = call(
        &mut client,
        Opcode::Incr,
        only(version(&created)),
        b"k",
        &[],
    )
    .await;
    assert_ok(&counted);
    assert_ok(&call(&mut client, Opcode::Touch, only(IF_PRESENT), b"k", &[]).await);
    let read = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    assert_ok(&call(&mut client, Opcode::Del, only(version(&read)), b"k", &[]).await);
}

#[tokio::test]
async fn a_reply_carries_what_was_asked_for() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let asks = |returns, content_type| Extensions {
        returns: Some(returns),
        content_type,
        ..plain()
    };
    let none = call(
        &mut client,
        Opcode::Set,
        asks(returns::PREVIOUS, Some(3)),
        b"k",
        b"{}",
    )
    .await;
    assert_eq!(
        (none.value.as_slice(), none.extensions().value_len),
        (&[][..], None)
    );
    let before = call(
        &mut client,
        Opcode::Set,
        asks(returns::PREVIOUS, Some(1)),
        b"k",
        b"",
    )
    .await;
    assert_eq!(before.value, b"{}");
    assert_eq!(
        (
            before.extensions().value_len,
            before.extensions().content_type
        ),
        (Some(2), Some(3))
    );
    let empty = call(
        &mut client,
        Opcode::Set,
        asks(returns::PREVIOUS, None),
        b"k",
        b"abc",
    )
    .await;
    assert_eq!(
        (empty.value.as_slice(), empty.extensions().value_len),
        (&[][..], Some(0))
    );
    let metadata = call(
        &mut client,
        Opcode::Get,
        asks(returns::NO_VALUE, None),
        b"k",
        &[],
    )
    .await;
    assert_eq!(
        (metadata.value.as_slice(), metadata.extensions().value_len),
        (&[][..], Some(3))
    );
    let deleted = call(
        &mut client,
        Opcode::Del,
        asks(returns::PREVIOUS, None),
        b"k",
        &[],
    )
    .await;
    assert_eq!(deleted.value, b"abc");
}

#[tokio::test]
async fn content_types_and_return_bits_that_mean_nothing_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let asks = |returns, content_type| Extensions {
        returns: Some(returns),
        content_type,
        ..plain()
    };
    let unknown = call(&mut client, Opcode::Set, asks(0, Some(9)), b"k", b"v").await;
    assert_code(&unknown, ErrorCode::InvalidArgument);
    let reserved = call(&mut client, Opcode::Get, asks(4, None), b"k", &[]).await;
    assert_code(&reserved, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn ping_echo_info_clients_and_kill_answer() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client
        .send(Opcode::Ping, 0, &plain(), &[], b"sixty-four bytes at most")
        .await
        .unwrap();
    let pong = next(&mut client).await;
    assert!(pong.is(Opcode::ServerPong) && pong.value == b"sixty-four bytes at most");
    let typed = Extensions {
        content_type: Some(2),
        ..plain()
    };
    let echo = call(&mut client, Opcode::Echo, typed, &[], b"\xc0").await;
    assert_eq!(
        (echo.value.as_slice(), echo.extensions().content_type),
        (&b"\xc0"[..], Some(2))
    );
    client.set(b"k", b"v").await.unwrap();
    assert_eq!(info(&mut client, "keyspace", "keys").await, 1);
    let whole = call(&mut client, Opcode::Info, plain(), &[], &[]).await;
    let sections = Value::decode(&whole.value).unwrap();
    assert!(sections.as_map().unwrap().len() >= 5);
    let unknown = call(&mut client, Opcode::Info, plain(), b"weather", &[]).await;
    assert_code(&unknown, ErrorCode::InvalidArgument);

    let mut other = server
        .raw_as("reader", &crate::support::READER_KEY)
        .await
        .unwrap();
    let all = clients(&mut client).await;
    assert_eq!(all.len(), 2);
    let reader = all
        .iter()
        .find(|c| c.at("identity").and_then(Value::as_str) == Some("reader"))
        .unwrap();
    assert_eq!(reader.at("protocol").and_then(Value::as_str), Some("kv/2"));
    assert_eq!(reader.at("software").and_then(Value::as_str), Some("raw/1"));
    let id = reader.at("id").and_then(Value::as_u64).unwrap();
    assert_ok(&call(&mut client, Opcode::Kill, plain(), &[], &id.to_be_bytes()).await);
    rest(&mut other).await;
    kv_testkit::wait::until(async || (clients(&mut client).await.len() == 1).then_some(())).await;
    assert!(
        call(&mut client, Opcode::Kill, plain(), &[], &id.to_be_bytes())
            .await
            .is(Opcode::NotFound)
    );
    assert_code(
        &call(&mut client, Opcode::Kill, plain(), &[], b"seven").await,
        ErrorCode::InvalidArgument,
    );
}

#[tokio::test]
async fn what_an_identity_may_not_do_is_refused_and_not_done() {
    let server = TestServer::start().await;
    let mut reader = server
        .raw_as("reader", &crate::support::READER_KEY)
        .await
        .unwrap();
    for opcode in [
        Opcode::Set,
        Opcode::Del,
        Opcode::Incr,
        Opcode::Touch,
        Opcode::Info,
        Opcode::Clients,
        Opcode::Kill,
    ] {
        let refused = call(&mut reader, opcode, plain(), b"k", &[]).await;
        assert_code(&refused, ErrorCode::PermissionDenied);
    }
    let mut body = Vec::new();
    batches::item(&mut body, Opcode::Set, &plain(), b"k", b"v");
    batches::item(&mut body, Opcode::Get, &plain(), b"k", &[]);
    let reply = call(&mut reader, Opcode::Batch, plain(), &[], &body).await;
    let kinds: Vec<_> = Batch::replies(&reply.value)
        .unwrap()
        .iter()
        .map(|item| item.opcode)
        .collect();
    assert_eq!(kinds, [Opcode::Err, Opcode::NotFound].map(OpcodeByte::from));
    // A condition tells nothing about an entry to who may not read it: the reader may.
    assert!(
        call(&mut reader, Opcode::Get, plain(), b"k", &[])
            .await
            .is(Opcode::NotFound)
    );
}

#[tokio::test]
async fn malformed_and_unknown_requests_are_answered_and_the_connection_stays() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    for opcode in [
        Opcode::Get,
        Opcode::Set,
        Opcode::Del,
        Opcode::Incr,
        Opcode::Touch,
    ] {
        assert_code(
            &call(&mut client, opcode, plain(), &[], &[]).await,
            ErrorCode::InvalidArgument,
        );
    }
    for (opcode, key, value) in [
        (Opcode::Get, &b"k"[..], &b"v"[..]),
        (Opcode::Touch, b"k", b"v"),
        (Opcode::Echo, b"k", b""),
        (Opcode::Clients, b"", b"v"),
    ] {
        assert_code(
            &call(&mut client, opcode, plain(), key, value).await,
            ErrorCode::InvalidArgument,
        );
    }
    for opcode in Opcode::ALL
        .iter()
        .filter(|o| !o.info().implemented && o.number() < 128)
    {
        assert_code(
            &call(&mut client, *opcode, plain(), b"k", &[]).await,
            ErrorCode::Unsupported,
        );
    }
    for (ext, code) in [
        (&[0x9F, 0][..], ErrorCode::Unsupported),
        (&[0x85, 0][..], ErrorCode::InvalidArgument),
        (&[0x01, 9][..], ErrorCode::InvalidArgument),
        (&[0x03, 1, 0][..], ErrorCode::InvalidArgument),
    ] {
        let id = client.id();
        let frame = client.seal(kv_proto::FrameHead::new(Opcode::Get, id), ext, b"k", &[]);
        client.send_bytes(&frame).await.unwrap();
        assert_code(&next(&mut client).await, code);
    }
    let skipped = client.seal(
        kv_proto::FrameHead::new(Opcode::Get, 77),
        &[0x1F, 1, 0],
        b"k",
        &[],
    );
    client.send_bytes(&skipped).await.unwrap();
    assert!(next(&mut client).await.is(Opcode::NotFound));
    for byte in (7..128u8).filter(|&byte| Opcode::try_from(OpcodeByte(byte)).is_err()) {
        // A frame of a later edition: right tag, unknown number.
        client.ends().send_unknown(byte, 5);
        client.flush().await.unwrap();
        assert_code(&next(&mut client).await, ErrorCode::Unsupported);
    }
}

#[tokio::test]
async fn goodbye_finishes_what_is_in_flight_and_is_answered() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    client.queue(Opcode::Set, 1, &plain(), b"k", b"v");
    client.queue(Opcode::Get, 2, &plain(), b"k", &[]);
    client.queue(Opcode::Goodbye, 0, &plain(), &[], &[]);
    client.flush().await.unwrap();
    let all = rest(&mut client).await;
    let seen: Vec<_> = all.iter().map(|m| (m.opcode, m.id)).collect();
    let [ok, bye] = [Opcode::Ok, Opcode::ServerGoodbye].map(OpcodeByte::from);
    assert_eq!(
        seen,
        [(ok, 1), (ok, 2), (bye, 0)],
        "{:?}",
        all.iter().map(raw::describe).collect::<Vec<_>>()
    );
}
