//! From outcomes to frames: the native door's one conversion of replies and of the service's errors.

use std::num::NonZeroU64;

use arrayvec::ArrayVec;
use kv_proto::{ErrorBody, ErrorCode, FrameHead, Opcode, ext_tag};
use kv_service::{Entry, Now, Outcome, StoreError, Value};

use super::request::{Meta, Reject};

/// The extensions of a reply, on the stack: at most TTL_MS, VERSION, CONTENT_TYPE and VALUE_LEN.
struct ReplyExt {
    bytes: ArrayVec<u8, REPLY_EXT_BYTES>,
}

const REPLY_EXT_BYTES: usize = 10 + 10 + 3 + 6;

impl ReplyExt {
    const fn new() -> Self {
        Self {
            bytes: ArrayVec::new_const(),
        }
    }

    /// Adds an item; the callers add those named above, each once, in ascending order.
    #[inline]
    fn item<const N: usize>(&mut self, tag: u8, value: &[u8; N]) {
        let len = u8::try_from(N).unwrap_or(u8::MAX);
        let added = self.bytes.try_extend_from_slice(&[tag, len]).is_ok()
            && self.bytes.try_extend_from_slice(value).is_ok();
        debug_assert!(added, "more extensions than a reply has");
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where reply frames go: the connection's outbox, or the body of a BATCH reply.
pub(super) trait FrameSink {
    /// Appends one frame; the value may be shared instead of copied.
    fn frame(&mut self, head: FrameHead, ext: &[u8], key: &[u8], value: Value<'_>);
}

/// Writes the reply of one key operation; returns its code for the metrics (`None` is success).
#[inline]
pub(super) fn outcome(
    out: &mut dyn FrameSink,
    meta: Meta,
    outcome: Outcome<'_>,
    now: Now,
) -> Option<ErrorCode> {
    let head = FrameHead::new(Opcode::Ok, meta.request_id);
    match outcome {
        Outcome::Found(entry) => {
            found(out, head, &[], entry, meta.wants_no_value(), now);
            None
        }
        Outcome::Missing => {
            not_found(out, meta.request_id);
            None
        }
        Outcome::Written {
            version,
            expires_at,
            previous,
        } => {
            written(out, meta, version, expires_at, previous, now);
            None
        }
        Outcome::Deleted { previous } => {
            let mut ext = ReplyExt::new();
            if let Some(entry) = previous.filter(|_| meta.wants_previous()) {
                ext.item(ext_tag::VERSION, &entry.version.to_be_bytes());
            }
            previous_ext(&mut ext, meta, previous);
            out.frame(head, ext.as_bytes(), &[], previous_value(meta, previous));
            None
        }
        Outcome::Counted {
            value,
            version,
            expires_at,
        } => {
            let mut ext = ReplyExt::new();
            ttl_and_version(&mut ext, expires_at, version, now);
            out.frame(
                head,
                ext.as_bytes(),
                &[],
                Value::Inline(&value.to_be_bytes()),
            );
            None
        }
        Outcome::Conflict { version } => {
            conflict(
                out,
                meta.request_id,
                &[],
                version,
                "the condition does not hold",
            );
            Some(ErrorCode::Conflict)
        }
        Outcome::WrongType => {
            let text = "the entry is not a decimal number, or the sum leaves 64 bits";
            error(
                out,
                meta.request_id,
                &Reject::new(ErrorCode::WrongType, text),
            );
            Some(ErrorCode::WrongType)
        }
        Outcome::Failed(failure) => {
            let reject = store_error(failure);
            error(out, meta.request_id, &reject);
            Some(reject.code)
        }
    }
}

/// OK or ITEM with an entry.
pub(super) fn found(
    out: &mut dyn FrameSink,
    head: FrameHead,
    key: &[u8],
    entry: Entry<'_>,
    no_value: bool,
    now: Now,
) {
    let mut ext = ReplyExt::new();
    ttl_and_version(&mut ext, entry.expires_at, entry.version, now);
    if entry.content_type != 0 {
        ext.item(ext_tag::CONTENT_TYPE, &[entry.content_type]);
    }
    if no_value {
        ext.item(ext_tag::VALUE_LEN, &value_len(entry.value));
        out.frame(head, ext.as_bytes(), key, Value::Inline(&[]));
    } else {
        out.frame(head, ext.as_bytes(), key, entry.value);
    }
}

pub(super) fn not_found(out: &mut dyn FrameSink, request_id: u32) {
    let head = FrameHead::new(Opcode::NotFound, request_id);
    out.frame(head, &[], &[], Value::Inline(&[]));
}

fn written(
    out: &mut dyn FrameSink,
    meta: Meta,
    version: u64,
    expires_at: Option<NonZeroU64>,
    previous: Option<Entry<'_>>,
    now: Now,
) {
    let mut ext = ReplyExt::new();
    ttl_and_version(&mut ext, expires_at, version, now);
    previous_ext(&mut ext, meta, previous);
    let head = FrameHead::new(Opcode::Ok, meta.request_id);
    out.frame(head, ext.as_bytes(), &[], previous_value(meta, previous));
}

/// A previous entry is told by VALUE_LEN, so that an absent one differs from an empty one.
fn previous_ext(ext: &mut ReplyExt, meta: Meta, previous: Option<Entry<'_>>) {
    if let Some(entry) = previous.filter(|_| meta.wants_previous()) {
        if entry.content_type != 0 {
            ext.item(ext_tag::CONTENT_TYPE, &[entry.content_type]);
        }
        ext.item(ext_tag::VALUE_LEN, &value_len(entry.value));
    }
}

fn previous_value<'e>(meta: Meta, previous: Option<Entry<'e>>) -> Value<'e> {
    match previous {
        Some(entry) if meta.wants_previous() && !meta.wants_no_value() => entry.value,
        _ => Value::Inline(&[]),
    }
}

fn value_len(value: Value<'_>) -> [u8; 4] {
    u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn ttl_and_version(ext: &mut ReplyExt, expires_at: Option<NonZeroU64>, version: u64, now: Now) {
    if let Some(at) = expires_at {
        let remaining = at.get().saturating_sub(now.unix_ms()).max(1);
        ext.item(ext_tag::TTL, &remaining.to_be_bytes());
    }
    ext.item(ext_tag::VERSION, &version.to_be_bytes());
}

/// ERR CONFLICT with the entry's version; in an atomic BATCH the key is the item's index.
pub(super) fn conflict(
    out: &mut dyn FrameSink,
    request_id: u32,
    key: &[u8],
    version: u64,
    text: &str,
) {
    let mut ext = ReplyExt::new();
    ext.item(ext_tag::VERSION, &version.to_be_bytes());
    let mut value = Vec::with_capacity(64);
    let code = ErrorCode::Conflict.number();
    ErrorBody {
        code,
        retry_after_ms: 0,
        message: text,
    }
    .encode(&mut value);
    let head = FrameHead::new(Opcode::Err, request_id);
    out.frame(head, ext.as_bytes(), key, Value::Inline(&value));
}

/// ERR with a code and a text.
pub(super) fn error(out: &mut dyn FrameSink, request_id: u32, reject: &Reject) {
    let mut value = Vec::with_capacity(64);
    ErrorBody {
        code: reject.code.number(),
        retry_after_ms: reject.retry_after_ms,
        message: &reject.message,
    }
    .encode(&mut value);
    out.frame(
        FrameHead::new(Opcode::Err, request_id),
        &[],
        &[],
        Value::Inline(&value),
    );
}

/// END of a stream or a cancelled request.
pub(super) fn end(out: &mut dyn FrameSink, request_id: u32) {
    out.frame(
        FrameHead::new(Opcode::End, request_id),
        &[],
        &[],
        Value::Inline(&[]),
    );
}

/// The one mapping of the store's errors.
pub(super) fn store_error(error: StoreError) -> Reject {
    let code = match error {
        StoreError::KeyLength => ErrorCode::InvalidArgument,
        StoreError::ValueTooLong => ErrorCode::TooLarge,
        StoreError::OutOfMemory => ErrorCode::OutOfMemory,
        StoreError::DiskFull => ErrorCode::DiskFull,
        StoreError::Unavailable => ErrorCode::Overloaded,
        StoreError::OutcomeUnknown | StoreError::OperationExpired => ErrorCode::OutcomeUnknown,
        StoreError::Unsupported => ErrorCode::Unsupported,
        StoreError::Corrupt => ErrorCode::Corrupt,
        // `StoreError` may grow; a new failure is our fault until it is named here.
        _ => ErrorCode::Internal,
    };
    match error {
        StoreError::OperationExpired => Reject::new(
            code,
            "the operation's number has left the window of what is remembered of its client: it may \
             have been applied",
        ),
        error => Reject::new(code, error.to_string()),
    }
}
