//! A client that does what a test says: it runs the handshake, sends sealed frames or any bytes, and
//! reads whole messages, over any stream.
//!
//! The counterpart of [`crate::peer`], whose ends of a session it shares. It keeps no rule of its own:
//! ids, order and contents are the test's. Every read ends at the end of the stream.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test helper: what fails here is a failed test"
)]

use std::collections::VecDeque;
use std::io;

use kv_proto::{
    Capabilities, ClientHandshake, ClientRandom, ClientSettings, ClientStep, ErrorBody, ErrorCode,
    Extensions, FrameHead, Opcode, Opener, Sealer, Secret, Suite, SuiteList, Transport,
    limits::SessionLimits, write_frame,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::peer::{Ends, Received};

/// A scripted client on one stream.
pub struct RawClient<S> {
    io: S,
    ends: Ends,
    stashed: VecDeque<Received>,
    last_id: u32,
}

/// Ids given out by [`RawClient::id`] begin behind this, so that a test can name small ones itself.
const FIRST_ID: u32 = 1_000_000;

/// Settings for a session with this key, or without one.
#[must_use]
pub fn settings(key: Option<(&str, Secret)>, suites: &[Suite]) -> ClientSettings {
    ClientSettings {
        suites: SuiteList::new(suites),
        capabilities: Capabilities::NONE,
        key: key.map(|(id, secret)| (id.into(), secret)),
        server_name: "localhost".into(),
        software: "raw/1".into(),
    }
}

/// Randomness that differs from call to call and costs no entropy.
#[must_use]
pub fn random() -> ClientRandom {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut rng = crate::rng::Rng::new(NEXT.fetch_add(1, Ordering::Relaxed));
    let mut bytes = || {
        let mut out = [0; 32];
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next().to_be_bytes());
        }
        out
    };
    ClientRandom {
        nonce: bytes(),
        x25519: bytes(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// Runs the handshake to READY, which is taken.
    ///
    /// # Errors
    /// The stream's; `UnexpectedEof` when the server hangs up, `ConnectionRefused` with its text when it
    /// refuses.
    pub async fn connect(io: S, settings: ClientSettings) -> io::Result<Self> {
        Self::connect_over(io, settings, Transport::Plain).await
    }

    /// As [`RawClient::connect`], bound to what carries the stream.
    ///
    /// # Errors
    /// As [`RawClient::connect`].
    pub async fn connect_over(
        io: S,
        settings: ClientSettings,
        transport: Transport,
    ) -> io::Result<Self> {
        let mut client = Self::authenticate(io, settings, transport).await?;
        match client.next().await? {
            Some(ready) if ready.is(Opcode::Ready) => Ok(client),
            Some(other) => Err(io::Error::other(format!("{other:?} in place of READY"))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// As [`RawClient::connect_over`] up to AUTH; READY is the first message to come.
    ///
    /// # Errors
    /// As [`RawClient::connect`].
    pub async fn authenticate(
        mut io: S,
        settings: ClientSettings,
        transport: Transport,
    ) -> io::Result<Self> {
        let mut output = Vec::new();
        let mut handshake = ClientHandshake::start(settings, transport, random(), &mut output);
        io.write_all(&output).await?;
        output.clear();
        let mut input = Vec::new();
        loop {
            let mut rest = input.as_mut_slice();
            let step = handshake
                .recv(&mut rest, &mut output)
                .map_err(io::Error::other)?;
            let left = rest.len();
            input.drain(..input.len().saturating_sub(left));
            match step {
                ClientStep::NeedMore => {
                    if io.read_buf(&mut input).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                ClientStep::Refused(text) => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, &*text));
                }
                ClientStep::Established(session) => {
                    io.write_all(&output).await?;
                    let ends = Ends::new(
                        (session.opener, session.sealer),
                        session.limits,
                        session.capabilities,
                        input,
                    );
                    return Ok(Self::with_ends(io, ends));
                }
            }
        }
    }

    /// A version 1 connection: there is no handshake.
    pub fn version_1(io: S, secret: &[u8]) -> Self {
        let halves = (
            Opener::version_1_client(secret, kv_proto::limits::FRAME_BYTES_MAX),
            Sealer::version_1(secret),
        );
        let limits = SessionLimits {
            frame_bytes_max: kv_proto::limits::FRAME_BYTES_MAX,
            ..SessionLimits::default()
        };
        let ends = Ends::new(halves, limits, Capabilities::NONE, Vec::new());
        Self::with_ends(io, ends)
    }

    const fn with_ends(io: S, ends: Ends) -> Self {
        Self {
            io,
            ends,
            stashed: VecDeque::new(),
            last_id: FIRST_ID,
        }
    }

    /// The session, to queue frames on and to read what it knows.
    pub const fn ends(&mut self) -> &mut Ends {
        &mut self.ends
    }

    /// The stream.
    pub const fn io(&mut self) -> &mut S {
        &mut self.io
    }

    /// Takes the stream and the session apart.
    pub fn into_parts(self) -> (S, Ends) {
        (self.io, self.ends)
    }

    /// A request id that was not given out yet.
    pub const fn id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// Queues a message, in several frames if it is large.
    pub fn queue(
        &mut self,
        opcode: Opcode,
        id: u32,
        ext: &Extensions<'_>,
        key: &[u8],
        value: &[u8],
    ) {
        let ext = ext.encode();
        let head = FrameHead::new(opcode, id);
        self.ends.send(head, ext.as_bytes(), key, value);
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// The stream's.
    pub async fn flush(&mut self) -> io::Result<()> {
        let output = std::mem::take(self.ends.output());
        self.io.write_all(&output).await?;
        self.io.flush().await
    }

    /// Queues a message and sends everything.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send(
        &mut self,
        opcode: Opcode,
        id: u32,
        ext: &Extensions<'_>,
        key: &[u8],
        value: &[u8],
    ) -> io::Result<()> {
        self.queue(opcode, id, ext, key, value);
        self.flush().await
    }

    /// Seals one frame as the next of this session, without sending it: the test has its bytes.
    pub fn seal(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
        let before = self.ends.output().len();
        self.ends.send_frame(head, ext, key, value);
        self.ends.output().split_off(before)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// The next whole message; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream's, or `InvalidData` for what no honest server sends.
    pub async fn next(&mut self) -> io::Result<Option<Received>> {
        if let Some(stashed) = self.stashed.pop_front() {
            return Ok(Some(stashed));
        }
        self.read().await
    }

    async fn read(&mut self) -> io::Result<Option<Received>> {
        loop {
            if let Some(received) = self.ends.take()? {
                return Ok(Some(received));
            }
            if self.io.read_buf(self.ends.input()).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message with this request id; others wait for their turn.
    ///
    /// # Errors
    /// As [`RawClient::next`]; `UnexpectedEof` when the stream ends before.
    pub async fn reply(&mut self, id: u32) -> io::Result<Received> {
        if let Some(at) = self.stashed.iter().position(|message| message.id == id) {
            return self
                .stashed
                .remove(at)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(received) = self.read().await? {
            if received.id == id {
                return Ok(received);
            }
            self.stashed.push_back(received);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends a request with a new id and waits for its (first) answer.
    ///
    /// # Errors
    /// As [`RawClient::reply`].
    pub async fn call(
        &mut self,
        opcode: Opcode,
        ext: &Extensions<'_>,
        key: &[u8],
        value: &[u8],
    ) -> io::Result<Received> {
        let id = self.id();
        self.send(opcode, id, ext, key, value).await?;
        self.reply(id).await
    }

    /// GET; `None` when there is no entry.
    ///
    /// # Errors
    /// As [`RawClient::reply`].
    pub async fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let reply = self
            .call(Opcode::Get, &Extensions::default(), key, &[])
            .await?;
        if reply.is(Opcode::NotFound) {
            return Ok(None);
        }
        assert!(reply.is(Opcode::Ok), "{}", describe(&reply));
        Ok(Some(reply.value))
    }

    /// SET; the entry's version.
    ///
    /// # Errors
    /// As [`RawClient::reply`].
    pub async fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<u64> {
        let reply = self
            .call(Opcode::Set, &Extensions::default(), key, value)
            .await?;
        assert!(reply.is(Opcode::Ok), "{}", describe(&reply));
        Ok(reply.extensions().version.unwrap_or_default())
    }

    /// Everything that still comes, to the end of the stream; a reset is an end as well.
    pub async fn rest(&mut self) -> Vec<Received> {
        let mut rest: Vec<Received> = self.stashed.drain(..).collect();
        while let Ok(Some(received)) = self.read().await {
            rest.push(received);
        }
        rest
    }
}

/// The code and text of an ERR.
#[must_use]
#[track_caller]
pub fn error(message: &Received) -> (ErrorCode, u32, String) {
    assert!(message.is(Opcode::Err), "no error: {}", describe(message));
    let body = ErrorBody::decode(&message.value).unwrap();
    let code = body.known().unwrap();
    (code, body.retry_after_ms, body.message.to_owned())
}

/// The code of an ERR.
#[must_use]
#[track_caller]
pub fn code(message: &Received) -> ErrorCode {
    error(message).0
}

/// A message in words, for a failed test.
#[must_use]
pub fn describe(message: &Received) -> String {
    let text = match ErrorBody::decode(&message.value) {
        Ok(body) if message.is(Opcode::Err) => format!("{:?} {}", body.known(), body.message),
        _ => format!("{} bytes", message.value.len()),
    };
    format!("{:?} to {}: {text}", message.opcode, message.id)
}

/// A frame that was never sealed: its tag is zeros.
#[must_use]
pub fn unsealed(opcode: Opcode, id: u32, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, FrameHead::new(opcode, id), &[], key, value);
    out
}
