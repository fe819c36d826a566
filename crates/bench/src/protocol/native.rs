//! kv's own protocol, straight on `kv-proto`'s handshake, sealer and opener.
//!
//! Invariant: every frame's tag is verified; an id is of use once, so a reply that comes twice or to
//! nothing is noticed.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use kv_proto::{
    Batch, BatchWriter, Capabilities, ClientHandshake, ClientRandom, ClientSettings, ClientStep,
    Established, Flags, Frame, FrameHead, Opcode, Secret, Suite, SuiteList, Transport, write_frame,
    write_frame_front,
};

use super::{Answer, Protocol, Slot};
use crate::workload::{Data, Request, Verb};

/// Who the driver is.
pub(crate) type NativeKey = (Box<str>, Secret);

/// The codec of one connection.
pub(crate) struct Native {
    settings: ClientSettings,
    phase: Phase,
    /// Of each slot, how often it was used: the upper half of its request ids.
    uses: Vec<u16>,
    /// Values that come in several frames.
    partial: HashMap<u32, Vec<u8>>,
    scratch: Vec<u8>,
}

enum Phase {
    New,
    Hello(Box<ClientHandshake>),
    Open {
        session: Box<Established>,
        ready: bool,
    },
}

impl Native {
    /// A connection that offers one suite. Suite 0 goes without a key.
    #[must_use]
    pub(crate) fn new(suite: Suite, key: Option<NativeKey>) -> Self {
        Self {
            settings: ClientSettings {
                suites: SuiteList::new(&[suite]),
                capabilities: Capabilities::NONE,
                key: key.filter(|_| suite != Suite::Checksum),
                server_name: "".into(),
                software: concat!("kv-bench/", env!("CARGO_PKG_VERSION")).into(),
            },
            phase: Phase::New,
            uses: Vec::new(),
            partial: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    fn id(&mut self, slot: Slot) -> u32 {
        let index = usize::from(slot);
        if self.uses.len() <= index {
            self.uses.resize(index + 1, 0);
        }
        let Some(uses) = self.uses.get_mut(index) else {
            return 0;
        };
        *uses = uses.wrapping_add(1);
        // Not zero: slots are below their greatest number.
        (u32::from(*uses) << 16) | (u32::from(slot) + 1)
    }

    /// The slot of an id that is in use now.
    fn slot(&self, id: u32) -> Option<Slot> {
        let slot = Slot::try_from((id & 0xFFFF).checked_sub(1)?).ok()?;
        (self.uses.get(usize::from(slot)).copied().map(u32::from) == Some(id >> 16)).then_some(slot)
    }
}

fn random() -> Result<ClientRandom> {
    let mut random = ClientRandom {
        nonce: [0; 32],
        x25519: [0; 32],
    };
    getrandom::fill(&mut random.nonce)
        .and_then(|()| getrandom::fill(&mut random.x25519))
        .map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(random)
}

impl Protocol for Native {
    const ALPN: Option<&'static [u8]> = Some(b"kv/2");
    const BATCHES: bool = true;

    fn open(&mut self, exporter: Option<[u8; 32]>, out: &mut Vec<u8>) -> Result<()> {
        let transport = exporter.map_or(Transport::Plain, Transport::Tls);
        let handshake = ClientHandshake::start(self.settings.clone(), transport, random()?, out);
        self.phase = Phase::Hello(Box::new(handshake));
        Ok(())
    }

    fn opened(&mut self, input: &mut &mut [u8], out: &mut Vec<u8>) -> Result<bool> {
        if let Phase::Hello(handshake) = &mut self.phase {
            match handshake.recv(input, out).context("the handshake failed")? {
                ClientStep::NeedMore => return Ok(false),
                ClientStep::Refused(text) => bail!("the server refused: {text}"),
                ClientStep::Established(session) => {
                    self.phase = Phase::Open {
                        session,
                        ready: false,
                    }
                }
            }
        }
        let Phase::Open { session, ready } = &mut self.phase else {
            bail!("the session was not begun");
        };
        if !*ready {
            let Some(frame) = session.opener.next(input).context("READY")? else {
                return Ok(false);
            };
            ensure!(
                frame.opcode() == Opcode::Ready.into(),
                "{:?} came instead of READY",
                frame.opcode()
            );
            *ready = true;
        }
        Ok(true)
    }

    fn in_flight_max(&self) -> u32 {
        match &self.phase {
            Phase::Open { session, .. } => session.limits.in_flight_max,
            _ => 0,
        }
    }

    #[inline]
    fn request(
        &mut self,
        slot: Slot,
        request: &Request,
        data: &Data,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let id = self.id(slot);
        let Phase::Open { session, .. } = &mut self.phase else {
            bail!("the session is not open");
        };
        let Established { sealer, limits, .. } = &mut **session;
        if sealer.key_update_due() {
            // Suite 0 has no keys to renew, and is never due.
            sealer.update_keys(out, Opcode::KeyUpdate)?;
        }
        self.scratch.clear();
        let start = if request.count == 1 {
            data.write_key(request.first, &mut self.scratch);
            let (opcode, len) = match request.verb {
                Verb::Get => (Opcode::Get, 0),
                Verb::Set => (Opcode::Set, data.value_bytes()),
            };
            let start = write_frame_front(out, FrameHead::new(opcode, id), &[], &self.scratch, len);
            if request.verb == Verb::Set {
                data.write_value(request.first, out);
            }
            start
        } else {
            write_batch(request, data, &mut self.scratch)?;
            write_frame(
                out,
                FrameHead::new(Opcode::Batch, id),
                &[],
                &[],
                &self.scratch,
            )
        };
        let body = out.len().saturating_sub(start + kv_proto::PREFIX_LEN);
        ensure!(
            body <= usize::try_from(limits.frame_bytes_max)?,
            "a request of {body} bytes is above the server's frame limit"
        );
        sealer.seal(out, start);
        Ok(())
    }

    #[inline]
    fn replies(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        each: &mut impl FnMut(Slot, Answer<'_>),
    ) -> Result<()> {
        loop {
            let Phase::Open { session, .. } = &mut self.phase else {
                bail!("the session is not open");
            };
            let Some(frame) = session.opener.next(input).context("a reply")? else {
                return Ok(());
            };
            if frame.request_id() == 0 {
                control(&frame, session, out)?;
                continue;
            }
            let id = frame.request_id();
            let Some(slot) = self.slot(id) else {
                bail!("a reply to request {id}, which is not in flight");
            };
            let more = frame.flags().contains(Flags::MORE);
            if more || (!self.partial.is_empty() && self.partial.contains_key(&id)) {
                let whole = self.partial.entry(id).or_default();
                whole.extend_from_slice(frame.value());
                if more {
                    continue;
                }
                let whole = self.partial.remove(&id).unwrap_or_default();
                each(slot, answer(&frame, &whole)?);
            } else {
                each(slot, answer(&frame, frame.value())?);
            }
            // The id is used up: the same reply once more is nobody's.
            if let Some(uses) = self.uses.get_mut(usize::from(slot)) {
                *uses = uses.wrapping_add(1);
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Phase::Open { session, .. } = &mut self.phase {
            let start = write_frame(out, FrameHead::new(Opcode::Goodbye, 0), &[], &[], &[]);
            session.sealer.seal(out, start);
        }
    }
}

fn write_batch(request: &Request, data: &Data, out: &mut Vec<u8>) -> Result<()> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut batch = BatchWriter::requests(out);
    for nth in 0..request.count {
        let index = data.member(request, nth);
        key.clear();
        data.write_key(index, &mut key);
        let opcode = match request.verb {
            Verb::Get => Opcode::Get,
            Verb::Set => {
                value.clear();
                data.write_value(index, &mut value);
                Opcode::Set
            }
        };
        batch.item(opcode, &[], &key, &value)?;
    }
    Ok(())
}

/// What an answer says. A batch is told from a value by the caller, who knows what was asked; here
/// every OK with a value is one.
#[inline]
fn answer<'a>(frame: &Frame<'_>, value: &'a [u8]) -> Result<Answer<'a>> {
    match Opcode::try_from(frame.opcode()) {
        Ok(Opcode::Ok) => Ok(Answer::Value { key: None, value }),
        Ok(Opcode::NotFound) => Ok(Answer::Missing),
        Ok(Opcode::Err) => Ok(Answer::Refused),
        _ => bail!("{:?} is not an answer", frame.opcode()),
    }
}

/// The answers of a batch, if it is whole.
#[must_use]
pub(crate) fn batch_answers(value: &[u8]) -> Option<Batch<'_>> {
    Batch::replies(value).ok()
}

/// Frames of the connection itself.
fn control(frame: &Frame<'_>, session: &mut Established, out: &mut Vec<u8>) -> Result<()> {
    match Opcode::try_from(frame.opcode()) {
        Ok(Opcode::ServerPing) => {
            let head = FrameHead::new(Opcode::Pong, 0);
            let start = write_frame(out, head, &[], &[], frame.value());
            session.sealer.seal(out, start);
            Ok(())
        }
        // The opener has moved to the next keys already.
        Ok(Opcode::ServerKeyUpdate) => Ok(()),
        _ => bail!("the server sent {:?}", frame.opcode()),
    }
}
