//! Continued and compressed messages on their way in: pieces go to the assembler, what comes out is
//! a request like any other.

use kv_proto::{
    AssemblerError, Assembly, CloseReason, ErrorCode, Extensions, Flags, Fragment, Frame, Opcode,
    ProtocolViolation, decompress,
};

use kv_service::Pressure;

use super::core::Core;
use super::intake::Parts;
use super::request::{Meta, Reject};
use super::run::Run;

impl Core {
    /// A piece of a message that is refused at its first one [P-9.6].
    pub(super) fn swallow(&mut self, frame: &Frame<'_>, first: bool) -> Result<(), CloseReason> {
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
    pub(super) fn accept_unusual<'b>(
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
        // The assembler has no message of this id; whatever else has it is in flight.
        if first && self.is_in_flight(request_id) {
            return Err(ProtocolViolation::RequestId.into());
        }
        let growth = self.assembler.growth(&fragment);
        let pressed = first && self.shared.accountant.pressure() >= Pressure::RefuseStreams;
        let crowded = growth > 0 && (pressed || !self.allows_partial(growth));
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
