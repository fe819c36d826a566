//! Every number of the wire that bounds a peer. Each says who may change it.

/// Largest frame body before a session exists. Wire-fixed: HELLO and AUTH fit with room.
pub const HANDSHAKE_BODY_BYTES_MAX: u32 = 4 * 1024;
/// Frames a client may send before its session exists: HELLO and AUTH, and no other. Wire-fixed.
pub const HANDSHAKE_FRAMES_MAX: u32 = 4;
/// Smallest frame limit that may be negotiated. Wire-fixed.
pub const FRAME_BYTES_MIN: u32 = 16 * 1024;
/// Default frame limit; configurable.
pub const FRAME_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Largest frame limit that may be negotiated. Wire-fixed: it bounds the read buffer.
pub const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Default limit of an assembled message; configurable.
pub const MESSAGE_BYTES_DEFAULT: u32 = 16 * 1024 * 1024;
/// Value bytes per frame at which senders cut, so that a large value never delays a small one for
/// long. Local.
pub const CUT_BYTES: usize = 64 * 1024;
/// Requests in flight on one connection; configurable.
pub const IN_FLIGHT_DEFAULT: u32 = 1024;
/// Streams open on one connection; configurable.
pub const STREAMS_DEFAULT: u32 = 64;
/// First credit of a stream that was opened without the CREDIT extension. Wire-fixed.
pub const STREAM_CREDIT_DEFAULT: u32 = 256;
/// Silence after which a PING is sent; negotiated as `ping_after_ms`.
pub const PING_AFTER_MS_DEFAULT: u32 = 30_000;
/// Bytes a PING carries at most. Wire-fixed.
pub const PING_BYTES_MAX: usize = 64;
/// Items of one BATCH. Wire-fixed: it bounds the work of one tag.
pub const BATCH_ITEMS_MAX: usize = 4_096;
/// Bytes of a key. Wire-fixed by the width of `key_len`.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Bytes of a key id. Wire-fixed.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// Bytes of a secret at least. Wire-fixed.
pub const SECRET_BYTES_MIN: usize = 32;
/// Frames one key protects before KEY_UPDATE is due. Wire-fixed.
pub const KEY_FRAMES_MAX: u64 = 1 << 24;
/// Bytes one key protects before KEY_UPDATE is due. Wire-fixed.
pub const KEY_BYTES_PROTECTED_MAX: u64 = 64 << 30;
/// Milliseconds one key is used before KEY_UPDATE is due. Wire-fixed; the caller has the clock.
pub const KEY_AGE_MS_MAX: u64 = 3_600_000;

/// What the server allows one connection, as told in WELCOME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Largest frame body.
    pub frame_bytes_max: u32,
    /// Largest assembled message.
    pub message_bytes_max: u32,
    /// Requests in flight.
    pub in_flight_max: u32,
    /// Streams open at once.
    pub streams_max: u32,
    /// Silence after which the server sends PING.
    pub ping_after_ms: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            in_flight_max: IN_FLIGHT_DEFAULT,
            streams_max: STREAMS_DEFAULT,
            ping_after_ms: PING_AFTER_MS_DEFAULT,
        }
    }
}
