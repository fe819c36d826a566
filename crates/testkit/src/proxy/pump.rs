//! One connection through the proxy: two directions that advance independently, each frame under the
//! schedule.

use std::io;
use std::time::Duration;

use kv_proto::{HEADER_LEN, PREFIX_LEN, checksum};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Shared;
use super::frames::Frames;
use super::schedule::{Fault, Schedule, Side};

/// How long a swapped frame waits for one to go in front of it. Not a time that anything depends on:
/// with a sender that waits for an answer no next frame comes.
const SWAP_PATIENCE: Duration = Duration::from_millis(20);

/// How a direction ended.
enum Ended {
    /// As its sender ended it, or because its receiver is gone.
    Over,
    /// The schedule kills the connection.
    Killed,
}

type Writer<S> = Mutex<WriteHalf<S>>;

/// Relays until both directions are over, or the connection is killed.
pub(super) async fn relay<C, S>(client: C, server: S, schedule: Schedule, shared: &Shared)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let (to_client, to_server) = (Mutex::new(to_client), Mutex::new(to_server));
    let direction = |side| Direction {
        side,
        schedule: &schedule,
        shared,
        frames: Frames::default(),
        number: 0,
        held: None,
    };
    let up = direction(Side::ToServer).run(from_client, &to_server, &to_client);
    let down = direction(Side::ToClient).run(from_server, &to_client, &to_server);
    let mut kills = shared.kills.subscribe();
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let (mut up_over, mut down_over) = (false, false);
    while !(up_over && down_over) {
        let ended = tokio::select! {
            ended = &mut up, if !up_over => { up_over = true; ended }
            ended = &mut down, if !down_over => { down_over = true; ended }
            _ = kills.changed() => return,
        };
        if matches!(ended, Ended::Killed) {
            return;
        }
    }
}

struct Direction<'p> {
    side: Side,
    schedule: &'p Schedule,
    shared: &'p Shared,
    frames: Frames,
    number: usize,
    /// A frame that lets the next one go first.
    held: Option<Vec<u8>>,
}

