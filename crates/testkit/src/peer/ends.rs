//! The two ends of a scripted server's session: opens what comes, seals what it is told to.

use std::collections::HashMap;
use std::io;

use kv_proto::limits::SessionLimits;
use kv_proto::typed::Value;
use kv_proto::{
    Assembler, AssemblerLimits, Capabilities, CutLimits, ErrorBody, ErrorCode, Extensions, Flags,
    Fragmenter, FrameHead, Opcode, Opener, Sealer, compress, write_frame,
};

use super::received::{Received, assemble, inflate};

/// The session without its stream, for tests that split the stream or feed bytes by hand.
pub struct Ends {
    opener: Opener,
    sealer: Sealer,
    limits: SessionLimits,
    input: Vec<u8>,
    output: Vec<u8>,
    assembler: Assembler,
    counted: HashMap<u32, usize>,
    capabilities: Capabilities,
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
            counted: HashMap::new(),
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
