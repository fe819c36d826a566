//! Walks over received frames: whole key commands gather into runs, everything else is handled as it
//! comes. The one place that decides by opcode.

use kv_proto::{
    Answer, BodyBound, CloseReason, Direction, ErrorCode, Extensions, Flags, Frame, Idempotency,
    Opcode, Opener, ProtocolViolation, UnknownOpcode,
};
use kv_service::{Batch, Code, Condition, Expiry, Op, Operation, Permission, Pressure, Value};

use super::core::{Core, Intake};
use super::idempotent::operation_id;
use super::inflight::Work;
use super::request::{Meta, Reject, allowed, extensions, operation, permission};
use super::run::Run;

impl Core {
    /// Handles every complete frame at the front of `input`; returns how many bytes were consumed.
    pub(super) fn walk(
        &mut self,
        opener: &mut Opener,
        input: &mut [u8],
        output_max: usize,
    ) -> Result<usize, CloseReason> {
        let total = input.len();
        let mut rest = input;
        let mut run = Run::new();
        self.look_around();
        let result = loop {
            if run.len() >= self.room {
                run.execute(self);
                self.look_around();
                let ended = self.intake == Intake::Ended;
                if self.room == 0 || ended || self.waiting_output() >= output_max {
                    break Ok(());
                }
            }
            match opener.next(&mut rest) {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.accept(frame, &mut run) {
                        break Err(reason);
                    }
                    if self.intake == Intake::Ended {
                        break Ok(());
                    }
                    // What is no key command was answered here and now, at any length.
                    if run.is_empty() && self.waiting_output() >= output_max {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
            }
        };
        run.execute(self);
        // After a refused frame the rest is not looked at; the count no longer matters then.
        result.map(|()| total - rest.len())
    }

    fn accept<'b>(&mut self, frame: Frame<'b>, run: &mut Run<'b>) -> Result<(), CloseReason> {
        if let Some((op, meta)) = self.plain_operation(&frame) {
            self.last_request_id = meta.request_id;
            self.budget.refill(frame.wire_len());
            run.push(op, meta);
            return Ok(());
        }
        let done = self.accept_any(frame, run);
        self.look_around();
        done
    }

    /// What is asked about the connection, once for many frames: after everything but a plain request.
    fn look_around(&mut self) {
        self.calm = self.is_calm();
        self.room = self.run_room();
    }

