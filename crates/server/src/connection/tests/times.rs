//! Time limits of a connection, to the second: silence, dribbling, stalls, the age of keys.
//!
//! A writer notices a close up to a second late: for so long the server still reads, so that what it
//! said last is not lost.

use std::time::Duration;

use kv_proto::{ClientHandshake, Extensions, Flags, FrameHead, Opcode, Secret, Suite, Transport};
use kv_testkit::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep};

use super::{Bench, Client, KEY, plain};

/// Seconds from now until the server hangs up; what it says meanwhile is read.
async fn ends_after(stream: &mut DuplexStream) -> f64 {
    let began = Instant::now();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    began.elapsed().as_secs_f64()
}

fn hello() -> Vec<u8> {
    let settings = raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac]);
    let mut out = Vec::new();
    let _ = ClientHandshake::start(settings, Transport::Plain, raw::random(), &mut out);
    out
}

#[track_caller]
fn assert_about(seconds: f64, expected: f64) {
    assert!(
        (seconds - expected).abs() < 0.1,
        "{seconds} s, not {expected}"
    );
}

/// P8: nothing, a part of HELLO, HELLO and no AUTH.
#[tokio::test(start_paused = true)]
async fn a_handshake_has_five_seconds_however_far_it_came() {
    let mut bench = Bench::new("");
    let hello = hello();
    for said in [0, 1, hello.len() / 2, hello.len()] {
        let mut stream = bench.dial(4096);
        stream.write_all(&hello[..said]).await.unwrap();
        assert_about(ends_after(&mut stream).await, 5.0);
    }
}

/// P7: each byte is a sign of life, and that is not enough.
#[tokio::test(start_paused = true)]
async fn a_handshake_byte_by_byte_has_five_seconds_too() {
    let mut bench = Bench::new("");
    let began = Instant::now();
    let mut stream = bench.dial(4096);
    for byte in hello() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_about(began.elapsed().as_secs_f64(), 5.1);
}

/// P9: a peer that is gone without a word.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_after_thirty_seconds_and_let_go_after_sixty() {
    let mut bench = Bench::new("");
    let mut client = bench.client(4096).await;
    let began = Instant::now();
    let asked = client.next().await.unwrap().unwrap();
    assert!(asked.is(Opcode::ServerPing));
    assert_about(began.elapsed().as_secs_f64(), 30.0);
    assert!(client.next().await.unwrap().is_none());
    assert_about(began.elapsed().as_secs_f64(), 60.0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_stays() {
    let mut bench = Bench::new("");
    let mut client = bench.client(4096).await;
    let began = Instant::now();
    for _ in 0..20 {
        let asked = client.next().await.unwrap().unwrap();
        assert!(asked.is(Opcode::ServerPing));
        client
            .send(Opcode::Pong, 0, &plain(), &[], &asked.value)
            .await
            .unwrap();
    }
    assert_about(began.elapsed().as_secs_f64(), 600.0);
    client.set(b"k", b"v").await.unwrap();
}

/// Sends a frame in steps of so many bytes, one every 100 ms; when the server hung up, if it did.
async fn dribble(client: &mut Client, frame: &[u8], step: usize) -> Option<f64> {
    let began = Instant::now();
    for part in frame.chunks(step) {
        if client.send_bytes(part).await.is_err() {
            return Some(began.elapsed().as_secs_f64());
        }
        sleep(Duration::from_millis(100)).await;
    }
    None
}

fn large_frame(client: &mut Client) -> Vec<u8> {
    client.seal(FrameHead::new(Opcode::Set, 1), &[], b"k", &vec![1; 900_000])
}

/// P4, P7: not idle, and too slow all the same.
#[tokio::test(start_paused = true)]
async fn a_frame_that_dribbles_in_ends_the_connection_after_its_time() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let frame = large_frame(&mut client);
    let ended = dribble(&mut client, &frame, 200).await.unwrap();
    assert!((30.0..31.2).contains(&ended), "{ended}");
}

/// A slow line is no attack: 20 KiB per second.
#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_at_the_least_rate_may_take_longer() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let frame = large_frame(&mut client);
    assert_eq!(dribble(&mut client, &frame, 2_048).await, None);
    assert!(client.reply(1).await.unwrap().is(Opcode::Ok));
}

/// One that begins fast enough for its first thirty seconds and then stands still.
#[tokio::test(start_paused = true)]
async fn a_frame_that_stands_still_behind_a_fast_start_ends_too() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let frame = large_frame(&mut client);
    client.send_bytes(&frame[..880_000]).await.unwrap();
    let began = Instant::now();
    assert!(
        client
            .rest()
            .await
            .iter()
            .all(|message| !message.is(Opcode::Ok))
    );
    // 880,000 bytes would be enough for 54 seconds; silence ends it at 60.
    let ended = began.elapsed().as_secs_f64();
    assert!((30.0..=60.1).contains(&ended), "{ended}");
}

