use super::*;
use crate::wait::within;
use kv_proto::{FrameHead, Opcode, write_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn frame(id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, FrameHead::new(Opcode::Get, id), &[], b"key", &[]);
    out
}

/// Sends frames 0 to 3 through a schedule, and gives what arrived and what came back.
async fn through(schedule: Schedule) -> (Vec<u8>, Vec<u8>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
    proxy.set_foreign(Side::ToServer, vec![frame(99)]);
    proxy.plan(schedule);
    let client = async {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        for id in 0..4 {
            stream.write_all(&frame(id)).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back).await;
        back
    };
    let server = async {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut arrived = Vec::new();
        let _ = stream.read_to_end(&mut arrived).await;
        arrived
    };
    let (back, arrived) = within(async { tokio::join!(client, server) }).await;
    (arrived, back)
}

fn frames(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|&id| frame(id)).collect()
}

#[tokio::test]
async fn each_fault_does_to_its_frame_what_it_says() {
    let one = |fault| Schedule::new().with(Side::ToServer, 1, fault);
    assert_eq!(through(Schedule::new()).await.0, frames(&[0, 1, 2, 3]));
    assert_eq!(through(one(Fault::Drop)).await.0, frames(&[0, 2, 3]));
    assert_eq!(
        through(one(Fault::Duplicate)).await.0,
        frames(&[0, 1, 1, 2, 3])
    );
    assert_eq!(through(one(Fault::Swap)).await.0, frames(&[0, 2, 1, 3]));
    assert_eq!(
        through(one(Fault::Replay(0))).await.0,
        frames(&[0, 1, 0, 2, 3])
    );
    assert_eq!(
        through(one(Fault::Splice(0))).await.0,
        frames(&[0, 99, 2, 3])
    );
    assert_eq!(
        through(one(Fault::Reflect)).await,
        (frames(&[0, 2, 3]), frame(1))
    );
    let cut = through(one(Fault::Cut(10))).await.0;
    assert_eq!(cut, frames(&[0, 1])[..frame(0).len() + 10]);
    let dropped = through(one(Fault::DropBytes(4))).await.0;
    assert_eq!(dropped.len(), 4 * frame(0).len() - 5);
    let flipped = through(one(Fault::Flip(8 * 50 + 3))).await.0;
    let differing: Vec<_> = std::iter::zip(flipped, frames(&[0, 1, 2, 3]))
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(at, (a, b))| (at, a ^ b))
        .collect();
    assert_eq!(differing, [(frame(0).len() + 50, 8)]);
    let last = Schedule::new().with(Side::ToServer, 3, Fault::Swap);
    assert_eq!(through(last).await.0, frames(&[0, 1, 2, 3]));
}

#[tokio::test]
async fn a_killed_connection_ends_for_both_and_other_bytes_pass() {
    let killed = Schedule::new().with(Side::ToServer, 1, Fault::Kill);
    assert_eq!(through(killed).await.0, frames(&[0]));

    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut far, _) = within(server.accept()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut line = [0; 16];
    within(far.read_exact(&mut line)).await.unwrap();
    assert_eq!(&line, b"GET / HTTP/1.1\r\n");
    proxy.stall();
    client.write_all(b"later").await.unwrap();
    proxy.resume();
    within(far.read_exact(&mut line[..5])).await.unwrap();
    proxy.kill();
    assert!(matches!(within(far.read(&mut line)).await, Ok(0) | Err(_)));
    assert!(matches!(
        within(client.read(&mut line)).await,
        Ok(0) | Err(_)
    ));
}

#[test]
fn one_seed_gives_one_schedule() {
    let show = |seed| format!("{:?}", Schedule::random(seed, 20));
    assert_eq!(show(7), show(7));
    assert_ne!(show(7), show(8));
}
