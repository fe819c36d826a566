//! Errors of calls: what happened, and whether the call may be made again.
//!
//! One box, so that a result stays as small as its success. The kind says what happened, `retry`
//! what a caller may do about it; both are data, the text is for people.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kv_proto::{CloseReason, ErrorCode};

/// What a caller may do with a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// It would fail again.
    No,
    /// It was not applied, or changes nothing: make it again, after [`Error::retry_after`].
    Safe,
    /// As [`Retry::Safe`], once there is a connection again; the next call makes one.
    AfterReconnect,
    /// It may have been applied or not. Read before writing again.
    OutcomeUnknown,
}

/// What happened to a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client was closed with [`close`](crate::MultiplexedClient::close).
    Closed,
    /// No connection could be made.
    Connect(Arc<io::Error>),
    /// The connection ended before the call was answered, and nothing was applied.
    ConnectionLost,
    /// As many calls are in flight as are allowed, and the client was told to fail fast.
    InFlightLimit,
    /// The caller's own mistake; nothing was sent.
    InvalidArgument(&'static str),
    /// The server does not hold the key with this id, or the key here is another one.
    NotAuthentic {
        /// The id the client named; empty without a key.
        key_id: Box<str>,
    },
    /// The connection ended after the request was sent and before its answer came.
    OutcomeUnknown,
    /// The server broke the protocol, which ended the connection; the call was not applied twice.
    Protocol(CloseReason),
    /// The server refused the connection, with this text.
    Refused(Box<str>),
    /// The server answered with an error.
    Server {
        /// The code, if this release knows it.
        code: Option<ErrorCode>,
        /// The number on the wire.
        number: u16,
        /// The server's text.
        message: Box<str>,
        /// Of an atomic batch: the item that failed.
        item: Option<u32>,
        /// Of a condition that did not hold: the version that is there, 0 for none.
        version: Option<u64>,
    },
    /// No answer within the time allowed.
    Timeout,
    /// The server answered with something that cannot be used; what it says.
    UnusableReply(&'static str),
    /// TLS failed, or its files are of no use.
    Tls(Box<str>),
}

/// Why a call failed.
///
/// ```
/// # fn show(error: kv_client::Error) {
/// match error.kind() {
///     kv_client::ErrorKind::Timeout => println!("slow"),
///     _ if error.retry() == kv_client::Retry::Safe => println!("again"),
///     _ => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    retry_after: Option<Duration>,
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

impl Error {
    pub(crate) fn new(kind: ErrorKind, retry: Retry) -> Self {
        Self(Box::new(Inner {
            kind,
            retry,
            retry_after: None,
        }))
    }

    pub(crate) fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// The same, of a call of which an earlier attempt may have been applied.
    pub(crate) fn in_doubt(mut self) -> Self {
        self.0.retry = Retry::OutcomeUnknown;
        self
    }

    pub(crate) fn invalid(what: &'static str) -> Self {
        Self::new(ErrorKind::InvalidArgument(what), Retry::No)
    }

    pub(crate) fn protocol(reason: CloseReason) -> Self {
        Self::new(ErrorKind::Protocol(reason), Retry::AfterReconnect)
    }

    pub(crate) fn unusable(what: &'static str) -> Self {
        Self::new(ErrorKind::UnusableReply(what), Retry::No)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, Retry::No)
    }

    pub(crate) fn connect(error: io::Error) -> Self {
        Self::new(ErrorKind::Connect(Arc::new(error)), Retry::Safe)
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the call may be made again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// How long the server asks to wait before that.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The server's code, if the server answered with one this release knows.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self.kind() {
            ErrorKind::Server { code, .. } => *code,
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::Closed => f.write_str("the client is closed"),
            ErrorKind::Connect(_) => f.write_str("no connection to the server"),
            ErrorKind::ConnectionLost => f.write_str("the connection was lost before an answer"),
            ErrorKind::InFlightLimit => f.write_str("too many calls in flight"),
            ErrorKind::InvalidArgument(what) => write!(f, "invalid argument: {what}"),
            ErrorKind::NotAuthentic { key_id } if key_id.is_empty() => {
                f.write_str("the server does not accept a session without a key")
            }
            ErrorKind::NotAuthentic { key_id } => {
                write!(
                    f,
                    "the server does not hold key \"{}\"",
                    key_id.escape_debug()
                )
            }
            ErrorKind::OutcomeUnknown => {
                f.write_str("the connection was lost after sending: the outcome is unknown")
            }
            ErrorKind::Protocol(_) => f.write_str("the server broke the protocol"),
            ErrorKind::Refused(text) => write!(f, "refused by the server: {text}"),
            ErrorKind::Server {
                code: Some(code),
                message,
                ..
            } => {
                write!(f, "{}: {message}", code.name().to_ascii_lowercase())
            }
            ErrorKind::Server {
                number, message, ..
            } => write!(f, "error {number}: {message}"),
            ErrorKind::Timeout => f.write_str("no answer in time"),
            ErrorKind::UnusableReply(what) => write!(f, "unusable answer: {what}"),
            ErrorKind::Tls(text) => write!(f, "tls: {text}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Connect(error) => Some(&**error),
            ErrorKind::Protocol(reason) => Some(reason),
            _ => None,
        }
    }
}
