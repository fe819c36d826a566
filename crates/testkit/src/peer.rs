//! A server that does what a test says: it runs the handshake, reads whole messages, and sends
//! whatever it is told to, right or wrong, over any stream.
//!
//! It owns the session's two ends and nothing else: what is answered, in which order, when, and
//! whether at all is the test's. Every read ends at the end of the stream.

use std::io;

use kv_proto::limits::SessionLimits;
use kv_proto::typed::Value;
use kv_proto::{
    Assembler, AssemblerLimits, Assembly, Capabilities, CutLimits, ErrorBody, ErrorCode,
    Extensions, Flags, Fragment, Fragmenter, Frame, FrameHead, KeyLookup, Opcode, OpcodeByte,
    Opener, Sealer, Secret, ServerHandshake, ServerRandom, ServerSettings, ServerStep, Suite,
    SuiteList, Transport, compress, decompress, write_frame,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a peer offers and which key it holds.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// What the handshake offers.
    pub server: ServerSettings,
    /// The one key it knows; `None` accepts sessions without a key.
    pub key: Option<(Box<str>, Secret)>,
    /// Who READY says the client is.
    pub identity: Box<str>,
    /// What carries the session: under TLS, the exporter of that connection.
    pub transport: Transport,
}

impl Default for PeerSettings {
    /// Every suite, no key, the default limits.
    fn default() -> Self {
        Self {
            server: ServerSettings {
                suites: SuiteList::new(&Suite::ALL),
                capabilities: Capabilities::LZ4,
                limits: SessionLimits::default(),
                software: "peer/1".into(),
                version_1: None,
            },
            key: None,
            identity: "tester".into(),
            transport: Transport::Plain,
        }
    }
}

impl KeyLookup for PeerSettings {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        match (&self.key, key_id) {
            (None, None) => (Secret::absent(), true),
            (Some((id, secret)), Some(named)) if **id == *named => (secret.clone(), true),
            _ => (Secret::new(&[0xEE; 32]), false),
        }
    }
}

/// A whole message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its command.
    pub opcode: OpcodeByte,
    /// Its request id.
    pub id: u32,
    /// Its flags, without MORE.
    pub flags: Flags,
    /// Its extension block.
    pub ext: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// In how many frames it came.
    pub frames: usize,
}

impl Received {
    /// Whether it is this command.
    #[must_use]
    pub fn is(&self, opcode: Opcode) -> bool {
        self.opcode == OpcodeByte::from(opcode)
    }

    /// Its extensions; a block that is malformed is a bug of the client.
    ///
    /// # Panics
    /// If the command is unknown or the block is malformed.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test wants to hear of it")]
    pub fn extensions(&self) -> Extensions<'_> {
        let opcode = Opcode::try_from(self.opcode).unwrap();
        Extensions::decode(&self.ext, opcode.info().ext).unwrap()
    }

    fn of_frame(frame: &Frame<'_>) -> Self {
        Self {
            opcode: frame.opcode(),
            id: frame.request_id(),
            flags: Flags(frame.flags().0 & !Flags::ENCRYPTED.0),
            ext: frame.ext().to_vec(),
            key: frame.key().to_vec(),
            value: frame.value().to_vec(),
            frames: 1,
        }
    }
}

/// A scripted server on one stream.
pub struct Peer<S> {
    io: S,
    ends: Ends,
}

