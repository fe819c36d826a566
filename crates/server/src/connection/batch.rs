//! BATCH: several key commands under one tag, answered by as many inner replies in one frame.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use kv_proto::{
    Batch as Items, BatchItem, ErrorCode, Extensions, FrameHead, HEADER_LEN, Header, Idempotency,
    Opcode, OpcodeByte, VERSION_2,
};
use kv_service::{
    Atomic, Batch, BatchOutcome, INLINE_VALUE_BYTES_MAX, Now, Op, Outcome, Position, Sink, Value,
};
use tokio::time::Instant;

use super::core::Core;
use super::held::Answered;
use super::idempotent::{fits, number_used, operation_id};
use super::inflight::Work;
use super::reply::{self, FrameSink};
use super::request::{Meta, Reject, allowed, extensions, operation, permission};

/// One item: what to ask, or why it is refused.
type Item<'b> = Result<(Op<'b>, Meta), (Meta, Reject)>;

impl Core {
    /// Executes a BATCH.
    pub(super) fn batch(&mut self, meta: Meta, ext: &Extensions<'_>, value: &[u8]) {
        let items = match Items::requests(value) {
            Ok(items) => items,
            Err(error) => {
                return self
                    .reject_cheap(meta, &Reject::new(error.error_code(), error.to_string()));
            }
        };
        let mut items: Vec<Item<'_>> = items
            .iter()
            .zip(0u32..)
            .map(|(item, index)| self.batch_item(&item, index))
            .collect();
        self.limit_items(&mut items);
        let blocked = !self.inflight.is_empty()
            && items
                .iter()
                .flatten()
                .any(|(op, _)| self.inflight.blocks(op.key()));
        // A part of it may have to wait. Refused then, it would be half applied and said not to be.
        if let Err(reject) = self.admit_waiting(meta.request_id) {
            return self.reject(meta, &reject);
        }
        if let Some(named) = ext.idempotency
            && !items.is_empty()
        {
            self.batch_named(meta, &items, ext.atomic, named);
        } else if ext.atomic {
            self.batch_atomic(meta, &items, blocked);
        } else {
            self.batch_each(meta, &items, blocked);
        }
    }

    /// Each item is a request to the rate limits; the first was taken with the batch itself. Those
    /// beyond a limit are refused, each for itself, and with ATOMIC all for the first of them.
    fn limit_items(&self, items: &mut [Item<'_>]) {
        let further = u32::try_from(items.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if self.share.is_unlimited() || further == 0 {
            return;
        }
        if let (allowed, Some(reject)) = self.take_rate(further) {
            let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
            for item in items.iter_mut().skip(allowed.saturating_add(1)) {
                if let Ok((_, meta)) = item {
                    *item = Err((*meta, reject.clone()));
                }
            }
        }
    }

    fn batch_item<'b>(&self, item: &BatchItem<'b>, index: u32) -> Item<'b> {
        let opcode = Opcode::try_from(item.opcode).unwrap_or(Opcode::Batch);
        let mut meta = Meta::bare(opcode, index);
        let has_place = matches!(
            opcode,
            Opcode::Get | Opcode::Set | Opcode::Del | Opcode::Incr | Opcode::Touch
        );
        if !has_place {
            let text = format!("opcode {} has no place in a BATCH", item.opcode.0);
            return Err((meta, Reject::new(ErrorCode::Unsupported, text)));
        }
        if let Some(needed) = permission(opcode.info().needs)
            && !self.permissions.allows(needed)
        {
            let text = format!("{} needs the permission `{}`", opcode.name(), needed.name());
            return Err((meta, Reject::new(ErrorCode::PermissionDenied, text)));
        }
        let ext = extensions(item.ext, opcode.info().ext).map_err(|reject| (meta, reject))?;
        meta.returns = ext.returns.unwrap_or(0);
        operation(opcode, &ext, item.key, item.value, self.now)
            .and_then(|op| allowed(self.permissions, &op).map(|()| (op, meta)))
            .map_err(|reject| (meta, reject))
    }

