//! What an answer carries, owned: small values are copied out of the read buffer, so that a 64-byte
//! value never keeps a whole buffer alive.

use std::time::Duration;

use bytes::Bytes;
use kv_proto::{CloseReason, ErrorBody, ExtError, ExtSet, Extensions, Retry as WireRetry};

use crate::error::{Error, ErrorKind, Retry};

/// The meaning of an entry's bytes, as its writer declared it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentType {
    /// Bytes without a declared meaning.
    #[default]
    Bytes,
    /// UTF-8 text.
    Text,
    /// A typed value, see [`Value`](crate::Value).
    Typed,
    /// JSON.
    Json,
    /// A number this release has no name for.
    Other(u8),
}

impl ContentType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Bytes => 0,
            Self::Text => 1,
            Self::Typed => 2,
            Self::Json => 3,
            Self::Other(number) => number,
        }
    }
}

impl From<u8> for ContentType {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Bytes,
            1 => Self::Text,
            2 => Self::Typed,
            3 => Self::Json,
            other => Self::Other(other),
        }
    }
}

/// What the extensions of an answer say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) version: u64,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) content_type: u8,
    pub(crate) value_len: Option<u32>,
}

impl Meta {
    pub(crate) fn decode(ext: &[u8], allowed: ExtSet) -> Result<Self, CloseReason> {
        if ext.is_empty() {
            return Ok(Self::default());
        }
        match Extensions::decode(ext, allowed) {
            Ok(ext) => Ok(Self {
                version: ext.version.unwrap_or_default(),
                ttl_ms: ext.ttl_ms,
                content_type: ext.content_type.unwrap_or_default(),
                value_len: ext.value_len,
            }),
            Err(ExtError::Malformed(error)) => Err(error.into()),
            // A server sends critical extensions only where a client asked for them.
            Err(ExtError::UnknownCritical(_) | ExtError::NotHere(_)) => {
                Err(kv_proto::ProtocolViolation::UnexpectedFrame.into())
            }
        }
    }

    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.ttl_ms.map(Duration::from_millis)
    }
}

/// The final answer of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Ok(Bytes, Meta),
    NotFound,
    Err(Error),
    /// Of a request that was cancelled, or the end of a stream.
    End,
}

/// One item of a stream.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) meta: Meta,
}

/// An ERR frame as the caller's error. `key` names the item of an atomic batch.
pub(crate) fn server_error(ext: &[u8], key: &[u8], value: &[u8]) -> Result<Error, CloseReason> {
    let body = ErrorBody::decode(value)?;
    let meta = Extensions::decode(ext, ExtSet::VERSION).unwrap_or_default();
    let retry = match body.known().map(kv_proto::ErrorCode::retry) {
        Some(WireRetry::No) | None => Retry::No,
        Some(WireRetry::Safe) => Retry::Safe,
        Some(WireRetry::OutcomeUnknown | WireRetry::Maybe) => Retry::OutcomeUnknown,
    };
    let wait = u64::from(body.retry_after_ms);
    let kind = ErrorKind::Server {
        code: body.known(),
        number: body.code,
        message: body.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        item: key.try_into().ok().map(u32::from_be_bytes),
        version: meta.version,
    };
    Ok(Error::new(kind, retry).after((wait > 0).then(|| Duration::from_millis(wait))))
}

/// The protocol's bound on an ERR's text, which an error value keeps to as well.
const MESSAGE_CHARS_MAX: usize = 1_024;
