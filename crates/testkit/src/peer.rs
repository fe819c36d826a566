//! A server that does what a test says: it runs the handshake, reads whole messages, and sends
//! whatever it is told to, right or wrong, over any stream.
//!
//! It owns the session's two ends and nothing else: what is answered, in which order, when, and
//! whether at all is the test's. Every read ends at the end of the stream.

mod ends;
mod received;
mod settings;

use std::io;

use kv_proto::{FrameHead, Opcode, ServerHandshake, ServerRandom, ServerStep};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use ends::Ends;
pub use received::Received;
pub use settings::PeerSettings;

/// A scripted server on one stream.
pub struct Peer<S> {
    io: S,
    ends: Ends,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Runs the handshake up to READY, which it sends.
    ///
    /// # Errors
    /// The stream's, or `InvalidData` when the client does not get through.
    pub async fn accept(io: S, settings: &PeerSettings) -> io::Result<Self> {
        let mut peer = Self::accept_without_ready(io, settings).await?;
        peer.ends.ready(&settings.identity);
        peer.flush().await?;
        Ok(peer)
    }

    /// As [`Peer::accept`]; what comes in the place of READY is the test's.
    ///
    /// # Errors
    /// As [`Peer::accept`].
    pub async fn accept_without_ready(mut io: S, settings: &PeerSettings) -> io::Result<Self> {
        let random = ServerRandom {
            nonce: [2; 32],
            session_id: [3; 16],
            x25519: [4; 32],
        };
        let mut handshake = ServerHandshake::new(&settings.server, settings.transport, random);
        let mut input = Vec::new();
        let mut output = Vec::new();
        loop {
            let mut rest = input.as_mut_slice();
            let step = handshake
                .recv(&mut rest, &mut output, settings)
                .map_err(io::Error::other)?;
            let left = rest.len();
            input.drain(..input.len().saturating_sub(left));
            io.write_all(&output).await?;
            output.clear();
            match step {
                ServerStep::Progress => {}
                ServerStep::NeedMore => {
                    if io.read_buf(&mut input).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                ServerStep::Version1 { .. } => return Err(io::ErrorKind::Unsupported.into()),
                ServerStep::Established(session) => {
                    let halves = (session.opener, session.sealer);
                    let ends = Ends::new(halves, session.limits, session.capabilities, input);
                    return Ok(Self { io, ends });
                }
            }
        }
    }

    /// The next whole message; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream's, or `InvalidData` for what no honest client sends.
    pub async fn next(&mut self) -> io::Result<Option<Received>> {
        loop {
            if let Some(received) = self.ends.take()? {
                return Ok(Some(received));
            }
            if self.io.read_buf(&mut self.ends.input()).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message that is not CANCEL, CREDIT or PING, which it answers.
    ///
    /// # Errors
    /// As [`Peer::next`].
    pub async fn next_request(&mut self) -> io::Result<Option<Received>> {
        while let Some(received) = self.next().await? {
            if received.is(Opcode::Ping) {
                self.ends.send(
                    FrameHead::new(Opcode::ServerPong, 0),
                    &[],
                    &[],
                    &received.value,
                );
                self.flush().await?;
            } else if !received.is(Opcode::Cancel) && !received.is(Opcode::Credit) {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// The stream's.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.io.write_all(self.ends.output()).await?;
        self.ends.output().clear();
        self.io.flush().await
    }

    /// Queues and sends one message.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send(&mut self, opcode: Opcode, id: u32, value: &[u8]) -> io::Result<()> {
        self.ends.send(FrameHead::new(opcode, id), &[], &[], value);
        self.flush().await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// The session, to queue answers on.
    pub const fn ends(&mut self) -> &mut Ends {
        &mut self.ends
    }

    /// The stream and the session, for a test that reads and writes at once.
    pub fn into_parts(self) -> (S, Ends) {
        (self.io, self.ends)
    }
}
