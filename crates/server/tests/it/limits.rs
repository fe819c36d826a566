//! Each limit at its value and one past it, and a list of where: a limit that is not in it fails.

use kv_proto::{BatchWriter, ErrorCode, Extensions, Flags, FrameHead, Opcode};
use kv_testkit::peer::Received;

use crate::support::{Raw, Setup, assert_code, assert_ok, call, next, noise, plain, rest};

/// Every key of `[limits]`, and the test that goes up to it and past it.
const WHERE: &[(&str, &str)] = &[
    ("max_connections", "admission"),
    ("max_waiting_connections", "admission"),
    ("waiting_timeout", "admission"),
    ("max_unauthenticated_connections", "admission"),
    (
        "max_unauthenticated_per_ip",
        "listener::slots: loopback is exempt",
    ),
    ("max_concurrent_tls_handshakes", "tls"),
    ("authentication_timeout", "handshake, connection::tests"),
    ("authentication_timeout_tls", "tls"),
    ("max_frame_bytes", "limits"),
    ("max_message_bytes", "values"),
    ("frame_timeout", "connection::tests"),
    ("min_receive_rate_bytes", "connection::tests"),
    ("receive_rate_window", "connection::tests"),
    ("max_partial_messages", "limits"),
    ("max_partial_bytes_per_connection", "limits"),
    ("max_partial_bytes", "limits"),
    ("min_fragment_bytes", "limits"),
    ("fragment_charge_bytes", "kv_proto::assembler"),
    ("max_fragments", "limits"),
    ("partial_progress_timeout", "connection::tests"),
    ("partial_timeout", "connection::tests"),
    ("max_in_flight_per_connection", "slow"),
    ("max_streams_per_connection", "streams"),
    ("cheap_frame_budget", "flood"),
    ("cheap_frame_cost", "flood"),
    ("output_soft_bytes", "flood"),
    ("output_hard_bytes", "flood"),
    ("output_stall_timeout", "flood, connection::tests"),
    ("keep_alive_interval", "connection::tests"),
    ("keep_alive_misses", "connection::tests"),
    ("tcp_keep_alive_idle", "an option of the socket"),
    ("tcp_keep_alive_interval", "an option of the socket"),
    ("tcp_keep_alive_probes", "an option of the socket"),
    ("tcp_user_timeout", "an option of the socket"),
    ("memory_refuse_streams_percent", "admission"),
    ("memory_refuse_writes_percent", "admission"),
    ("memory_shed_percent", "kv_service::accountant"),
];

#[test]
fn every_limit_has_a_test() {
    let file = kv_server::config::default_file();
    let section = file.split("[limits]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let keys: Vec<&str> = section
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| {
            key.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        })
        .collect();
    let listed: Vec<&str> = WHERE.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, listed);
}

/// The first frame of a continued message.
fn first(client: &mut Raw, id: u32, total: usize, piece: &[u8]) -> Vec<u8> {
    let total_len = Some(u32::try_from(total).unwrap());
    let ext = Extensions {
        total_len,
        ..plain()
    }
    .encode();
    let head = FrameHead {
        flags: Flags::MORE,
        ..FrameHead::new(Opcode::Set, id)
    };
    client.seal(head, ext.as_bytes(), format!("k{id}").as_bytes(), piece)
}

fn further(client: &mut Raw, id: u32, more: bool, piece: &[u8]) -> Vec<u8> {
    let flags = if more { Flags::MORE } else { Flags::NONE };
    client.seal(
        FrameHead {
            flags,
            ..FrameHead::new(Opcode::Set, id)
        },
        &[],
        &[],
        piece,
    )
}

/// Whether the connection still answers.
async fn is_alive(client: &mut Raw) -> bool {
    let asked = client
        .send(Opcode::Echo, 999_999, &plain(), &[], b"?")
        .await;
    asked.is_ok()
        && matches!(kv_testkit::wait::within(client.reply(999_999)).await, Ok(echo) if echo.value == b"?")
}

