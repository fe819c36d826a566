//! The codes that travel in ERR frames, and the body that carries them.

use super::{DecodeError, DecodeKind};

/// Whether a request may be sent again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    No,
    /// It was not applied: again, after the given time.
    Safe,
    /// It may have been applied: only with IDEMPOTENCY.
    OutcomeUnknown,
    /// Not said.
    Maybe,
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $number:literal $variant:ident $name:literal $retry:ident; )*) => {
        /// Error codes of the protocol. Numbers are stable and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum ErrorCode { $( $(#[$doc])* $variant = $number, )* }

        impl ErrorCode {
            /// Every code in ascending order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $( Self::$variant => $number, )* }
            }

            /// Upper-case name, as in the specification, the logs and the metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// Whether the request may be sent again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $( Self::$variant => Retry::$retry, )* }
            }

            /// The code with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $( $number => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

codes! {
    /// A condition did not hold.
    1 Conflict "CONFLICT" No;
    /// The request is malformed.
    2 InvalidArgument "INVALID_ARGUMENT" No;
    /// Key or value over the limit.
    3 TooLarge "TOO_LARGE" No;
    /// The entry is not of the needed type.
    4 WrongType "WRONG_TYPE" No;
    /// Unknown command or critical extension.
    5 Unsupported "UNSUPPORTED" No;
    /// The server takes no writes.
    6 ReadOnly "READ_ONLY" No;
    /// The identity is no longer accepted.
    16 AuthFailed "AUTH_FAILED" No;
    /// The identity may not do this.
    17 PermissionDenied "PERMISSION_DENIED" No;
    /// No version in common.
    18 UnsupportedVersion "UNSUPPORTED_VERSION" No;
    /// Over the rate limit.
    32 RateLimited "RATE_LIMITED" Safe;
    /// The server has no room.
    33 Overloaded "OVERLOADED" Safe;
    /// The server is ending.
    34 ShuttingDown "SHUTTING_DOWN" Safe;
    /// Too many requests in flight on this connection.
    35 TooManyInFlight "TOO_MANY_IN_FLIGHT" Safe;
    /// The request's deadline passed.
    48 DeadlineExceeded "DEADLINE_EXCEEDED" OutcomeUnknown;
    /// It is not known whether the request was applied.
    49 OutcomeUnknown "OUTCOME_UNKNOWN" OutcomeUnknown;
    /// The store's memory is used up.
    64 OutOfMemory "OUT_OF_MEMORY" No;
    /// The store's disk is used up.
    65 DiskFull "DISK_FULL" No;
    /// Stored data is damaged.
    66 Corrupt "CORRUPT" No;
    /// No such queue.
    80 QueueNotFound "QUEUE_NOT_FOUND" No;
    /// No such message.
    81 MessageNotFound "MESSAGE_NOT_FOUND" No;
    /// The lease is no longer held.
    82 LeaseLost "LEASE_LOST" No;
    /// The queue exists already.
    83 QueueExists "QUEUE_EXISTS" No;
    /// The watch position is too old.
    84 Compacted "COMPACTED" No;
    /// The subscriber was too slow.
    85 SlowConsumer "SLOW_CONSUMER" No;
    /// A fault of the server.
    255 Internal "INTERNAL" Maybe;
}

/// The value of an ERR frame: `code u16 | retry_after_ms u32 | UTF-8 message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    /// The raw code: a newer server may send one this release has no name for.
    pub code: u16,
    /// Milliseconds to wait before trying again; 0 where that has no meaning.
    pub retry_after_ms: u32,
    /// Text for people.
    pub message: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// Decodes the value of an ERR frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is shorter than six bytes or the text is not UTF-8.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let short = DecodeError::new("error body", 0, DecodeKind::Truncated);
        let (code, rest) = value.split_first_chunk::<2>().ok_or(short)?;
        let (retry, text) = rest.split_first_chunk::<4>().ok_or(short)?;
        let message = core::str::from_utf8(text)
            .map_err(|_| DecodeError::new("error message", 6, DecodeKind::Utf8))?;
        Ok(Self {
            code: u16::from_be_bytes(*code),
            retry_after_ms: u32::from_be_bytes(*retry),
            message,
        })
    }

    /// Appends the body to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.to_be_bytes());
        out.extend_from_slice(&self.retry_after_ms.to_be_bytes());
        out.extend_from_slice(self.message.as_bytes());
    }

    /// The code as this release knows it.
    #[must_use]
    pub const fn known(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(9_999), None);
    }

    #[test]
    fn an_error_body_round_trips_and_its_cuts_are_truncated() {
        let body = ErrorBody {
            code: 32,
            retry_after_ms: 250,
            message: "slow down",
        };
        let mut bytes = Vec::new();
        body.encode(&mut bytes);
        assert_eq!(ErrorBody::decode(&bytes), Ok(body));
        for end in 0..6 {
            assert!(ErrorBody::decode(&bytes[..end]).is_err());
        }
        assert_eq!(
            ErrorBody::decode(&[0, 1, 0, 0, 0, 0, 0xff]).map_err(|e| e.kind),
            Err(DecodeKind::Utf8)
        );
    }
}