/// The session without its stream, for tests that split the stream or feed bytes by hand.
pub struct Ends {
    opener: Opener,
    sealer: Sealer,
    limits: SessionLimits,
    input: Vec<u8>,
    output: Vec<u8>,
    assembler: Assembler,
    counted: std::collections::HashMap<u32, usize>,
    capabilities: Capabilities,
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
            if self.io.read_buf(&mut self.ends.input).await? == 0 {
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
        self.io.write_all(&self.ends.output).await?;
        self.ends.output.clear();
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

impl Ends {
    /// The ends of a session that is open.
    pub(crate) fn new(
        (opener, sealer): (Opener, Sealer),
        limits: SessionLimits,
        capabilities: Capabilities,
        input: Vec<u8>,
    ) -> Self {
        Self {
            opener,
            sealer,
            limits,
            input,
            output: Vec::new(),
            assembler: Assembler::new(AssemblerLimits::default()),
            counted: std::collections::HashMap::new(),
            capabilities,
        }
    }

    /// What the server allows.
    #[must_use]
    pub const fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// Bytes that arrived; [`Ends::take`] finds the messages in them.
    pub const fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Sealed bytes that wait to be sent.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What both sides can do.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The next whole message in the input.
    ///
    /// # Errors
    /// `InvalidData` for what no honest client sends.
    pub fn take(&mut self) -> io::Result<Option<Received>> {
        loop {
            let mut rest = self.input.as_mut_slice();
            let Some(frame) = self.opener.next(&mut rest).map_err(io::Error::other)? else {
                return Ok(None);
            };
            let left = rest.len();
            let more = frame.flags().contains(Flags::MORE);
            let received = if more || self.assembler.contains(frame.request_id()) {
                assemble(&mut self.assembler, &mut self.counted, &frame)?
            } else {
                Some(Received::of_frame(&frame))
            };
            if let Some(cancelled) = received
                .as_ref()
                .filter(|message| message.is(Opcode::Cancel))
            {
                self.assembler.abort(cancelled.id);
                self.counted.remove(&cancelled.id);
            }
            self.input.drain(..self.input.len().saturating_sub(left));
            if let Some(received) = received {
                return inflate(received).map(Some);
            }
        }
    }

    /// Queues OK for every whole request in the input, with the request's key as its value, and
    /// allocates nothing once its buffers have grown.
    ///
    /// # Errors
    /// `InvalidData` for what no honest client sends.
    pub fn answer_with_keys(&mut self) -> io::Result<()> {
        let mut rest = self.input.as_mut_slice();
        while let Some(frame) = self.opener.next(&mut rest).map_err(io::Error::other)? {
            let head = FrameHead::new(Opcode::Ok, frame.request_id());
            let start = write_frame(&mut self.output, head, &[], &[], frame.key());
            self.sealer.seal(&mut self.output, start);
        }
        let left = rest.len();
        self.input.drain(..self.input.len().saturating_sub(left));
        Ok(())
    }

    /// Queues READY.
    pub fn ready(&mut self, identity: &str) {
        let permissions = ["read", "write", "scan"].map(Value::from);
        let ready = Value::Map(vec![
            (Value::from("identity"), Value::from(identity)),
            (
                Value::from("permissions"),
                Value::Array(permissions.to_vec()),
            ),
        ]);
        let mut value = Vec::new();
        // Two levels of short strings are within every bound.
        let _ = ready.encode(&mut value);
        self.send(FrameHead::new(Opcode::Ready, 0), &[], &[], &value);
    }

    /// Queues one message, in several frames if it is large.
    pub fn send(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: &[u8]) {
        let limits = CutLimits::of_session(&self.limits);
        let limits = CutLimits {
            message_bytes_max: usize::MAX,
            ..limits
        };
        let Ok(pieces) = Fragmenter::new(ext.len().saturating_add(key.len()), value.len(), &limits)
        else {
            return;
        };
        let opcode = head.opcode;
        let mut first_ext = ext.to_vec();
        if let Some(total) = pieces.total_len() {
            let mut known = Extensions::decode(ext, opcode.info().ext).unwrap_or_default();
            known.total_len = Some(total);
            first_ext = known.encode().as_bytes().to_vec();
        }
        for piece in pieces {
            let (ext, key): (&[u8], &[u8]) = if piece.first {
                (&first_ext, key)
            } else {
                (&[], &[])
            };
            let head = FrameHead {
                flags: head.flags.with(piece.flags()),
                ..head
            };
            let part = value.get(piece.value).unwrap_or_default();
            self.send_frame(head, ext, key, part);
        }
    }

    /// Queues one message whose value goes compressed.
    pub fn send_compressed(&mut self, opcode: Opcode, id: u32, value: &[u8]) {
        let head = FrameHead {
            flags: Flags::COMPRESSED,
            ..FrameHead::new(opcode, id)
        };
        self.send(head, &[], &[], &compress(value).unwrap_or_default());
    }

    /// Queues exactly one frame.
    pub fn send_frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: &[u8]) {
        let start = write_frame(&mut self.output, head, ext, key, value);
        self.sealer.seal(&mut self.output, start);
    }

    /// Queues OK with a value and a version.
    pub fn ok(&mut self, id: u32, version: u64, value: &[u8]) {
        let ext = Extensions {
            version: Some(version),
            ..Extensions::default()
        }
        .encode();
        self.send(FrameHead::new(Opcode::Ok, id), ext.as_bytes(), &[], value);
    }

    /// Queues an ITEM.
    pub fn item(&mut self, id: u32, key: &[u8], value: &[u8]) {
        let ext = Extensions {
            version: Some(1),
            ..Extensions::default()
        }
        .encode();
        self.send(FrameHead::new(Opcode::Item, id), ext.as_bytes(), key, value);
    }

    /// Queues an ERR.
    pub fn error(&mut self, id: u32, code: ErrorCode, retry_after_ms: u32) {
        let mut value = Vec::new();
        let body = ErrorBody {
            code: code.number(),
            retry_after_ms,
            message: code.name(),
        };
        body.encode(&mut value);
        self.send(FrameHead::new(Opcode::Err, id), &[], &[], &value);
    }

    /// Queues a frame without a body.
    pub fn bare(&mut self, opcode: Opcode, id: u32) {
        self.send_frame(FrameHead::new(opcode, id), &[], &[], &[]);
    }

    /// Queues a frame with an opcode that no release knows, or any other number.
    pub fn send_unknown(&mut self, opcode: u8, id: u32) {
        let start = write_frame(
            &mut self.output,
            FrameHead::new(Opcode::Get, id),
            &[],
            b"key",
            &[],
        );
        if let Some(place) = self.output.get_mut(start.saturating_add(3)) {
            *place = opcode;
        }
        self.sealer.seal(&mut self.output, start);
    }

    /// Queues KEY_UPDATE as a client and moves to the next keys.
    ///
    /// # Errors
    /// In a suite without keys.
    pub fn update_sending_keys(&mut self) -> io::Result<()> {
        self.sealer
            .update_keys(&mut self.output, Opcode::KeyUpdate)
            .map_err(io::Error::other)
    }

    /// Queues SERVER_KEY_UPDATE and moves to the next keys.
    ///
    /// # Errors
    /// In a suite without keys.
    pub fn update_keys(&mut self) -> io::Result<()> {
        self.sealer
            .update_keys(&mut self.output, Opcode::ServerKeyUpdate)
            .map_err(io::Error::other)
    }
}

fn assemble(
    assembler: &mut Assembler,
    counted: &mut std::collections::HashMap<u32, usize>,
    frame: &Frame<'_>,
) -> io::Result<Option<Received>> {
    let id = frame.request_id();
    if frame.opcode() == OpcodeByte::from(Opcode::Cancel) {
        return Ok(Some(Received::of_frame(frame)));
    }
    let opcode = Opcode::try_from(frame.opcode()).map_err(io::Error::other)?;
    let ext = Extensions::decode(frame.ext(), opcode.info().ext).map_err(io::Error::other)?;
    let fragment = Fragment {
        request_id: id,
        opcode: frame.opcode(),
        flags: Flags(frame.flags().0 & !(Flags::MORE.0 | Flags::ENCRYPTED.0)),
        more: frame.flags().contains(Flags::MORE),
        total_len: ext.total_len,
        ext: frame.ext(),
        key: frame.key(),
        value: frame.value(),
    };
    let frames = counted.entry(id).or_default();
    *frames = frames.saturating_add(1);
    match assembler.accept(0, &fragment).map_err(io::Error::other)? {
        Assembly::Complete(whole) => Ok(Some(Received {
            opcode: whole.opcode,
            id,
            flags: whole.flags,
            ext: whole.ext.to_vec(),
            key: whole.key.to_vec(),
            value: whole.value.to_vec(),
            frames: counted.remove(&id).unwrap_or_default(),
        })),
        Assembly::Pending | Assembly::Swallowed => Ok(None),
    }
}

fn inflate(mut received: Received) -> io::Result<Received> {
    if received.flags.contains(Flags::COMPRESSED) {
        received.value = decompress(&received.value, usize::MAX >> 1).map_err(io::Error::other)?;
    }
    Ok(received)
}