    fn accept_any<'b>(&mut self, frame: Frame<'b>, run: &mut Run<'b>) -> Result<(), CloseReason> {
        let opcode = match Opcode::try_from(frame.opcode()) {
            Ok(opcode) if opcode.direction() == Direction::ToServer => opcode,
            Err(UnknownOpcode(byte)) if byte < 128 && frame.request_id() != 0 => {
                return self.unknown(&frame, byte);
            }
            Ok(_) | Err(_) => return Err(ProtocolViolation::WrongDirection.into()),
        };
        let version = if self.version_1 { 1 } else { 2 };
        if opcode.info().since > version {
            return self.unknown(&frame, opcode.number());
        }
        if opcode.info().answer == Answer::None || opcode == Opcode::Ping {
            run.execute(self);
            return self.control(opcode, &frame);
        }
        if frame.request_id() == 0 {
            return Err(ProtocolViolation::RequestId.into());
        }
        // [P-9.3]: TOTAL_LEN begins a continued message and means nothing else.
        if !frame.ext().is_empty()
            && !frame.flags().contains(Flags::MORE)
            && Extensions::total_len(frame.ext()).is_some()
        {
            return Err(ProtocolViolation::Continuation.into());
        }
        // [P-11.5]: the last in the order of sending, whatever its number.
        self.last_request_id = frame.request_id();
        if frame.flags() != Flags::NONE && frame.flags() != Flags::ENCRYPTED
            || !self.assembler.is_empty()
        {
            return self.accept_unusual(opcode, &frame, run);
        }
        self.budget.refill(frame.wire_len());
        self.request(opcode, frame.request_id(), Parts::of(&frame), run);
        Ok(())
    }

    /// The common case: GET, SET or DEL in one frame, without extensions, on a connection with
    /// nothing in flight. What it asks of a frame is what the general way asks, and whatever does
    /// not fit goes there to be refused.
    #[inline]
    fn plain_operation<'b>(&self, frame: &Frame<'b>) -> Option<(Op<'b>, Meta)> {
        let (key, value) = (frame.key(), frame.value());
        let plain = self.calm
            && frame.ext().is_empty()
            && !key.is_empty()
            && frame.request_id() != 0
            && !self.durability.contains(frame.request_id())
            && (frame.flags() == Flags::NONE || frame.flags() == Flags::ENCRYPTED);
        if !plain {
            return None;
        }
        let condition = Condition::Always;
        let (opcode, needed, op) = match Opcode::try_from(frame.opcode()) {
            Ok(Opcode::Get) if value.is_empty() => (Opcode::Get, Permission::Read, Op::Get { key }),
            Ok(Opcode::Set) => {
                let value = Value::Inline(value);
                let expiry = Expiry::Never;
                let op = Op::Set {
                    key,
                    value,
                    content_type: 0,
                    expiry,
                    condition,
                    previous: false,
                };
                (Opcode::Set, Permission::Write, op)
            }
            Ok(Opcode::Del) if value.is_empty() => (
                Opcode::Del,
                Permission::Write,
                Op::Del {
                    key,
                    condition,
                    previous: false,
                },
            ),
            _ => return None,
        };
        let allowed = self.permissions.allows(needed);
        allowed.then_some((op, Meta::bare(opcode, frame.request_id())))
    }

    /// Whether nothing but the frame itself decides about a plain request: nothing is in flight or
    /// half received, no limit of rate or memory is near, the session is open. Asked once per walk;
    /// within a walk only requests that end it change it.
    fn is_calm(&self) -> bool {
        self.intake == Intake::Open
            && self.inflight.is_empty()
            && self.streams.is_empty()
            && self.assembler.is_empty()
            && self.share.is_unlimited()
            && self.shared.accountant.pressure() == Pressure::Normal
    }

    /// A request that is whole.
    pub(super) fn request<'b>(
        &mut self,
        opcode: Opcode,
        request_id: u32,
        parts: Parts<'b>,
        run: &mut Run<'b>,
    ) {
        let mut meta = Meta::bare(opcode, request_id);
        if let Err(reject) = self.admit(opcode, request_id, parts.len, run) {
            return self.reject_cheap(meta, &reject);
        }
        let ext = match extensions(parts.ext, opcode.info().ext) {
            Ok(ext) => ext,
            Err(reject) => return self.reject_cheap(meta, &reject),
        };
        meta.returns = ext.returns.unwrap_or(0);
        meta.deadline_ms = ext.deadline_ms;
        if ext.deadline_ms == Some(0) {
            return self.reject(meta, &Reject::deadline());
        }
        match opcode {
            Opcode::Get | Opcode::Set | Opcode::Del | Opcode::Incr | Opcode::Touch => {
                let op = operation(opcode, &ext, parts.key, parts.value, self.now)
                    .and_then(|op| allowed(self.permissions, &op).map(|()| op));
                match (op, ext.idempotency) {
                    (Ok(op), None) => run.push(op, meta),
                    (Ok(op), Some(named)) => {
                        run.execute(self);
                        self.named_operation(meta, op, named);
                    }
                    (Err(reject), _) => self.reject_cheap(meta, &reject),
                }
            }
            other => {
                run.execute(self);
                self.other_request(other, meta, &ext, parts);
            }
        }
    }

    /// A key command that must not be applied twice: the store looks its name up first, so it always
    /// takes the way of work that waits.
    fn named_operation(&mut self, meta: Meta, op: Op<'_>, named: Idempotency) {
        let operation = Some(operation_id(&self.peer.identity, named));
        let batch = Batch {
            ops: vec![op.to_owned_op()],
            atomic: false,
            operation,
        };
        self.wait(meta, Work::Single(batch));
    }

    /// What every request is held to before it is looked at.
    fn admit(
        &mut self,
        opcode: Opcode,
        request_id: u32,
        len: usize,
        run: &Run<'_>,
    ) -> Result<(), Reject> {
        let info = opcode.info();
        if !info.implemented {
            let text = format!("{} is not in this release", info.name);
            return Err(Reject::new(ErrorCode::Unsupported, text));
        }
        if let Some(needed) = permission(info.needs)
            && !self.permissions.allows(needed)
        {
            let text = format!("{} needs the permission `{}`", info.name, needed.name());
            return Err(Reject::new(ErrorCode::PermissionDenied, text));
        }
        if let BodyBound::Bytes(max) = info.body
            && len > usize::try_from(max).unwrap_or(usize::MAX)
        {
            let text = format!("{} has a body of at most {max} bytes", info.name);
            return Err(Reject::new(ErrorCode::TooLarge, text));
        }
        if self.intake == Intake::Draining {
            return Err(Reject {
                code: ErrorCode::ShuttingDown,
                message: "the server is shutting down".into(),
                retry_after_ms: 1_000,
            });
        }
        let busy = !self.inflight.is_empty() || !self.streams.is_empty();
        if busy && (self.is_in_flight(request_id) || run.contains(request_id))
            || self.durability.contains(request_id)
        {
            return Err(Reject::id_in_flight());
        }
        self.admit_by_load(opcode)
    }

    /// Rate limits and memory pressure; both are off or far away almost always.
    fn admit_by_load(&mut self, opcode: Opcode) -> Result<(), Reject> {
        if !self.share.is_unlimited()
            && let (_, Some(reject)) = self.take_rate(1)
        {
            return Err(reject);
        }
        let writes = matches!(opcode, Opcode::Set | Opcode::Incr | Opcode::Batch);
        match self.shared.accountant.pressure() {
            Pressure::Normal | Pressure::RefuseStreams => Ok(()),
            Pressure::RefuseWrites | Pressure::Shed if writes => Err(Reject {
                code: ErrorCode::OutOfMemory,
                message: "the server is close to its memory limit and takes no writes".into(),
                retry_after_ms: 1_000,
            }),
            Pressure::RefuseWrites | Pressure::Shed => Ok(()),
        }
    }

    fn unknown(&mut self, frame: &Frame<'_>, byte: u8) -> Result<(), CloseReason> {
        if frame.request_id() == 0 {
            return Err(ProtocolViolation::RequestId.into());
        }
        let first = !self.assembler.contains(frame.request_id());
        if !first || frame.flags().contains(Flags::MORE) {
            self.swallow(frame, first)?;
        }
        if !first {
            return Ok(());
        }
        self.budget.charge();
        let text = format!("opcode {byte} is not known to this server");
        let reject = Reject::new(ErrorCode::Unsupported, text);
        super::reply::error(&mut self.egress, frame.request_id(), &reject);
        self.recorder
            .requests(Operation::Other, Code::Unsupported, 1);
        Ok(())
    }
}

/// The body of a request that is whole.
#[derive(Clone, Copy)]
pub(super) struct Parts<'b> {
    pub(super) ext: &'b [u8],
    pub(super) key: &'b [u8],
    pub(super) value: &'b [u8],
    /// Body bytes as they came.
    pub(super) len: usize,
}

impl<'b> Parts<'b> {
    pub(super) fn of(frame: &Frame<'b>) -> Self {
        Self {
            ext: frame.ext(),
            key: frame.key(),
            value: frame.value(),
            len: frame.ext().len() + frame.key().len() + frame.value().len(),
        }
    }
}
