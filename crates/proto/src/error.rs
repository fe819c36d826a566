//! What can go wrong on the wire, by blame: malformed bytes, a tag that did not verify, a frame that
//! is illegal now, a limit, and why a connection is over. [`ErrorCode`] is what travels in ERR.

mod close;
mod code;

pub use close::{CloseReason, Limit, ProtocolViolation};
pub use code::{ErrorBody, ErrorCode, Retry};

/// Bytes that are not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {offset}: {kind}")]
pub struct DecodeError {
    /// Which part of the format.
    pub what: &'static str,
    /// Offset inside the part that was decoded.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: DecodeKind,
}

impl DecodeError {
    pub(crate) const fn new(what: &'static str, offset: usize, kind: DecodeKind) -> Self {
        Self { what, offset, kind }
    }
}

/// How bytes are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeKind {
    /// The part ends before it is complete.
    #[error("it ends too early")]
    Truncated,
    /// Bytes are left after the end of the part.
    #[error("bytes are left over")]
    Trailing,
    /// A reserved bit or field is not zero.
    #[error("a reserved field is not zero")]
    Reserved,
    /// A value outside what the format allows here.
    #[error("the value is not allowed here")]
    OutOfRange,
    /// A code that stands for nothing.
    #[error("unknown code 0x{0:02x}")]
    Unknown(u8),
    /// Text that is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
}

/// A tag that did not verify. Carries no detail on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame's tag did not verify")]
pub struct AuthFailed;
