//! Frames about the connection itself, and the requests that are no key commands.

use kv_proto::{
    CloseReason, DecodeError, DecodeKind, ErrorCode, Extensions, Flags, Frame, FrameHead, Opcode,
    ProtocolViolation, limits::PING_BYTES_MAX,
};
use kv_service::Value;

use super::core::{Core, Intake};
use super::intake::Parts;
use super::reply::{self, FrameSink as _};
use super::request::{Meta, Reject};
use crate::info;

impl Core {
    /// A frame that is not a request, or PING.
    pub(super) fn control(&mut self, opcode: Opcode, frame: &Frame<'_>) -> Result<(), CloseReason> {
        let plain = frame.flags() == Flags::NONE || frame.flags() == Flags::ENCRYPTED;
        let about_connection = !matches!(opcode, Opcode::Cancel | Opcode::Credit);
        if !plain || about_connection != (frame.request_id() == 0) {
            return Err(ProtocolViolation::RequestId.into());
        }
        let takes_value = !matches!(opcode, Opcode::Cancel | Opcode::Goodbye);
        let fits = frame.ext().is_empty()
            && frame.key().is_empty()
            && (takes_value || frame.value().is_empty());
        if !fits {
            return Err(DecodeError {
                what: "control frame",
                offset: 0,
                kind: DecodeKind::Trailing,
            }
            .into());
        }
        match opcode {
            Opcode::Ping => self.ping(frame),
            Opcode::Pong => {
                self.budget.charge();
                Ok(())
            }
            Opcode::Cancel => {
                self.budget.charge();
                self.cancel(frame.request_id());
                Ok(())
            }
            Opcode::Credit => {
                self.budget.charge();
                self.credit(frame)
            }
            // The opener checked it and moved to the next keys.
            Opcode::KeyUpdate => Ok(()),
            Opcode::Goodbye => {
                self.intake = Intake::Ended;
                self.end_streams();
                Ok(())
            }
            _ => Err(ProtocolViolation::UnexpectedFrame.into()),
        }
    }

    fn ping(&mut self, frame: &Frame<'_>) -> Result<(), CloseReason> {
        self.budget.charge();
        if frame.value().len() > PING_BYTES_MAX {
            return Err(CloseReason::Limit(kv_proto::Limit::FrameBytes));
        }
        let head = FrameHead::new(Opcode::ServerPong, 0);
        self.egress
            .frame(head, &[], &[], Value::Inline(frame.value()));
        self.count_ok(Opcode::Ping);
        Ok(())
    }

    /// CANCEL of what has no final answer yet is answered with END; of anything else it is too late.
    pub(super) fn cancel(&mut self, request_id: u32) {
        if self.assembler.is_refused(request_id) {
            // It has had its final answer; CANCEL says that no more of it comes [P-9.6].
            self.assembler.abort(request_id);
            return;
        }
        if self.assembler.abort(request_id) || self.streams.cancel(request_id) {
            self.recorder.cancelled(1);
            return reply::end(&mut self.egress, request_id);
        }
        if self.cancel_held(request_id) {
            return self.recorder.cancelled(1);
        }
        if let Some((token, parked)) = self.inflight.cancel(request_id) {
            self.recorder.cancelled(1);
            if parked {
                self.finish_waiting(token);
                reply::end(&mut self.egress, request_id);
            }
        }
    }

    fn credit(&mut self, frame: &Frame<'_>) -> Result<(), CloseReason> {
        let value: [u8; 4] = frame
            .value()
            .try_into()
            .map_err(|_| ProtocolViolation::UnexpectedFrame)?;
        self.streams
            .grant(frame.request_id(), u32::from_be_bytes(value))?;
        Ok(())
    }

    /// Requests that are no key commands.
    pub(super) fn other_request(
        &mut self,
        opcode: Opcode,
        meta: Meta,
        ext: &Extensions<'_>,
        parts: Parts<'_>,
    ) {
        let fits = match opcode {
            Opcode::Echo | Opcode::Batch | Opcode::Kill => parts.key.is_empty(),
            Opcode::Info => parts.value.is_empty(),
            Opcode::Clients | Opcode::Backup => parts.key.is_empty() && parts.value.is_empty(),
            _ => true,
        };
        if !fits {
            let text = format!(
                "{} has a key or a value that it does not take",
                opcode.name()
            );
            return self.reject_cheap(meta, &Reject::argument(text));
        }
        match opcode {
            Opcode::Echo => {
                let mut out = kv_proto::ExtBuf::new();
                if let Some(kind) = ext.content_type {
                    out.item(kv_proto::ext_tag::CONTENT_TYPE, &[kind]);
                }
                let head = FrameHead::new(Opcode::Ok, meta.request_id);
                self.egress
                    .frame(head, out.as_bytes(), &[], Value::Inline(parts.value));
                self.count_ok(opcode);
            }
            Opcode::Scan => self.open_scan(meta, ext, parts),
            Opcode::Backup => self.open_backup(meta, ext),
            Opcode::Batch => self.batch(meta, ext, parts.value),
            Opcode::Info => match info::info(&self.shared, parts.key) {
                Some(value) => self.typed(meta, &value),
                None => self.reject(meta, &Reject::argument(info::SECTIONS_HINT)),
            },
            Opcode::Clients => {
                let value = info::clients(&self.shared);
                self.typed(meta, &value);
            }
            Opcode::Kill => self.kill(meta, parts.value),
            other => {
                let text = format!("{} is not in this release", other.name());
                self.reject_cheap(meta, &Reject::new(ErrorCode::Unsupported, text));
            }
        }
    }

    fn typed(&mut self, meta: Meta, value: &[u8]) {
        let mut ext = kv_proto::ExtBuf::new();
        ext.item(kv_proto::ext_tag::CONTENT_TYPE, &[2]);
        let head = FrameHead::new(Opcode::Ok, meta.request_id);
        self.egress
            .frame(head, ext.as_bytes(), &[], Value::Inline(value));
        self.count_ok(meta.opcode);
    }

    fn kill(&mut self, meta: Meta, value: &[u8]) {
        let Ok(id) = value.try_into().map(u64::from_be_bytes) else {
            let text = "KILL takes 8 bytes: the connection id that CLIENTS shows";
            return self.reject_cheap(meta, &Reject::argument(text));
        };
        if self.shared.registry.kill(id) {
            let head = FrameHead::new(Opcode::Ok, meta.request_id);
            self.egress.frame(head, &[], &[], Value::Inline(&[]));
            self.count_ok(meta.opcode);
        } else {
            reply::not_found(&mut self.egress, meta.request_id);
            self.tally.count(meta.opcode, None, true);
        }
    }
}
