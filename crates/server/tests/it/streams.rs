//! SCAN: order, cursors, limits, credit, cancelling.

use kv_proto::{ErrorCode, Extensions, Opcode, OpcodeByte, returns};
use kv_testkit::peer::Received;

use crate::support::{Raw, TestServer, assert_code, call, next, noise, plain};

async fn fill(client: &mut Raw, count: u32) {
    for at in 0..count {
        client.queue(
            Opcode::Set,
            at + 1,
            &plain(),
            format!("k{at:05}").as_bytes(),
            &at.to_be_bytes(),
        );
    }
    client.flush().await.unwrap();
    for _ in 0..count {
        assert!(next(client).await.is(Opcode::Ok));
    }
}

/// The items of a scan, and the message that ended it.
async fn scan(
    client: &mut Raw,
    ext: Extensions<'_>,
    prefix: &[u8],
    after: &[u8],
) -> (Vec<Received>, Received) {
    let id = client.id();
    client
        .send(Opcode::Scan, id, &ext, prefix, after)
        .await
        .unwrap();
    collect(client, id).await
}

async fn collect(client: &mut Raw, id: u32) -> (Vec<Received>, Received) {
    let mut items = Vec::new();
    loop {
        let message = next(client).await;
        assert_eq!(message.id, id);
        if message.is(Opcode::Item) {
            items.push(message);
        } else {
            return (items, message);
        }
    }
}

