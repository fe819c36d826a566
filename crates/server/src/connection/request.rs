//! From a verified frame to what the service is asked: the native door's one conversion of requests.

use kv_proto::{
    ErrorCode, ExtError, ExtSet, Extensions, IF_ABSENT, IF_PRESENT, Needs, Opcode, returns,
};
use kv_service::{Condition, Expiry, Now, Op, Permission, Permissions, Value};

/// What is needed to write a request's reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) request_id: u32,
    pub(crate) opcode: Opcode,
    /// RETURN bits.
    pub(crate) returns: u8,
    /// DEADLINE_MS. Counts for requests that wait: the others are answered at once.
    pub(crate) deadline_ms: Option<u32>,
}

impl Meta {
    /// A request of which nothing but its id and command is known.
    pub(crate) const fn bare(opcode: Opcode, request_id: u32) -> Self {
        Self {
            request_id,
            opcode,
            returns: 0,
            deadline_ms: None,
        }
    }

    #[cfg(test)]
    pub(crate) const fn get(request_id: u32) -> Self {
        Self {
            request_id,
            opcode: Opcode::Get,
            returns: 0,
            deadline_ms: None,
        }
    }

    pub(crate) const fn wants_previous(self) -> bool {
        self.returns & returns::PREVIOUS != 0
    }

    pub(crate) const fn wants_no_value(self) -> bool {
        self.returns & returns::NO_VALUE != 0
    }
}

/// Why a request is answered with ERR before it reaches the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) retry_after_ms: u32,
}

impl Reject {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: 0,
        }
    }

    /// A request id that has no final answer yet.
    pub(crate) fn id_in_flight() -> Self {
        Self::argument("this request id is in flight already")
    }

    pub(crate) fn deadline() -> Self {
        Self::new(
            ErrorCode::DeadlineExceeded,
            "the request's deadline has passed",
        )
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }
}

impl From<ExtError> for Reject {
    fn from(error: ExtError) -> Self {
        let code = match error {
            ExtError::UnknownCritical(_) => ErrorCode::Unsupported,
            ExtError::Malformed(_) | ExtError::NotHere(_) => ErrorCode::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

/// The permission that a command of the table needs; `None` is any session.
pub(crate) const fn permission(needs: Needs) -> Option<Permission> {
    match needs {
        Needs::Session => None,
        Needs::Read => Some(Permission::Read),
        Needs::Write => Some(Permission::Write),
        Needs::Scan => Some(Permission::Scan),
        Needs::Observe => Some(Permission::Observe),
        Needs::Admin => Some(Permission::Admin),
        Needs::Publish => Some(Permission::Publish),
        Needs::Subscribe => Some(Permission::Subscribe),
        Needs::Queue => Some(Permission::Queue),
    }
}

/// Checks what the operation itself shows or changes: a previous entry is for those who may read.
pub(crate) fn allowed(held: Permissions, op: &Op<'_>) -> Result<(), Reject> {
    let needed = kv_service::needed(op);
    if held.contains(needed) {
        return Ok(());
    }
    let text = format!("it needs the permissions {needed}");
    Err(Reject::new(ErrorCode::PermissionDenied, text))
}

/// Decodes an extension block and refuses contents without a meaning.
pub(crate) fn extensions(block: &[u8], allowed: ExtSet) -> Result<Extensions<'_>, Reject> {
    let ext = Extensions::decode(block, allowed)?;
    if ext
        .returns
        .is_some_and(|bits| bits & !(returns::PREVIOUS | returns::NO_VALUE) != 0)
    {
        return Err(Reject::argument("RETURN has bits without a meaning"));
    }
    Ok(ext)
}

/// The operation of a key command. `value` is whole and decompressed.
pub(crate) fn operation<'b>(
    opcode: Opcode,
    ext: &Extensions<'_>,
    key: &'b [u8],
    value: &'b [u8],
    now: Now,
) -> Result<Op<'b>, Reject> {
    if key.is_empty() {
        return Err(Reject::argument(
            "the key is empty; keys have 1 to 65535 bytes",
        ));
    }
    let condition = condition(ext.if_version);
    let previous = ext.returns.unwrap_or(0) & returns::PREVIOUS != 0;
    if !value.is_empty() && !matches!(opcode, Opcode::Set | Opcode::Incr) {
        return Err(Reject::argument(format!(
            "{} takes no value",
            opcode.name()
        )));
    }
    match opcode {
        Opcode::Get => Ok(Op::Get { key }),
        Opcode::Set => Ok(Op::Set {
            key,
            value: Value::Inline(value),
            content_type: content_type(ext)?,
            expiry: expiry(ext.ttl_ms, now, Expiry::Never)?,
            condition,
            previous,
        }),
        Opcode::Del => Ok(Op::Del {
            key,
            condition,
            previous,
        }),
        Opcode::Incr => Ok(Op::Incr {
            key,
            delta: delta(value)?,
            expiry: expiry(ext.ttl_ms, now, Expiry::Keep)?,
            condition,
        }),
        Opcode::Touch => {
            let ttl = ext.ttl_ms.filter(|&ttl| ttl > 0);
            Ok(Op::Touch {
                key,
                expiry: expiry(ttl, now, Expiry::Never)?,
                condition,
            })
        }
        other => Err(Reject::argument(format!(
            "{} is not a key command",
            other.name()
        ))),
    }
}

fn condition(if_version: Option<u64>) -> Condition {
    match if_version {
        None => Condition::Always,
        Some(IF_ABSENT) => Condition::Absent,
        Some(IF_PRESENT) => Condition::Present,
        Some(version) => Condition::Version(version),
    }
}

fn content_type(ext: &Extensions<'_>) -> Result<u8, Reject> {
    match ext.content_type.unwrap_or(0) {
        known @ 0..=3 => Ok(known),
        other => Err(Reject::argument(format!(
            "content type {other} is not known"
        ))),
    }
}

fn expiry(ttl_ms: Option<u64>, now: Now, absent: Expiry) -> Result<Expiry, Reject> {
    match ttl_ms {
        None => Ok(absent),
        Some(0) => Err(Reject::argument("TTL_MS is 0; leave it out, or use TOUCH")),
        Some(ttl) => Ok(Expiry::At(now.plus_ms(ttl).unix_ms())),
    }
}

fn delta(value: &[u8]) -> Result<i64, Reject> {
    if value.is_empty() {
        return Ok(1);
    }
    value
        .try_into()
        .map(i64::from_be_bytes)
        .map_err(|_| Reject::argument("INCR takes an empty value or 8 bytes of big-endian i64"))
}
