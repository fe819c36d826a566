//! The version-2 handshake, both roles, as state machines over bytes.
//!
//! ```text
//! client: start -> HELLO -> [wait for WELCOME] -> AUTH -> established; the first frame is READY
//! server: [wait for HELLO] -> WELCOME -> [wait for AUTH] -> established; the caller sends READY
//! ```
//!
//! Strict order: every other frame ends the connection. Nonces, session id and the X25519 secret are
//! passed in. Nothing here allocates from a declared length: frames are bounded by 4 KiB.

mod client;
mod fields;
mod hello;
mod server;
mod welcome;

use crate::error::{CloseReason, Limit};
use crate::header::{Flags, HEADER_LEN, Header, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::limits::HANDSHAKE_BODY_BYTES_MAX;
use crate::mac::{MacKey, TAG_LEN};
use crate::opcode::{Opcode, OpcodeByte};
use crate::open::{Opener, peek};
use crate::seal::Sealer;
use crate::suite::{Capabilities, Secret, Suite};

pub use client::{ClientHandshake, ClientRandom, ClientSettings, ClientStep};
pub use hello::ClientHello;
pub use server::{KeyLookup, ServerHandshake, ServerRandom, ServerSettings, ServerStep};

const SERVER_CONFIRM: &[u8] = b"kv/2 server";
const CLIENT_CONFIRM: &[u8] = b"kv/2 client";

/// A session both sides have keys for.
pub struct Established {
    /// Receives; in the client its first frame is READY.
    pub opener: Opener,
    /// Sends; in the server its first frame must be READY.
    pub sealer: Sealer,
    /// The suite in force.
    pub suite: Suite,
    /// What both sides can do.
    pub capabilities: Capabilities,
    /// The session's name, for logs on both sides.
    pub session_id: [u8; 16],
    /// What the server allows.
    pub limits: crate::limits::SessionLimits,
    /// The other side's software name and version.
    pub peer_software: Box<str>,
    /// At the server: the key id that was proven; `None` is anonymous or a certificate.
    pub key_id: Option<Box<str>>,
}

/// A frame of the handshake, borrowed as a whole and in its parts.
struct Plain<'b> {
    header: Header,
    frame: &'b [u8],
    tag: [u8; TAG_LEN],
    value: &'b [u8],
}

/// Takes one handshake frame off the front. Only its length is checked, so that the version and the
/// opcode can be judged by the caller.
fn take_plain<'b>(input: &mut &'b mut [u8]) -> Result<Option<Plain<'b>>, CloseReason> {
    let Some((header, body_len)) = peek(input, HANDSHAKE_BODY_BYTES_MAX)? else {
        return Ok(None);
    };
    let buffer = core::mem::take(input);
    let (frame, rest) = buffer
        .split_at_mut_checked(PREFIX_LEN.saturating_add(body_len))
        .ok_or(CloseReason::Limit(Limit::FrameBytes))?;
    *input = rest;
    let frame: &'b [u8] = frame;
    let tag = frame
        .get(HEADER_LEN..)
        .and_then(<[u8]>::first_chunk::<TAG_LEN>);
    let front = usize::from(header.ext_len).saturating_add(usize::from(header.key_len));
    let value = frame
        .get(PREFIX_LEN.saturating_add(front)..)
        .unwrap_or_default();
    Ok(Some(Plain {
        header,
        frame,
        tag: tag.copied().unwrap_or_default(),
        value,
    }))
}

/// Whether a handshake header has nothing but its opcode and value.
fn is_bare(header: &Header, opcode: Opcode) -> bool {
    header.version == VERSION_2
        && header.opcode == OpcodeByte::from(opcode)
        && header.request_id == 0
        && header.flags == Flags::NONE
        && header.ext_len == 0
        && header.key_len == 0
}

/// The frame with its tag as zeros, as it enters the transcript.
fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut copy = frame.to_vec();
    if let Some(tag) = copy.get_mut(HEADER_LEN..PREFIX_LEN) {
        tag.fill(0);
    }
    copy
}

/// Appends an ERR in version-1 form, which every peer can read: text in the value, tag zero or made
/// with the version-1 key. For refusals before a session exists.
pub fn refusal(out: &mut Vec<u8>, key: Option<&Secret>, text: &str) {
    let value = text.as_bytes();
    let header = Header {
        version: VERSION_1,
        opcode: Opcode::Err.into(),
        request_id: 0,
        flags: Flags::NONE,
        ext_len: 0,
        key_len: 0,
        value_len: u32::try_from(value.len()).unwrap_or(0),
    }
    .to_bytes();
    let tag = key.map_or([0; TAG_LEN], |key| {
        MacKey::new(key.expose()).tag(&[&header, value]).to_bytes()
    });
    out.extend_from_slice(&header);
    out.extend_from_slice(&tag);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
