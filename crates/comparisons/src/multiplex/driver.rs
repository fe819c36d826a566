//! A client that keeps so many requests under way, and matches answers by request id.

use std::collections::HashMap;
use std::time::Instant;

use kv_proto::limits::FRAME_BYTES_DEFAULT;
use kv_proto::{FrameHead, Opcode, Opener, Sealer, Suite, write_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::responder::{Responder, schedule};
use super::{Latencies, key};

pub(super) struct Driver {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
    last_id: u32,
    input: Vec<u8>,
    _responder: JoinSet<()>,
}

impl Driver {
    pub(super) async fn connect(responder: Responder) -> Self {
        let keys = schedule();
        Self {
            stream: responder.stream,
            sealer: Sealer::version_2(Suite::Hmac, keys.client_to_server()),
            opener: Opener::version_2(Suite::Hmac, keys.server_to_client(), FRAME_BYTES_DEFAULT),
            last_id: 0,
            input: Vec::with_capacity(64 * 1024),
            _responder: responder.task,
        }
    }

    pub(super) async fn run(&mut self, requests: usize, window: usize, latencies: &mut Latencies) {
        let mut under_way: HashMap<u32, (usize, Instant)> = HashMap::with_capacity(window);
        let (mut sent, mut answered) = (0, 0);
        let mut output = Vec::new();
        while answered < requests {
            while sent < requests && under_way.len() < window {
                self.last_id += 1;
                let head = FrameHead::new(Opcode::Get, self.last_id);
                let start = write_frame(&mut output, head, &[], &key(sent), &[]);
                self.sealer.seal(&mut output, start);
                under_way.insert(self.last_id, (sent, Instant::now()));
                sent += 1;
            }
            if !output.is_empty() {
                self.stream.write_all(&output).await.unwrap();
                output.clear();
            }
            let read = self.stream.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "the responder is gone");
            let mut rest = self.input.as_mut_slice();
            let mut left = rest.len();
            while let Some(frame) = self.opener.next(&mut rest).unwrap() {
                let (index, since) = under_way.remove(&frame.request_id()).unwrap();
                latencies.record(index, since.elapsed());
                answered += 1;
                left = rest.len();
            }
            let used = self.input.len() - left;
            self.input.drain(..used);
        }
    }
}
