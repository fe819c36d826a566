//! HELLO: what a client offers.

use super::fields::{
    CAPABILITIES, LAST, NAME, NONCE, SERVER, SHARE, SUITES, VERSIONS, exact, put, required, text,
    walk,
};
use crate::error::{DecodeError, DecodeKind};
use crate::limits::KEY_ID_BYTES_MAX;
use crate::suite::{Capabilities, Suite};

/// Longest name in a HELLO or WELCOME.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// The decoded value of a HELLO frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Lowest and highest version the client speaks.
    pub versions: (u8, u8),
    /// Suite numbers, preferred first; may hold numbers unknown here.
    pub suites: Vec<u8>,
    /// What the client can do.
    pub capabilities: Capabilities,
    /// Which key the client holds; absent is anonymous or a certificate.
    pub key_id: Option<Box<str>>,
    /// 32 random bytes.
    pub nonce: [u8; 32],
    /// The name the client wants to reach.
    pub server_name: Box<str>,
    /// X25519 public value, needed for suite 2.
    pub share: Option<[u8; 32]>,
    /// Name and version of the client's software.
    pub software: Box<str>,
}

impl ClientHello {
    /// Decodes a HELLO value.
    ///
    /// # Errors
    /// [`DecodeError`] for missing, misplaced and malformed fields.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let (mut versions, mut suites, mut capabilities, mut nonce) = (None, None, None, None);
        let (mut key_id, mut share, mut server_name, mut software) = (None, None, None, None);
        walk(value, |tag, bytes, at| {
            match tag {
                VERSIONS => versions = Some(exact::<2>("version range", bytes, at)?),
                SUITES => suites = Some(bytes.to_vec()),
                CAPABILITIES => {
                    capabilities = Some(u32::from_be_bytes(exact("capabilities", bytes, at)?));
                }
                NAME if bytes.is_empty() => {
                    return Err(DecodeError::new("key id", at, DecodeKind::OutOfRange));
                }
                NAME => key_id = Some(text("key id", bytes, at, KEY_ID_BYTES_MAX)?),
                NONCE => nonce = Some(exact::<32>("nonce", bytes, at)?),
                SERVER => server_name = Some(text("server name", bytes, at, NAME_BYTES_MAX)?),
                SHARE => share = Some(exact::<32>("key share", bytes, at)?),
                LAST => software = Some(text("software", bytes, at, NAME_BYTES_MAX)?),
                _ => {}
            }
            Ok(())
        })?;
        let [min, max] = required("version range", versions)?;
        if min > max {
            return Err(DecodeError::new("version range", 0, DecodeKind::OutOfRange));
        }
        Ok(Self {
            versions: (min, max),
            suites: required("suites", suites)?,
            capabilities: Capabilities(capabilities.unwrap_or_default()),
            key_id: key_id.map(Into::into),
            nonce: required("nonce", nonce)?,
            server_name: server_name.unwrap_or_default().into(),
            share,
            software: software.unwrap_or_default().into(),
        })
    }

    /// The HELLO value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put(&mut out, VERSIONS, &[self.versions.0, self.versions.1]);
        put(&mut out, SUITES, &self.suites);
        put(&mut out, CAPABILITIES, &self.capabilities.0.to_be_bytes());
        if let Some(key_id) = &self.key_id {
            put(&mut out, NAME, key_id.as_bytes());
        }
        put(&mut out, NONCE, &self.nonce);
        put(&mut out, SERVER, self.server_name.as_bytes());
        if let Some(share) = &self.share {
            put(&mut out, SHARE, share);
        }
        put(&mut out, LAST, self.software.as_bytes());
        out
    }

    /// Whether the client offered the suite and what it needs for it.
    pub(super) fn offers(&self, suite: Suite) -> bool {
        self.suites.contains(&suite.number()) && (suite != Suite::Encrypted || self.share.is_some())
    }
}
