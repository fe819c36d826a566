//! WELCOME: what the server chose.

use super::fields::{
    CAPABILITIES, LAST, NAME, NONCE, SERVER, SHARE, SUITES, VERSIONS, exact, put, required, text,
    walk,
};
use super::hello::NAME_BYTES_MAX;
use crate::error::{DecodeError, DecodeKind};
use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, SessionLimits};
use crate::suite::{Capabilities, Suite};

/// The decoded value of a WELCOME frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) version: u8,
    pub(super) suite: Suite,
    pub(super) capabilities: Capabilities,
    pub(super) session_id: [u8; 16],
    pub(super) nonce: [u8; 32],
    pub(super) software: Box<str>,
    pub(super) share: Option<[u8; 32]>,
    pub(super) limits: SessionLimits,
}

impl Welcome {
    pub(super) fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let (mut version, mut suite, mut capabilities, mut session_id) = (None, None, None, None);
        let (mut nonce, mut software, mut share, mut limits) = (None, None, None, None);
        walk(value, |tag, bytes, at| {
            match tag {
                VERSIONS => version = Some(exact::<1>("version", bytes, at)?),
                SUITES => suite = Some(exact::<1>("suite", bytes, at)?),
                CAPABILITIES => {
                    capabilities = Some(u32::from_be_bytes(exact("capabilities", bytes, at)?));
                }
                NAME => session_id = Some(exact::<16>("session id", bytes, at)?),
                NONCE => nonce = Some(exact::<32>("nonce", bytes, at)?),
                SERVER => software = Some(text("software", bytes, at, NAME_BYTES_MAX)?),
                SHARE => share = Some(exact::<32>("key share", bytes, at)?),
                LAST => limits = Some(decode_limits(bytes, at)?),
                _ => {}
            }
            Ok(())
        })?;
        let [version] = required("version", version)?;
        let [suite] = required("suite", suite)?;
        Ok(Self {
            version,
            suite: Suite::from_number(suite).ok_or(DecodeError::new(
                "suite",
                0,
                DecodeKind::Unknown(suite),
            ))?,
            capabilities: Capabilities(capabilities.unwrap_or_default()),
            session_id: required("session id", session_id)?,
            nonce: required("nonce", nonce)?,
            software: software.unwrap_or_default().into(),
            share,
            limits: required("limits", limits)?,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        put(&mut out, VERSIONS, &[self.version]);
        put(&mut out, SUITES, &[self.suite.number()]);
        put(&mut out, CAPABILITIES, &self.capabilities.0.to_be_bytes());
        put(&mut out, NAME, &self.session_id);
        put(&mut out, NONCE, &self.nonce);
        put(&mut out, SERVER, self.software.as_bytes());
        if let Some(share) = &self.share {
            put(&mut out, SHARE, share);
        }
        let limits = [
            self.limits.frame_bytes_max,
            self.limits.message_bytes_max,
            self.limits.in_flight_max,
            self.limits.streams_max,
            self.limits.ping_after_ms,
        ];
        put(&mut out, LAST, limits.map(u32::to_be_bytes).as_flattened());
        out
    }
}

fn decode_limits(bytes: &[u8], at: usize) -> Result<SessionLimits, DecodeError> {
    let out_of_range = DecodeError::new("limits", at, DecodeKind::OutOfRange);
    let (words, rest) = bytes.as_chunks::<4>();
    // A later version may append numbers; the first five keep their places.
    let ([frame, message, in_flight, streams, ping, ..], []) = (words, rest) else {
        return Err(out_of_range);
    };
    let limits = SessionLimits {
        frame_bytes_max: u32::from_be_bytes(*frame),
        message_bytes_max: u32::from_be_bytes(*message),
        in_flight_max: u32::from_be_bytes(*in_flight),
        streams_max: u32::from_be_bytes(*streams),
        ping_after_ms: u32::from_be_bytes(*ping),
    };
    let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&limits.frame_bytes_max)
        && limits.message_bytes_max > 0
        && limits.in_flight_max > 0
        && limits.ping_after_ms > 0;
    if fits { Ok(limits) } else { Err(out_of_range) }
}