    fn batch_atomic(&mut self, meta: Meta, items: &[Item<'_>], blocked: bool) {
        if let Some((item, reject)) = items.iter().find_map(|item| item.as_ref().err()) {
            return self.batch_refused(meta, Position::START, item.request_id, reject);
        }
        let (ops, metas): (Vec<Op<'_>>, Vec<Meta>) = items.iter().flatten().copied().unzip();
        let mut body = BatchBody::new(self.batch_bytes_max(), items.len());
        if !blocked {
            let mut sink = BodySink {
                body: &mut body,
                metas: &metas,
                now: self.now,
                after: Position::START,
            };
            let service = &self.shared.service;
            let ran = catch_unwind(AssertUnwindSafe(|| {
                service.run_atomic(self.now, &ops, &mut sink)
            }));
            match ran {
                Ok((Atomic::NotNow, _)) => {}
                Ok((other, after)) => return self.on_atomic(meta, other, after, body),
                Err(_) => return self.handler_panicked(meta),
            }
        }
        let ops = ops.iter().map(Op::to_owned_op).collect();
        self.wait(
            meta,
            Work::Batch(
                Batch {
                    ops,
                    atomic: true,
                    operation: None,
                },
                metas,
            ),
        );
    }

    /// A batch that must not be applied twice. What is remembered are the answers of its operations:
    /// so that a repeat has the same, an item that is refused before it gets to the store refuses the
    /// whole batch [P-12.24].
    fn batch_named(&mut self, meta: Meta, items: &[Item<'_>], atomic: bool, named: Idempotency) {
        if let Some((item, reject)) = items.iter().find_map(|item| item.as_ref().err()) {
            return self.batch_refused(meta, Position::START, item.request_id, reject);
        }
        let good = items.iter().flatten();
        let (ops, metas) = good.map(|(op, meta)| (op.to_owned_op(), *meta)).unzip();
        let batch = Batch {
            ops,
            atomic,
            operation: Some(operation_id(&self.peer.identity, named)),
        };
        self.wait(meta, Work::Batch(batch, metas));
    }

    fn on_atomic(&mut self, meta: Meta, outcome: Atomic, after: Position, body: BatchBody) {
        let (index, reject) = match outcome {
            Atomic::Applied => {
                let since = self.instant;
                return self.batch_reply(meta, BatchPart { body, after, since });
            }
            Atomic::Conflict { index, version } => {
                let text = format!("item {index}: the condition does not hold");
                let key = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
                return self.answer(meta, self.instant, after, |out| {
                    reply::conflict(out, meta.request_id, &key, version, &text);
                    Answered::refused(ErrorCode::Conflict)
                });
            }
            Atomic::WrongType { index } => (
                index,
                Reject::new(ErrorCode::WrongType, "the entry is not a decimal number"),
            ),
            Atomic::Failed { index, error } => (index, reply::store_error(error)),
            Atomic::NotNow => (
                0,
                Reject::new(ErrorCode::Internal, "the batch was not executed"),
            ),
        };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.batch_refused(meta, after, index, &reject);
    }

    /// ERR for an atomic batch; its key is the item's index.
    fn batch_refused(&mut self, meta: Meta, after: Position, index: u32, reject: &Reject) {
        let mut value = Vec::with_capacity(64);
        kv_proto::ErrorBody {
            code: reject.code.number(),
            retry_after_ms: reject.retry_after_ms,
            message: &format!("item {index}: {}", reject.message),
        }
        .encode(&mut value);
        let head = FrameHead::new(Opcode::Err, meta.request_id);
        self.answer(meta, self.instant, after, |out| {
            out.frame(head, &[], &index.to_be_bytes(), Value::Inline(&value));
            Answered::refused(reject.code)
        });
    }

    fn batch_each(&mut self, meta: Meta, items: &[Item<'_>], blocked: bool) {
        let mut body = BatchBody::new(self.batch_bytes_max(), items.len());
        let (mut at, mut after) = (0, Position::START);
        while !blocked && at < items.len() {
            match items.get(at) {
                Some(Err((item, reject))) => {
                    reply::error(&mut body, item.request_id, reject);
                    at += 1;
                }
                Some(Ok(_)) => {
                    let run: Vec<(Op<'_>, Meta)> = items
                        .get(at..)
                        .unwrap_or_default()
                        .iter()
                        .map_while(|item| item.as_ref().ok().copied())
                        .collect();
                    let (ops, metas): (Vec<Op<'_>>, Vec<Meta>) = run.into_iter().unzip();
                    let mut sink = BodySink {
                        body: &mut body,
                        metas: &metas,
                        now: self.now,
                        after,
                    };
                    let service = &self.shared.service;
                    let ran =
                        catch_unwind(AssertUnwindSafe(|| service.run(self.now, &ops, &mut sink)));
                    let Ok(done) = ran else {
                        return self.handler_panicked(meta);
                    };
                    after = sink.after;
                    at += done;
                    if done < ops.len() {
                        break;
                    }
                }
                None => break,
            }
        }
        if at >= items.len() && !blocked {
            let since = self.instant;
            return self.batch_reply(meta, BatchPart { body, after, since });
        }
        let since = self.instant;
        self.batch_rest(meta, items, at, BatchPart { body, after, since });
    }

    /// What is left of a batch waits as a whole; its refused items are refused when it is answered.
    fn batch_rest(&mut self, meta: Meta, items: &[Item<'_>], at: usize, done: BatchPart) {
        let rest = items.get(at..).unwrap_or_default();
        let mut ops = Vec::with_capacity(rest.len());
        let mut plan = BatchPlan {
            done,
            items: Vec::with_capacity(rest.len()),
        };
        for item in rest {
            match item {
                Ok((op, item)) => {
                    ops.push(op.to_owned_op());
                    plan.items.push(Ok(*item));
                }
                Err((item, reject)) => plan.items.push(Err((*item, reject.clone()))),
            }
        }
        self.wait(
            meta,
            Work::Planned(
                Batch {
                    ops,
                    atomic: false,
                    operation: None,
                },
                Box::new(plan),
            ),
        );
    }

    /// The outcomes of a batch that waited.
    pub(super) fn on_batch_done(&mut self, meta: Meta, metas: &[Meta], outcome: &BatchOutcome) {
        match outcome {
            BatchOutcome::Done(outcomes) => {
                let mut pairs = outcomes.iter().zip(metas);
                let same = outcomes.len() == metas.len()
                    && pairs.all(|(outcome, item)| fits(item.opcode, outcome));
                if !same {
                    return self.reject(meta, &number_used());
                }
                let mut body = BatchBody::new(self.batch_bytes_max(), metas.len());
                for (outcome, item) in outcomes.iter().zip(metas) {
                    reply::outcome(&mut body, *item, outcome.as_outcome(), self.now);
                }
                self.on_atomic(meta, Atomic::Applied, Position::START, body);
            }
            BatchOutcome::Refused { index, outcome } => {
                let refused = match outcome.as_outcome() {
                    Outcome::Conflict { version } => Atomic::Conflict {
                        index: *index,
                        version,
                    },
                    Outcome::WrongType => Atomic::WrongType { index: *index },
                    Outcome::Failed(error) => Atomic::Failed {
                        index: *index,
                        error,
                    },
                    _ => Atomic::NotNow,
                };
                self.on_atomic(meta, refused, Position::START, BatchBody::new(0, 0));
            }
            BatchOutcome::Failed(error) => self.reject(meta, &reply::store_error(*error)),
        }
    }

    /// As [`Core::on_batch_done`], for a batch of which a part was answered at once.
    pub(super) fn on_plan_done(&mut self, meta: Meta, plan: BatchPlan, outcome: &BatchOutcome) {
        let outcomes = match outcome {
            BatchOutcome::Done(outcomes) => outcomes,
            BatchOutcome::Failed(error) => return self.reject(meta, &reply::store_error(*error)),
            BatchOutcome::Refused { .. } => return self.handler_panicked(meta),
        };
        let mut done = plan.done;
        let body = &mut done.body;
        let mut outcomes = outcomes.iter();
        for item in &plan.items {
            match item {
                Ok(item) => {
                    if let Some(outcome) = outcomes.next() {
                        reply::outcome(body, *item, outcome.as_outcome(), self.now);
                    }
                }
                Err((item, reject)) => reply::error(body, item.request_id, reject),
            }
        }
        self.batch_reply(meta, done);
    }

    /// OK, once everything up to the latest position of an item is durable.
    fn batch_reply(&mut self, meta: Meta, part: BatchPart) {
        let BatchPart { body, after, since } = part;
        let head = FrameHead::new(Opcode::Ok, meta.request_id);
        let answered = Answered {
            code: None,
            missing: false,
            applied: true,
        };
        if body.bytes.len() <= INLINE_VALUE_BYTES_MAX {
            return self.answer(meta, since, after, |out| {
                out.frame(head, &[], &[], Value::Inline(&body.bytes));
                answered
            });
        }
        // It leaves, or waits, without a copy.
        let shared = Bytes::from(body.bytes);
        self.answer(meta, since, after, |out| {
            out.frame(head, &[], &[], Value::Shared(&shared));
            answered
        });
    }

    fn batch_bytes_max(&self) -> usize {
        self.shared.config.limits.max_message_bytes.get()
    }
}

/// A batch that could not be answered as a whole at once.
pub(super) struct BatchPlan {
    done: BatchPart,
    items: Vec<Result<Meta, (Meta, Reject)>>,
}

impl BatchPlan {
    /// Memory held by the replies that are there already.
    pub(super) const fn held_bytes(&self) -> usize {
        self.done.body.bytes.len()
    }
}

/// The replies that are there, what they depend on, and when the batch came.
struct BatchPart {
    body: BatchBody,
    after: Position,
    since: Instant,
}

/// The value of a BATCH reply: inner frames, without tags.
pub(super) struct BatchBody {
    bytes: Vec<u8>,
    /// Replies may fill this much; behind it there is room for a TOO_LARGE per item.
    max: usize,
}

/// The inner ERR that stands in for a reply without room.
const TOO_LARGE_BYTES: usize = 64;

impl BatchBody {
    fn new(max: usize, items: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max: max.saturating_sub(items.saturating_mul(TOO_LARGE_BYTES)),
        }
    }

    fn push(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: &[u8]) {
        let header = Header {
            version: VERSION_2,
            opcode: OpcodeByte::from(head.opcode),
            request_id: head.request_id,
            flags: head.flags,
            ext_len: u8::try_from(ext.len()).unwrap_or(u8::MAX),
            key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
            value_len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        };
        self.bytes.extend_from_slice(&header.to_bytes());
        self.bytes.extend_from_slice(ext);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }
}

impl FrameSink for BatchBody {
    fn frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Value<'_>) {
        let value = value.as_slice();
        let len = HEADER_LEN + ext.len() + key.len() + value.len();
        if self.bytes.len() + len <= self.max || len <= TOO_LARGE_BYTES {
            return self.push(head, ext, key, value);
        }
        let mut body = Vec::with_capacity(TOO_LARGE_BYTES);
        kv_proto::ErrorBody {
            code: ErrorCode::TooLarge.number(),
            retry_after_ms: 0,
            message: "no room in the reply",
        }
        .encode(&mut body);
        self.push(
            FrameHead::new(Opcode::Err, head.request_id),
            &[],
            &[],
            &body,
        );
    }
}

struct BodySink<'c> {
    body: &'c mut BatchBody,
    metas: &'c [Meta],
    now: Now,
    /// What the replies depend on in all.
    after: Position,
}

impl Sink for BodySink<'_> {
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, after: Position) {
        self.after = self.after.max(after);
        if let Some(&meta) = self.metas.get(index) {
            reply::outcome(self.body, meta, outcome, self.now);
        }
    }
}

const _: () = assert!(HEADER_LEN + 6 + "no room in the reply".len() <= TOO_LARGE_BYTES);