#[tokio::test]
async fn a_frame_of_the_longest_body_is_taken_and_one_byte_more_ends_the_connection() {
    let server = Setup::new()
        .limits("max_frame_bytes = \"64KiB\"")
        .start()
        .await;
    let mut client = server.raw().await;
    let fits = client.seal(
        FrameHead::new(Opcode::Set, 1),
        &[],
        b"k",
        &noise(1, 64 * 1024 - 1),
    );
    client.send_bytes(&fits).await.unwrap();
    assert_ok(&next(&mut client).await);
    let long = client.seal(
        FrameHead::new(Opcode::Set, 2),
        &[],
        b"k",
        &noise(1, 64 * 1024),
    );
    // The header says it; the rest need not come.
    client.send_bytes(&long[..16]).await.unwrap();
    assert!(
        rest(&mut client)
            .await
            .iter()
            .all(|message| message.id == 0)
    );
}

#[tokio::test]
async fn keys_pings_and_batches_have_their_lengths() {
    let server = Setup::new().start().await;
    let mut client = server.raw().await;
    let key = noise(1, 65_535);
    client.set(&key, b"v").await.unwrap();
    assert_eq!(client.get(&key).await.unwrap().unwrap(), b"v");
    let batch = |count: usize| {
        let mut body = Vec::new();
        for _ in 0..count {
            BatchWriter::requests(&mut body)
                .item(Opcode::Incr, &[], b"n", &[])
                .unwrap();
        }
        body
    };
    assert_ok(&call(&mut client, Opcode::Batch, plain(), &[], &batch(4_096)).await);
    let many = call(&mut client, Opcode::Batch, plain(), &[], &batch(4_097)).await;
    assert_code(&many, ErrorCode::TooLarge);
    assert_eq!(client.get(b"n").await.unwrap().unwrap(), b"4096");
    client
        .send(Opcode::Ping, 0, &plain(), &[], &[1; 64])
        .await
        .unwrap();
    assert!(next(&mut client).await.is(Opcode::ServerPong));
    client
        .send(Opcode::Ping, 0, &plain(), &[], &[1; 65])
        .await
        .unwrap();
    assert!(
        rest(&mut client)
            .await
            .iter()
            .all(|message| !message.is(Opcode::ServerPong))
    );
}

#[tokio::test]
async fn so_many_messages_may_be_under_way_and_no_more() {
    let server = Setup::new()
        .limits("max_partial_messages = 5")
        .start()
        .await;
    for (count, alive) in [(5, true), (6, false)] {
        let mut client = server.raw().await;
        for id in 1..=count {
            let frame = first(&mut client, id, 10_000, &[1; 4096]);
            client.send_bytes(&frame).await.unwrap();
        }
        assert_eq!(is_alive(&mut client).await, alive, "{count}");
    }
}

#[tokio::test]
async fn pieces_have_a_least_length_and_a_largest_number() {
    let server = Setup::new()
        .limits("min_fragment_bytes = \"4KiB\"\nmax_fragments = 32\nmax_message_bytes = \"1MiB\"")
        .start()
        .await;
    for (len, alive) in [(4096, true), (4095, false)] {
        let mut client = server.raw().await;
        let frame = first(&mut client, 1, 10_000, &vec![1; len]);
        client.send_bytes(&frame).await.unwrap();
        assert_eq!(is_alive(&mut client).await, alive, "{len}");
    }
    for (pieces, alive) in [(32_usize, true), (33, false)] {
        let mut client = server.raw().await;
        let total = pieces * 4096;
        let mut bytes = first(&mut client, 1, total, &[1; 4096]);
        for at in 1..pieces {
            bytes.extend(further(&mut client, 1, at + 1 < pieces, &[1; 4096]));
        }
        let _ = client.send_bytes(&bytes).await;
        if alive {
            assert_ok(&next(&mut client).await);
        }
        assert_eq!(is_alive(&mut client).await, alive, "{pieces}");
    }
}

