//! A server of one connection that answers GETs: at once, or after a delay for slow keys.

use std::collections::VecDeque;

use kv_proto::limits::FRAME_BYTES_DEFAULT;
use kv_proto::{
    FrameHead, Opcode, Opener, Schedule, Sealer, Secret, Suite, Transport, write_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{DELAY, SLOW};

/// In which order requests are executed and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// One after the other, as they came.
    AsSent,
    /// As each of them is done.
    AsDone,
}

/// Dropped, it is gone.
pub(super) struct Responder {
    pub(super) stream: TcpStream,
    pub(super) task: JoinSet<()>,
}

/// Keys that both ends know.
pub(super) fn schedule() -> Schedule {
    Schedule::new(
        &Secret::new(&[7; 32]),
        &[0; 32],
        &Transport::Plain,
        Suite::Hmac,
        [9; 32],
    )
}

impl Responder {
    /// Starts one, and gives the stream to it.
    pub(super) async fn start(order: Order) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, (accepted, _)) = (stream.unwrap(), accepted.unwrap());
        stream.set_nodelay(true).unwrap();
        accepted.set_nodelay(true).unwrap();
        let mut task = JoinSet::new();
        task.spawn(serve(accepted, order));
        Self { stream, task }
    }
}

async fn serve(mut stream: TcpStream, order: Order) {
    let keys = schedule();
    let mut opener = Opener::version_2(Suite::Hmac, keys.client_to_server(), FRAME_BYTES_DEFAULT);
    let mut sealer = Sealer::version_2(Suite::Hmac, keys.server_to_client());
    let (mut input, mut output) = (Vec::with_capacity(64 * 1024), Vec::new());
    // The delay is always the same, so the first that began is the first that is done.
    let mut waiting: VecDeque<(Instant, u32)> = VecDeque::new();
    loop {
        let due = waiting.front().map(|(due, _)| *due);
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                if read.unwrap_or(0) == 0 {
                    return;
                }
            }
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {}
        }
        let mut rest = input.as_mut_slice();
        let mut left = rest.len();
        while let Some(frame) = opener.next(&mut rest).unwrap() {
            let id = frame.request_id();
            if frame.key().starts_with(SLOW) {
                match order {
                    Order::AsDone => {
                        waiting.push_back((Instant::now() + DELAY, id));
                        left = rest.len();
                        continue;
                    }
                    Order::AsSent => {
                        // What is done already does not wait for it.
                        stream.write_all(&output).await.unwrap();
                        output.clear();
                        sleep_until(Instant::now() + DELAY).await;
                    }
                }
            }
            answer(&mut output, &mut sealer, id);
            left = rest.len();
        }
        let used = input.len() - left;
        input.drain(..used);
        while let Some((due, id)) = waiting.front().copied()
            && due <= Instant::now()
        {
            waiting.pop_front();
            answer(&mut output, &mut sealer, id);
        }
        if stream.write_all(&output).await.is_err() {
            return;
        }
        output.clear();
    }
}

fn answer(output: &mut Vec<u8>, sealer: &mut Sealer, id: u32) {
    let head = FrameHead::new(Opcode::Ok, id);
    let start = write_frame(output, head, &[], &[], &[b'v'; 64]);
    sealer.seal(output, start);
}
