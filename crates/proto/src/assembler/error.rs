//! What is wrong with a fragment, and how far the damage reaches.

use super::AssemblerLimits;
use crate::error::{CloseReason, ErrorCode, Limit, ProtocolViolation};

/// What dies with an assembler error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssemblyScope {
    /// The connection: the peer broke a rule, or outlasted its time.
    Connection,
    /// This request: answer ERR. The rest of its fragments are swallowed as they come.
    Request,
}

/// A time limit that a message under way has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overdue {
    /// No fragment came for `progress_timeout_ms`.
    #[error("message {request_id} made no progress in time")]
    NoProgress {
        /// The message.
        request_id: u32,
    },
    /// The message is not complete `message_timeout_ms` after its first fragment.
    #[error("message {request_id} was not complete in time")]
    TooLong {
        /// The message.
        request_id: u32,
    },
    /// All messages together brought less than the minimum rate.
    #[error("continued messages arrive below the minimum rate")]
    TooSlow,
}

/// Why a fragment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblerError {
    /// A first fragment for a message that is under way.
    #[error("message {request_id} is under way already")]
    AlreadyBegun {
        /// The message.
        request_id: u32,
    },
    /// A continuation names another opcode or other flags than its first fragment, or repeats
    /// extensions or key.
    #[error("continuation of message {request_id} differs from its first fragment")]
    Changed {
        /// The message.
        request_id: u32,
    },
    /// A fragment without a byte of value, or one below the minimum that is not the last.
    #[error("fragment of {len} bytes, at least {min} are required")]
    FragmentTooSmall {
        /// Its value length.
        len: usize,
        /// What the rule asks for.
        min: usize,
    },
    /// The fragments leave no room inside the declared length.
    #[error("message {request_id} is longer than declared")]
    LongerThanDeclared {
        /// The message.
        request_id: u32,
    },
    /// The declared length exceeds the limit of one message.
    #[error("message of {declared} bytes, the limit is {max}")]
    MessageTooLong {
        /// The TOTAL_LEN it came with.
        declared: usize,
        /// The limit.
        max: usize,
    },
    /// A first fragment without TOTAL_LEN.
    #[error("first fragment of message {request_id} declares no total length")]
    NoTotalLength {
        /// The message.
        request_id: u32,
    },
    /// A continuation of a message that was never begun, or was given up.
    #[error("continuation of message {request_id}, which is not under way")]
    NotBegun {
        /// The message.
        request_id: u32,
    },
    /// A first fragment after which no other follows: not a continued message at all.
    #[error("message {request_id} declares a total length and is not continued")]
    NotContinued {
        /// The message.
        request_id: u32,
    },
    /// The allocator had no memory for it.
    #[error("no memory for a continued message")]
    OutOfMemory,
    /// A time limit has passed.
    #[error(transparent)]
    Overdue(#[from] Overdue),
    /// Holding the fragment would exceed the bound of the connection.
    #[error("continued messages would hold more than {max} bytes")]
    RetainedTooMuch {
        /// The limit.
        max: usize,
    },
    /// The last fragment came before the declared length was reached.
    #[error("message {request_id} is shorter than declared")]
    ShorterThanDeclared {
        /// The message.
        request_id: u32,
    },
    /// More fragments than one message can need.
    #[error("message of more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: usize,
    },
    /// More messages under way than allowed.
    #[error("more than {max} continued messages under way")]
    TooManyMessages {
        /// The limit.
        max: usize,
    },
}

impl AssemblerError {
    /// How the connection ends, when it does: the counterpart of
    /// [`AssemblyScope::Connection`].
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        let limit = match self {
            Self::MessageTooLong { .. } | Self::OutOfMemory | Self::RetainedTooMuch { .. } => {
                return None;
            }
            Self::AlreadyBegun { .. }
            | Self::Changed { .. }
            | Self::LongerThanDeclared { .. }
            | Self::NoTotalLength { .. }
            | Self::NotBegun { .. }
            | Self::NotContinued { .. }
            | Self::ShorterThanDeclared { .. } => {
                return Some(CloseReason::Violation(ProtocolViolation::Continuation));
            }
            Self::FragmentTooSmall { .. } => Limit::FragmentBytesMin,
            Self::TooManyFragments { .. } => Limit::Fragments,
            Self::Overdue(_) | Self::TooManyMessages { .. } => Limit::PartialMessages,
        };
        Some(CloseReason::Limit(limit))
    }

    /// The code to answer with, when only the request dies.
    #[must_use]
    pub const fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::MessageTooLong { .. } => Some(ErrorCode::TooLarge),
            Self::OutOfMemory | Self::RetainedTooMuch { .. } => Some(ErrorCode::Overloaded),
            Self::AlreadyBegun { .. }
            | Self::Changed { .. }
            | Self::FragmentTooSmall { .. }
            | Self::LongerThanDeclared { .. }
            | Self::NoTotalLength { .. }
            | Self::NotBegun { .. }
            | Self::NotContinued { .. }
            | Self::Overdue(_)
            | Self::ShorterThanDeclared { .. }
            | Self::TooManyFragments { .. }
            | Self::TooManyMessages { .. } => None,
        }
    }

    /// How far the damage reaches. A refusal that only concerns size keeps the connection: framing
    /// is in step and the rest of the message is swallowed under the same limits.
    #[must_use]
    pub const fn scope(&self) -> AssemblyScope {
        match self.error_code() {
            Some(_) => AssemblyScope::Request,
            None => AssemblyScope::Connection,
        }
    }
}

impl AssemblerLimits {
    pub(super) const fn fragment_bytes_min(&self, more: bool) -> usize {
        if more { self.fragment_bytes_min } else { 1 }
    }
}

const _: () = assert!(size_of::<AssemblerError>() <= 32);