fn keys(items: &[Received]) -> Vec<String> {
    items
        .iter()
        .map(|item| String::from_utf8(item.key.clone()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_scan_gives_every_entry_once_in_order_from_any_cursor() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    fill(&mut client, 200).await;
    client.set(b"other", b"x").await.unwrap();
    let (items, end) = scan(&mut client, plain(), b"k", &[]).await;
    assert!(end.is(Opcode::End));
    let expected: Vec<_> = (0..200).map(|at| format!("k{at:05}")).collect();
    assert_eq!(keys(&items), expected);
    assert!(
        items
            .iter()
            .zip(0u32..)
            .all(|(item, at)| item.value == at.to_be_bytes())
    );
    assert!(items.iter().all(|item| item.extensions().version.is_some()));
    let (items, _) = scan(&mut client, plain(), b"k", b"k00197").await;
    assert_eq!(keys(&items), ["k00198", "k00199"]);
    let reverse = Extensions {
        reverse: true,
        limit: Some(3),
        ..plain()
    };
    let (items, _) = scan(&mut client, reverse, b"k", b"k00002").await;
    assert_eq!(keys(&items), ["k00001", "k00000"]);
    let (items, _) = scan(&mut client, reverse, b"", &[]).await;
    assert_eq!(keys(&items), ["other", "k00199", "k00198"]);
    let bare = Extensions {
        returns: Some(returns::NO_VALUE),
        limit: Some(1),
        ..plain()
    };
    let (items, _) = scan(&mut client, bare, b"k", &[]).await;
    assert_eq!(
        (items[0].value.len(), items[0].extensions().value_len),
        (0, Some(4))
    );
    let (items, end) = scan(&mut client, plain(), b"nothing", &[]).await;
    assert!(items.is_empty() && end.is(Opcode::End));
    let zero = Extensions {
        limit: Some(0),
        ..plain()
    };
    assert_code(
        &call(&mut client, Opcode::Scan, zero, b"k", &[]).await,
        ErrorCode::InvalidArgument,
    );
}

#[tokio::test]
async fn no_item_comes_without_credit() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    fill(&mut client, 300).await;
    let paused = Extensions {
        credit: Some(0),
        ..plain()
    };
    client
        .send(Opcode::Scan, 900, &paused, b"k", &[])
        .await
        .unwrap();
    for grant in [3u32, 64, 1] {
        assert_eq!(
            client.get(b"k00000").await.unwrap().unwrap(),
            0u32.to_be_bytes()
        );
        client
            .send(Opcode::Credit, 900, &plain(), &[], &grant.to_be_bytes())
            .await
            .unwrap();
        for _ in 0..grant {
            let message = client.reply(900).await.unwrap();
            assert!(message.is(Opcode::Item));
        }
    }
    // Whatever the server had sent beyond its credit would stand in front of this.
    client
        .send(Opcode::Ping, 0, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(next(&mut client).await.is(Opcode::ServerPong));
    client
        .send(Opcode::Credit, 900, &plain(), &[], &u32::MAX.to_be_bytes())
        .await
        .unwrap();
    let (items, end) = collect(&mut client, 900).await;
    assert!(end.is(Opcode::End));
    assert_eq!(items.len(), 300 - 68);
    // Too late, and for nobody: both mean nothing.
    for id in [900, 12_345] {
        client
            .send(Opcode::Credit, id, &plain(), &[], &1u32.to_be_bytes())
            .await
            .unwrap();
    }
    let (items, _) = scan(&mut client, plain(), b"k0000", &[]).await;
    assert_eq!(items.len(), 10);
}

#[tokio::test]
async fn the_first_credit_is_256() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    fill(&mut client, 300).await;
    client
        .send(Opcode::Scan, 900, &plain(), b"k", &[])
        .await
        .unwrap();
    for _ in 0..256 {
        assert!(next(&mut client).await.is(Opcode::Item));
    }
    client
        .send(Opcode::Ping, 0, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(next(&mut client).await.is(Opcode::ServerPong));
}

#[tokio::test]
async fn too_much_credit_ends_the_connection() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    fill(&mut client, 1).await;
    let full = Extensions {
        credit: Some(0),
        ..plain()
    };
    client.queue(Opcode::Scan, 900, &full, b"k", &[]);
    for _ in 0..2 {
        client.queue(Opcode::Credit, 900, &plain(), &[], &u32::MAX.to_be_bytes());
    }
    client.flush().await.unwrap();
    let rest = crate::support::rest(&mut client).await;
    assert!(
        rest.iter()
            .all(|message| message.opcode != OpcodeByte::from(Opcode::Pong))
    );
    assert_eq!(
        server.raw().await.get(b"k00000").await.unwrap().unwrap(),
        [0; 4],
        "others are served"
    );
}

#[tokio::test]
async fn a_cancelled_scan_ends_at_once_and_its_id_is_free() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    fill(&mut client, 300).await;
    let some = Extensions {
        credit: Some(5),
        ..plain()
    };
    client.queue(Opcode::Scan, 900, &some, b"k", &[]);
    client.flush().await.unwrap();
    for _ in 0..5 {
        assert!(next(&mut client).await.is(Opcode::Item));
    }
    let again = call_id(&mut client, 900).await;
    assert_code(&again, ErrorCode::InvalidArgument);
    client
        .send(Opcode::Cancel, 900, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(next(&mut client).await.is(Opcode::End));
    client
        .send(Opcode::Cancel, 900, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(call_id(&mut client, 900).await.is(Opcode::Ok));
}

async fn call_id(client: &mut Raw, id: u32) -> Received {
    client
        .send(Opcode::Get, id, &plain(), b"k00000", &[])
        .await
        .unwrap();
    next(client).await
}

#[tokio::test]
async fn several_scans_and_large_items_take_turns_with_requests() {
    let server = TestServer::start().await;
    let mut client = server.raw().await;
    let values: Vec<_> = (0..3u64).map(|seed| noise(seed, 700_000)).collect();
    for (at, value) in values.iter().enumerate() {
        client
            .set(format!("big{at}").as_bytes(), value)
            .await
            .unwrap();
    }
    for id in [801, 802, 803] {
        client.queue(Opcode::Scan, id, &plain(), b"big", &[]);
    }
    client.queue(Opcode::Get, 804, &plain(), b"none", &[]);
    client.flush().await.unwrap();
    let mut seen = std::collections::BTreeMap::<u32, Vec<Received>>::new();
    while seen
        .values()
        .filter(|all| !all.last().unwrap().is(Opcode::Item))
        .count()
        < 4
    {
        let message = next(&mut client).await;
        seen.entry(message.id).or_default().push(message);
    }
    for id in [801, 802, 803] {
        let got: Vec<_> = seen[&id]
            .iter()
            .filter(|m| m.is(Opcode::Item))
            .map(|m| &m.value)
            .collect();
        assert!(got.iter().zip(&values).all(|(got, value)| *got == value) && got.len() == 3);
    }
}

#[tokio::test]
async fn streams_have_a_limit_and_a_deadline() {
    let server = crate::support::Setup::new()
        .limits("max_streams_per_connection = 3")
        .start()
        .await;
    let mut client = server.raw().await;
    fill(&mut client, 1).await;
    let paused = Extensions {
        credit: Some(0),
        ..plain()
    };
    for id in 901..=903 {
        client.queue(Opcode::Scan, id, &paused, b"k", &[]);
    }
    let late = Extensions {
        deadline_ms: Some(30),
        ..paused
    };
    client.queue(Opcode::Scan, 904, &late, b"k", &[]);
    client.flush().await.unwrap();
    assert_code(&next(&mut client).await, ErrorCode::TooManyInFlight);
    client.queue(Opcode::Cancel, 901, &plain(), &[], &[]);
    client.queue(Opcode::Scan, 904, &late, b"k", &[]);
    client.flush().await.unwrap();
    assert!(next(&mut client).await.is(Opcode::End));
    let over = next(&mut client).await;
    assert_eq!(over.id, 904);
    assert_code(&over, ErrorCode::DeadlineExceeded);
}
