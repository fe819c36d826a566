//! Walks over received frames: whole key commands gather into runs, everything else is handled as it
//! comes. The one place that decides by opcode.

use kv_proto::{
    AssemblerError, Assembly, CloseReason, Direction, ErrorCode, Extensions, Flags, Fragment,
    Frame, Opcode, Opener, ProtocolViolation, UnknownOpcode, decompress,
};
use kv_service::{Code, Operation, Pressure};

use super::core::{Core, Intake};
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
        let result = loop {
            if run.is_full() {
                run.execute(self);
                if self.egress.out.len() >= output_max || self.intake == Intake::Ended {
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
        if opcode.info().answer == kv_proto::Answer::None || opcode == Opcode::Ping {
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

    /// A request that is whole.
    fn request<'b>(
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
                match op {
                    Ok(op) => run.push(op, meta),
                    Err(reject) => self.reject_cheap(meta, &reject),
                }
            }
            other => {
                run.execute(self);
                self.other_request(other, meta, &ext, parts);
            }
        }
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
        if let kv_proto::BodyBound::Bytes(max) = info.body
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
        if !self.inflight.is_empty() || !self.streams.is_empty() {
            if self.is_in_flight(request_id) || run.contains(request_id) {
                return Err(Reject::argument("this request id is in flight already"));
            }
        }
        self.admit_by_load(opcode)
    }

    /// Rate limits and memory pressure; both are off or far away almost always.
    fn admit_by_load(&mut self, opcode: Opcode) -> Result<(), Reject> {
        if let Some(retry_after_ms) = self.rate_limited() {
            return Err(Reject {
                code: ErrorCode::RateLimited,
                message: "over the rate limit".into(),
                retry_after_ms,
            });
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

    /// A piece of a message that is refused at its first one [P-9.6].
    fn swallow(&mut self, frame: &Frame<'_>, first: bool) -> Result<(), CloseReason> {
        let request_id = frame.request_id();
        if first && self.is_in_flight(request_id) {
            return Err(ProtocolViolation::RequestId.into());
        }
        let taken = self
            .assembler
            .accept(self.monotonic_ms(), &fragment(frame, first));
        if let Some(reason) = taken.err().and_then(|error| error.close_reason()) {
            return Err(reason);
        }
        self.assembler.refuse(request_id);
        Ok(())
    }

    /// Fragments and compressed values.
    fn accept_unusual<'b>(
        &mut self,
        opcode: Opcode,
        frame: &Frame<'b>,
        run: &mut Run<'b>,
    ) -> Result<(), CloseReason> {
        let request_id = frame.request_id();
        let flags = frame.flags();
        let compressed = flags.contains(Flags::COMPRESSED);
        if compressed && (!self.lz4 || !opcode.info().continued) {
            return Err(ProtocolViolation::CompressedUnasked.into());
        }
        if flags.contains(Flags::MORE) || self.assembler.contains(request_id) {
            return self.fragment(opcode, frame, run);
        }
        self.budget.refill(frame.wire_len());
        if compressed {
            run.execute(self);
            let parts = Parts::of(frame);
            self.request_compressed(opcode, request_id, parts);
        } else {
            self.request(opcode, request_id, Parts::of(frame), run);
        }
        Ok(())
    }

    fn fragment<'b>(
        &mut self,
        opcode: Opcode,
        frame: &Frame<'b>,
        run: &mut Run<'b>,
    ) -> Result<(), CloseReason> {
        if !opcode.info().continued {
            return Err(ProtocolViolation::Continuation.into());
        }
        run.execute(self);
        let request_id = frame.request_id();
        let meta = Meta::bare(opcode, request_id);
        let first = !self.assembler.contains(request_id);
        let fragment = fragment(frame, first);
        if first && (self.inflight.contains(request_id) || self.streams.contains(request_id)) {
            return Err(ProtocolViolation::RequestId.into());
        }
        let growth = self.assembler.growth(&fragment);
        let crowded = growth > 0 && !self.allows_partial(growth);
        match self.assembler.accept(self.monotonic_ms(), &fragment) {
            Ok(Assembly::Pending) if crowded => {
                self.assembler.refuse(request_id);
                let text = "the server holds too much of unfinished messages";
                let mut reject = Reject::new(ErrorCode::Overloaded, text);
                reject.retry_after_ms = 1_000;
                self.reject_cheap(meta, &reject);
                Ok(())
            }
            Ok(Assembly::Pending | Assembly::Swallowed) => {
                self.budget.refill(frame.wire_len());
                Ok(())
            }
            Ok(Assembly::Complete(whole)) => {
                let len = whole.ext.len() + whole.key.len() + whole.value.len();
                let parts = Parts {
                    ext: &whole.ext,
                    key: &whole.key,
                    value: &whole.value,
                    len,
                };
                if whole.flags.contains(Flags::COMPRESSED) {
                    self.request_compressed(opcode, request_id, parts);
                } else {
                    let mut single = Run::new();
                    self.request(opcode, request_id, parts, &mut single);
                    single.execute(self);
                }
                Ok(())
            }
            Err(error) => self.on_assembler_error(meta, &error),
        }
    }

    fn on_assembler_error(
        &mut self,
        meta: Meta,
        error: &AssemblerError,
    ) -> Result<(), CloseReason> {
        if let Some(reason) = error.close_reason() {
            return Err(reason);
        }
        let code = error.error_code().unwrap_or(ErrorCode::TooLarge);
        self.reject_cheap(meta, &Reject::new(code, error.to_string()));
        Ok(())
    }

    fn request_compressed(&mut self, opcode: Opcode, request_id: u32, parts: Parts<'_>) {
        let max = self.shared.config.limits.max_message_bytes.get();
        match decompress(parts.value, max) {
            Ok(value) => {
                let mut single = Run::new();
                let parts = Parts {
                    value: &value,
                    ..parts
                };
                self.request(opcode, request_id, parts, &mut single);
                single.execute(self);
            }
            Err(error) => {
                let meta = Meta::bare(opcode, request_id);
                let reject = Reject::new(error.error_code(), error.to_string());
                self.reject_cheap(meta, &reject);
            }
        }
    }
}

/// A frame as the assembler takes it.
fn fragment<'b>(frame: &Frame<'b>, first: bool) -> Fragment<'b> {
    Fragment {
        request_id: frame.request_id(),
        opcode: frame.opcode(),
        flags: Flags(frame.flags().0 & !Flags::MORE.0 & !Flags::ENCRYPTED.0),
        more: frame.flags().contains(Flags::MORE),
        total_len: first.then(|| Extensions::total_len(frame.ext())).flatten(),
        ext: frame.ext(),
        key: frame.key(),
        value: frame.value(),
    }
}

/// The body of a request that is whole.
#[derive(Clone, Copy)]
pub(super) struct Parts<'b> {
    pub(super) ext: &'b [u8],
    pub(super) key: &'b [u8],
    pub(super) value: &'b [u8],
    /// Body bytes as they came.
    len: usize,
}

impl<'b> Parts<'b> {
    fn of(frame: &Frame<'b>) -> Self {
        Self {
            ext: frame.ext(),
            key: frame.key(),
            value: frame.value(),
            len: frame.ext().len() + frame.key().len() + frame.value().len(),
        }
    }
}