impl Direction<'_> {
    async fn run<R, W, B>(
        mut self,
        mut from: ReadHalf<R>,
        to: &Writer<W>,
        back: &Writer<B>,
    ) -> Ended
    where
        R: AsyncRead,
        W: AsyncWrite,
        B: AsyncWrite,
    {
        let ended = self.relay(&mut from, to, back).await;
        // Whoever hears of it may be gone already.
        let _ = to.lock().await.shutdown().await;
        if matches!(ended, Ok(Ended::Over)) {
            // After a cut the sender may go on; nobody is to notice.
            let mut discard = Vec::new();
            while matches!(from.read_buf(&mut discard).await, Ok(1..)) {
                discard.clear();
            }
        }
        ended.unwrap_or(Ended::Over)
    }

    async fn relay<R, W, B>(
        &mut self,
        from: &mut ReadHalf<R>,
        to: &Writer<W>,
        back: &Writer<B>,
    ) -> io::Result<Ended>
    where
        R: AsyncRead,
        W: AsyncWrite,
        B: AsyncWrite,
    {
        loop {
            while let Some(frame) = self.frames.take() {
                self.capture(&frame);
                let number = self.number;
                self.number = number.saturating_add(1);
                let fault = self.schedule.fault(self.side, number);
                if self.shared.stalled.borrow().to_owned() || fault == Some(Fault::Stall) {
                    self.stall(fault).await;
                }
                if let Some(ended) = self.apply(frame, fault, to, back).await? {
                    return Ok(ended);
                }
            }
            let read = from.read_buf(self.frames.input());
            let read = if self.held.is_some() {
                timeout(SWAP_PATIENCE, read).await.ok()
            } else {
                Some(read.await)
            };
            match read {
                None => self.send_held(to).await?,
                Some(Ok(1..)) => {}
                Some(Ok(0) | Err(_)) => {
                    self.send_held(to).await?;
                    if let Some(rest) = self.frames.rest() {
                        send(to, &rest).await?;
                    }
                    return Ok(Ended::Over);
                }
            }
        }
    }

    fn capture(&self, frame: &[u8]) {
        if let Some(frames) = self.shared.captured.lock().get_mut(self.side.index()) {
            frames.push(frame.to_vec());
        }
    }

    /// Waits until the test lets the direction go on.
    async fn stall(&self, fault: Option<Fault>) {
        if fault == Some(Fault::Stall) {
            self.shared.stalled.send_replace(true);
        }
        let mut stalled = self.shared.stalled.subscribe();
        // The sender outlives every connection.
        let _ = stalled.wait_for(|stalled| !stalled).await;
    }

    async fn send_held<W: AsyncWrite>(&mut self, to: &Writer<W>) -> io::Result<()> {
        match self.held.take() {
            Some(held) => send(to, &held).await,
            None => Ok(()),
        }
    }

    /// Passes a frame on, or does to it what the schedule says. `Some`: the direction is over.
    async fn apply<W: AsyncWrite, B: AsyncWrite>(
        &mut self,
        mut frame: Vec<u8>,
        fault: Option<Fault>,
        to: &Writer<W>,
        back: &Writer<B>,
    ) -> io::Result<Option<Ended>> {
        let len = frame.len().max(1);
        match fault {
            None | Some(Fault::Stall) => send(to, &frame).await?,
            Some(Fault::Drop) => {}
            Some(Fault::DropBytes(count)) => {
                let from = (count % len).saturating_add(1);
                send(to, frame.get(from..).unwrap_or_default()).await?;
            }
            Some(Fault::Duplicate) => {
                send(to, &frame).await?;
                send(to, &frame).await?;
            }
            Some(Fault::Swap) if self.held.is_none() => {
                self.held = Some(frame);
                return Ok(None);
            }
            Some(Fault::Swap) => send(to, &frame).await?,
            Some(Fault::Replay(which)) => {
                send(to, &frame).await?;
                let again = self.pick(&self.shared.captured, which);
                send(to, &again.unwrap_or(frame)).await?;
            }
            Some(Fault::Reflect) => send(back, &frame).await?,
            Some(Fault::Splice(which)) => {
                let other = self.pick(&self.shared.foreign, which);
                send(to, &other.unwrap_or_default()).await?;
            }
            Some(Fault::Flip(bit)) => {
                flip(&mut frame, 0, bit);
                send(to, &frame).await?;
            }
            Some(Fault::FlipAndMend(bit)) => {
                flip(&mut frame, PREFIX_LEN, bit);
                mend(&mut frame);
                send(to, &frame).await?;
            }
            Some(Fault::Cut(at)) => {
                send(to, frame.get(..at % len).unwrap_or_default()).await?;
                return Ok(Some(Ended::Over));
            }
            Some(Fault::Kill) => return Ok(Some(Ended::Killed)),
        }
        self.send_held(to).await?;
        Ok(None)
    }

    fn pick(&self, of: &parking_lot::Mutex<[Vec<Vec<u8>>; 2]>, which: usize) -> Option<Vec<u8>> {
        let of = of.lock();
        let frames = of.get(self.side.index())?;
        frames.get(which.checked_rem(frames.len())?).cloned()
    }
}

async fn send<W: AsyncWrite>(to: &Writer<W>, bytes: &[u8]) -> io::Result<()> {
    let mut to = to.lock().await;
    to.write_all(bytes).await?;
    to.flush().await
}

/// Turns one bit behind `from`.
fn flip(frame: &mut [u8], from: usize, bit: usize) {
    let bytes = frame.get_mut(from..).unwrap_or_default();
    if let Some(at) = (bit / 8).checked_rem(bytes.len())
        && let Some(byte) = bytes.get_mut(at)
    {
        *byte ^= 1 << (bit % 8);
    }
}

/// Gives the frame the tag it would have in suite 0.
fn mend(frame: &mut [u8]) {
    let (Some(header), Some(body)) = (frame.get(..HEADER_LEN), frame.get(PREFIX_LEN..)) else {
        return;
    };
    let tag = checksum(&[header, body]).to_bytes();
    if let Some(place) = frame.get_mut(HEADER_LEN..PREFIX_LEN) {
        place.copy_from_slice(&tag);
    }
}