/// Sends a message that stays unfinished, of so many bytes; the refusal, if there was one.
async fn unfinished(client: &mut Raw, id: u32, bytes: usize) -> Option<Received> {
    let chunk = vec![1; 32 * 1024];
    let mut frames = first(client, id, bytes + 1, &chunk);
    for _ in 1..bytes / chunk.len() {
        frames.extend(further(client, id, true, &chunk));
    }
    client.send_bytes(&frames).await.unwrap();
    client
        .send(Opcode::Echo, 500_000 + id, &plain(), &[], &[])
        .await
        .unwrap();
    let answer = next(client).await;
    if answer.id == id {
        next(client).await;
        return Some(answer);
    }
    None
}

#[tokio::test]
async fn unfinished_messages_hold_so_much_of_a_connection_and_so_much_of_all_of_them() {
    let limits = "max_message_bytes = \"512KiB\"\nmax_frame_bytes = \"64KiB\"\n\
                  max_partial_bytes_per_connection = \"1MiB\"\nmax_partial_bytes = \"2MiB\"";
    let server = Setup::new().limits(limits).start().await;
    let mut one = server.raw().await;
    let quarter = 256 * 1024;
    for id in 1..=3 {
        assert!(unfinished(&mut one, id, quarter).await.is_none(), "{id}");
    }
    assert_code(
        &unfinished(&mut one, 4, 2 * quarter - 1).await.unwrap(),
        ErrorCode::Overloaded,
    );
    // The rest of a refused message is swallowed until CANCEL, which has no answer of its own then.
    let swallowed = further(&mut one, 4, true, &[1; 4096]);
    one.send_bytes(&swallowed).await.unwrap();
    one.send(Opcode::Cancel, 4, &plain(), &[], &[])
        .await
        .unwrap();
    let mut whole = Vec::new();
    whole.extend(further(&mut one, 1, false, &[9]));
    one.send_bytes(&whole).await.unwrap();
    assert_ok(&next(&mut one).await);
    assert_eq!(one.get(b"k1").await.unwrap().unwrap().len(), quarter + 1);

    let mut others = Vec::new();
    let mut refused = None;
    for _ in 0..4 {
        let mut client = server.raw().await;
        for id in 1..=3 {
            refused = refused.or(unfinished(&mut client, id, quarter).await);
        }
        others.push(client);
    }
    assert_code(
        &refused.expect("all of them together have a limit"),
        ErrorCode::Overloaded,
    );
    drop((one, others));
    // What they held is free again.
    kv_testkit::wait::until(async || {
        let mut client = server.raw().await;
        unfinished(&mut client, 1, 2 * quarter - 1)
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_breaks_the_rules_of_continuation_ends_the_connection() {
    let server = Setup::new().start().await;
    let total = |len| {
        Extensions {
            total_len: Some(len),
            ..plain()
        }
        .encode()
    };
    let more = FrameHead {
        flags: Flags::MORE,
        ..FrameHead::new(Opcode::Set, 1)
    };
    let other = FrameHead {
        flags: Flags::MORE,
        ..FrameHead::new(Opcode::Echo, 1)
    };
    let piece = [1; 4096];
    let begin = (more, total(10_000), &piece[..]);
    let none = plain().encode();
    for (what, frames) in [
        ("no total length", vec![(more, none, &piece[..])]),
        (
            "a total length and no more",
            vec![(FrameHead::new(Opcode::Set, 1), total(4096), &piece[..])],
        ),
        (
            "longer than declared",
            vec![(more, total(5_000), &piece[..]), (more, none, &piece[..])],
        ),
        (
            "shorter than declared",
            vec![begin, (FrameHead::new(Opcode::Set, 1), none, &[1][..])],
        ),
        (
            "another command in between",
            vec![begin, (other, none, &piece[..])],
        ),
        (
            "extensions in the middle",
            vec![begin, (more, total(10_000), &piece[..])],
        ),
        ("an empty piece", vec![begin, (more, none, &[][..])]),
        (
            "a command that is not cut",
            vec![(
                FrameHead {
                    opcode: Opcode::Get,
                    ..more
                },
                total(10_000),
                &piece[..],
            )],
        ),
    ] {
        let mut client = server.raw().await;
        for (head, ext, value) in frames {
            let frame = client.seal(head, ext.as_bytes(), &[], value);
            let _ = client.send_bytes(&frame).await;
        }
        assert!(!is_alive(&mut client).await, "{what}");
    }
}