fn begin(client: &mut Client, total: u32) -> Vec<u8> {
    let ext = Extensions {
        total_len: Some(total),
        ..plain()
    };
    let head = FrameHead {
        flags: Flags::MORE,
        ..FrameHead::new(Opcode::Set, 1)
    };
    client.seal(head, ext.encode().as_bytes(), b"k", &[1; 65_536])
}

fn go_on(client: &mut Client) -> Vec<u8> {
    let head = FrameHead {
        flags: Flags::MORE,
        ..FrameHead::new(Opcode::Set, 1)
    };
    client.seal(head, &[], &[], &[1; 65_536])
}

/// P10: a message that is begun and left. PINGs do not prolong it.
#[tokio::test(start_paused = true)]
async fn an_unfinished_message_may_stand_still_for_ten_seconds() {
    let mut bench = Bench::new("min_receive_rate_bytes = \"1B\"");
    let mut client = bench.client(1 << 20).await;
    let first = begin(&mut client, 1 << 20);
    client.send_bytes(&first).await.unwrap();
    let began = Instant::now();
    while client
        .send(Opcode::Ping, 0, &plain(), &[], &[])
        .await
        .is_ok()
    {
        sleep(Duration::from_millis(500)).await;
    }
    let ended = began.elapsed().as_secs_f64();
    assert!((10.0..11.6).contains(&ended), "{ended}");
}

/// P7, P10: with the first piece the first window of five seconds has too little.
#[tokio::test(start_paused = true)]
async fn an_unfinished_message_has_to_keep_the_least_rate() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let first = begin(&mut client, 1 << 20);
    client.send_bytes(&first).await.unwrap();
    let began = Instant::now();
    assert!(client.rest().await.is_empty());
    assert_about(began.elapsed().as_secs_f64(), 5.0);
}

/// P10: one that goes on and on, fast enough at every moment.
#[tokio::test(start_paused = true)]
async fn an_unfinished_message_has_sixty_seconds_in_all() {
    let mut bench = Bench::new("");
    let mut client = bench.client(1 << 20).await;
    let first = begin(&mut client, 16 << 20);
    client.send_bytes(&first).await.unwrap();
    let began = Instant::now();
    loop {
        sleep(Duration::from_millis(500)).await;
        let piece = go_on(&mut client);
        if client.send_bytes(&piece).await.is_err() {
            break;
        }
    }
    let ended = began.elapsed().as_secs_f64();
    assert!((60.0..61.6).contains(&ended), "{ended}");
}

/// R1: output that nobody takes, however little it is.
#[tokio::test(start_paused = true)]
async fn output_may_wait_untaken_for_ten_seconds() {
    let mut bench = Bench::new("");
    let mut client = bench.client(256).await;
    let value = [7; 5_000];
    client.set(b"k", &value).await.unwrap();
    client
        .send(Opcode::Get, 9, &plain(), b"k", &[])
        .await
        .unwrap();
    let began = Instant::now();
    bench.ends_within(Duration::from_secs(30)).await;
    let over = began.elapsed().saturating_sub(super::super::LINGER);
    assert_about(over.as_secs_f64(), 10.0);
    drop(client);
}

/// A reader that takes a little now and then is slow, not gone.
#[tokio::test(start_paused = true)]
async fn output_that_is_taken_slowly_is_not_stalled() {
    let mut bench = Bench::new("");
    let mut client = bench.client(512).await;
    client.set(b"k", &[7; 5_000]).await.unwrap();
    client
        .send(Opcode::Get, 9, &plain(), b"k", &[])
        .await
        .unwrap();
    let mut some = [0; 512];
    for _ in 0..9 {
        sleep(Duration::from_secs(8)).await;
        let read = client.io().read(&mut some).await.unwrap();
        assert!(read > 0);
        client.ends().input().extend_from_slice(&some[..read]);
        // Its own frames keep it from being silent.
        client
            .send(Opcode::Pong, 0, &plain(), &[], &[])
            .await
            .unwrap();
    }
    assert_eq!(client.reply(9).await.unwrap().value, [7; 5_000]);
}

/// C11: keys move by their age as well, and both sides go on.
#[tokio::test(start_paused = true)]
async fn the_servers_keys_move_after_an_hour() {
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let mut bench = Bench::new("keep_alive_interval = \"30m\"");
        let settings = raw::settings(Some(("app", Secret::new(&KEY))), &[suite]);
        let mut client = Client::connect(bench.dial(4096), settings).await.unwrap();
        client.set(b"k", b"v").await.unwrap();
        let mut moved = 0;
        for _ in 0..5 {
            sleep(Duration::from_secs(1_790)).await;
            let echo = client
                .call(Opcode::Echo, &plain(), &[], b"x")
                .await
                .unwrap();
            assert!(echo.is(Opcode::Ok));
            while let Ok(message) =
                tokio::time::timeout(Duration::from_millis(1), client.next()).await
            {
                moved += usize::from(message.unwrap().unwrap().is(Opcode::ServerKeyUpdate));
            }
        }
        // Nearly two and a half hours.
        assert_eq!(moved, 2, "{suite:?}");
        assert_eq!(client.get(b"k").await.unwrap().unwrap(), b"v");
    }
}
