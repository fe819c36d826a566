//! Why a connection is over: the one place that maps a failure of the peer to its end.

use super::{AuthFailed, DecodeError};

/// A frame that is well formed and authentic, and illegal now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    /// COMPRESSED where it was not negotiated or the command does not carry a value.
    #[error("a compressed frame where compression was not negotiated")]
    CompressedUnasked,
    /// A continuation that does not fit its first frame, or a MORE flag where none may be.
    #[error("a continuation that does not fit")]
    Continuation,
    /// CREDIT that overflows the stream's counter.
    #[error("more credit than a stream can hold")]
    CreditOverflow,
    /// The ENCRYPTED flag does not match the suite.
    #[error("the ENCRYPTED flag does not match the suite")]
    EncryptedFlag,
    /// KEY_UPDATE with another epoch than the next one, or in a suite without keys.
    #[error("a key update out of turn")]
    KeyUpdate,
    /// More frames or bytes than one key may protect.
    #[error("a key was used past its end")]
    KeyWornOut,
    /// Flag bits that have no meaning.
    #[error("reserved flags are set")]
    ReservedFlags,
    /// A request id on a frame that must not have one, or none where one is needed.
    #[error("a request id that does not fit the opcode")]
    RequestId,
    /// A version-1 request id that is not above every earlier one.
    #[error("a request id that was used before")]
    Replayed,
    /// A frame that the current phase does not allow.
    #[error("a frame that the handshake does not allow here")]
    UnexpectedFrame,
    /// An opcode that only the other side sends.
    #[error("an opcode of the other direction")]
    WrongDirection,
    /// Another version than the connection began with.
    #[error("the version changed within the connection")]
    WrongVersion,
}

/// A named limit that the peer passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Body bytes of one frame.
    #[error("frame body")]
    FrameBytes,
    /// Bytes of one assembled message.
    #[error("assembled message")]
    MessageBytes,
    /// Messages being assembled at once.
    #[error("partial messages")]
    PartialMessages,
    /// Memory held by partial messages.
    #[error("bytes of partial messages")]
    PartialBytes,
    /// Pieces of one message.
    #[error("pieces of one message")]
    Fragments,
    /// Size of a piece that is not the last.
    #[error("smallest piece")]
    FragmentBytesMin,
    /// Frames before the session is open.
    #[error("frames before authentication")]
    HandshakeFrames,
    /// Streams open at once.
    #[error("open streams")]
    Streams,
    /// Cheap frames against useful bytes.
    #[error("cheap frames")]
    CheapFrames,
    /// Output that the peer does not read.
    #[error("unread output")]
    OutboundBytes,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The first bytes are not of this protocol.
    #[error("the first bytes are not of this protocol")]
    NotThisProtocol,
    /// A version nobody here speaks; the supported range was named.
    #[error("version {0} is not supported")]
    UnsupportedVersion(u8),
    /// No suite in common.
    #[error("no suite in common")]
    NoCommonSuite,
    /// Malformed bytes.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A tag that did not verify.
    #[error(transparent)]
    Auth(#[from] AuthFailed),
    /// A frame against the rules.
    #[error(transparent)]
    Violation(#[from] ProtocolViolation),
    /// A limit was passed.
    #[error("limit passed: {0}")]
    Limit(Limit),
    /// The server refused before the session existed, with this text in its ERR frame.
    #[error("refused by the server")]
    Refused,
}

impl CloseReason {
    /// Label of `kv_frames_rejected_total`.
    #[must_use]
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Auth(_) => "bad_mac",
            Self::Limit(_) => "oversize",
            Self::UnsupportedVersion(_) => "version",
            Self::NotThisProtocol
            | Self::NoCommonSuite
            | Self::Malformed(_)
            | Self::Violation(_)
            | Self::Refused => "malformed",
        }
    }
}
