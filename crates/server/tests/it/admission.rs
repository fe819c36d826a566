//! Who is let in and what is taken: places for connections, rates, memory.

use kv_proto::{ErrorCode, Extensions, Opcode, PREFIX_LEN, Secret, Suite};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::{until, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::{KEY, READER_KEY, Raw, Setup, assert_code, call, noise, plain, raw_to};

async fn text(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer.split_off(PREFIX_LEN.min(answer.len()))).unwrap()
}

#[tokio::test]
async fn beyond_its_connections_a_server_lets_some_wait_and_refuses_the_rest() {
    let server = Setup::new()
        .limits("max_connections = 2\nmax_waiting_connections = 1\nwaiting_timeout = \"20s\"")
        .start()
        .await;
    let first = server.raw().await;
    let mut second = server.raw().await;
    let waiting = server.dial().await;
    for _ in 0..3 {
        let refused = text(&mut server.dial().await).await;
        assert!(refused.starts_with("OVERLOADED: "), "{refused}");
    }
    assert_eq!(
        second.get(b"k").await.unwrap(),
        None,
        "those inside notice nothing"
    );
    drop(first);
    let settings = raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac]);
    let mut third = within(RawClient::connect(waiting, settings)).await.unwrap();
    assert_eq!(third.get(b"k").await.unwrap(), None);
}

#[tokio::test]
async fn waiting_for_a_place_has_an_end() {
    let server = Setup::new()
        .limits("max_connections = 1\nwaiting_timeout = \"100ms\"")
        .start()
        .await;
    let mut inside = server.raw().await;
    let mut waiting = server.dial().await;
    let refused = text(&mut waiting).await;
    assert!(refused.starts_with("OVERLOADED: "), "{refused}");
    inside.set(b"k", b"v").await.unwrap();
}

#[tokio::test]
async fn connections_without_a_session_have_a_limit_of_their_own() {
    let server = Setup::new()
        .limits("max_unauthenticated_connections = 3\nauthentication_timeout = \"20s\"")
        .start()
        .await;
    let mut inside = server.raw().await;
    let mut silent: Vec<_> = vec![
        server.dial().await,
        server.dial().await,
        server.dial().await,
    ];
    let address = server.address;
    let mut late = tokio::task::JoinSet::new();
    late.spawn(async move {
        raw_to(address, Suite::Hmac)
            .await
            .unwrap()
            .get(b"k")
            .await
            .unwrap()
    });
    inside.set(b"k", b"v").await.unwrap();
    assert!(late.try_join_next().is_none());
    drop(silent.pop());
    assert_eq!(
        within(late.join_next()).await.unwrap().unwrap().unwrap(),
        b"v"
    );
}

#[tokio::test]
async fn each_client_has_its_own_rate() {
    let server = Setup::new()
        .toml("[rate_limits]\nper_client = \"5/h\"")
        .start()
        .await;
    let mut client = server.raw().await;
    for _ in 0..5 {
        client.get(b"k").await.unwrap();
    }
    let refused = call(&mut client, Opcode::Get, plain(), b"k", &[]).await;
    let (code, retry_after, _) = raw::error(&refused);
    assert_eq!(code, ErrorCode::RateLimited);
    assert!((1..=3_600_000).contains(&retry_after), "{retry_after}");
    let again = call(&mut server.raw().await, Opcode::Get, plain(), b"k", &[]).await;
    assert_code(&again, ErrorCode::RateLimited);
    let mut reader = server.raw_as("reader", &READER_KEY).await.unwrap();
    assert_eq!(reader.get(b"k").await.unwrap(), None);
    // Control frames are no requests.
    client
        .send(Opcode::Ping, 0, &plain(), &[], &[])
        .await
        .unwrap();
    assert!(
        crate::support::next(&mut client)
            .await
            .is(Opcode::ServerPong)
    );
}

#[tokio::test]
async fn everybody_together_and_each_network_have_a_rate() {
    for limit in [
        "global = \"4/h\"",
        "per_ip = \"4/h\"",
        "per_client = \"1/h\"\nper_client_burst = 4",
    ] {
        let server = Setup::new()
            .toml(&format!("[rate_limits]\n{limit}"))
            .start()
            .await;
        let (mut a, mut b) = (server.raw().await, server.raw().await);
        for _ in 0..2 {
            a.get(b"k").await.unwrap();
            b.get(b"k").await.unwrap();
        }
        for client in [&mut a, &mut b] {
            let refused = call(client, Opcode::Get, plain(), b"k", &[]).await;
            assert_code(&refused, ErrorCode::RateLimited);
        }
    }
}

/// Writes values of 10,000 bytes from one key to another, all of which are taken.
async fn fill(client: &mut Raw, keys: std::ops::Range<u32>) {
    for key in keys {
        let value = noise(u64::from(key), 10_000);
        client.set(&key.to_be_bytes(), &value).await.unwrap();
    }
}

#[tokio::test]
async fn close_to_its_memory_limit_a_server_refuses_streams_then_writes_and_goes_on_reading() {
    let server = Setup::new()
        .toml("[storage]\nmemory_limit_bytes = \"16MiB\"")
        .start()
        .await;
    let mut client = server.raw().await;
    let one = Extensions {
        limit: Some(1),
        ..plain()
    };
    fill(&mut client, 0..1_000).await;
    let found = call(&mut client, Opcode::Scan, one, b"", &[]).await;
    assert!(found.is(Opcode::Item));
    // 14.2 of 16.8 million bytes: the first threshold, at 80 %. It is looked at now and then.
    fill(&mut client, 1_000..1_420).await;
    let refused = until(async || {
        let reply = call(&mut client, Opcode::Scan, one, b"none", &[]).await;
        reply.is(Opcode::Err).then_some(reply)
    })
    .await;
    assert_code(&refused, ErrorCode::Overloaded);
    client.set(b"still", b"taken").await.unwrap();
    // The second one, at 90 %.
    let mut keys = 1_420_u32;
    let refused = until(async || {
        keys += 1;
        let (key, value) = (keys.to_be_bytes(), noise(1, 10_000));
        let reply = call(&mut client, Opcode::Set, plain(), &key, &value).await;
        reply.is(Opcode::Err).then_some(reply)
    })
    .await;
    assert_code(&refused, ErrorCode::OutOfMemory);
    assert!(client.get(&7u32.to_be_bytes()).await.unwrap().unwrap() == noise(7, 10_000));
    for key in 0..1_420u32 {
        let gone = call(&mut client, Opcode::Del, plain(), &key.to_be_bytes(), &[]).await;
        assert!(gone.is(Opcode::Ok), "deletes are taken");
    }
    until(async || {
        let reply = call(&mut client, Opcode::Set, plain(), b"again", b"v").await;
        reply.is(Opcode::Ok).then_some(())
    })
    .await;
    let found = call(&mut client, Opcode::Scan, one, b"again", &[]).await;
    assert!(found.is(Opcode::Item));
}

#[tokio::test]
async fn a_place_is_free_again_however_a_connection_ends() {
    let server = Setup::new()
        .limits("max_connections = 1\nwaiting_timeout = \"20s\"")
        .start()
        .await;
    for round in 0..20 {
        let mut client = server.raw().await;
        match round % 4 {
            0 => drop(client),
            1 => client
                .send(Opcode::Goodbye, 0, &plain(), &[], &[])
                .await
                .unwrap(),
            2 => client.send_bytes(b"GET / HTTP/1.1\r\n").await.unwrap(),
            _ => client.send_bytes(&[0xCA]).await.unwrap(),
        }
    }
    server.raw().await.set(b"k", b"v").await.unwrap();
}
