//! Who a peer is and what it may do.
//!
//! Owns names, permission sets, pre-shared secrets and the ring of keys in force. Does not own how a
//! peer proves who it is (the front doors do) nor where keys come from (the configuration does).
//! Invariant: a [`KeyRing`] never holds two entries with one id, a secret that is too short, or more
//! than [`KEYS_PER_IDENTITY_MAX`] keys of one identity.

mod keyring;
mod permissions;
mod secret;

use std::fmt;
use std::sync::Arc;

pub use keyring::{KEYS_PER_IDENTITY_MAX, KeyEntry, KeyRing, KeyRingError};
pub use permissions::{Permission, Permissions, Role, UnknownName};
pub use secret::{SECRET_BYTES_MIN, Secret, SecretTooShort};

/// The longest id of a key, in bytes; the wire's key id field has the same bound.
pub const KEY_ID_BYTES_MAX: usize = 64;

/// The longest name of an identity, in bytes: URIs in certificates are longer than key ids.
pub const IDENTITY_BYTES_MAX: usize = 255;

/// The name of peers that proved nothing. No key and no certificate may claim it.
const ANONYMOUS: &str = "anonymous";

/// The name under which a peer acts. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    name: Arc<str>,
}

impl Identity {
    /// Takes a name of 1 to [`IDENTITY_BYTES_MAX`] bytes without control characters.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the name broke.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check(name, IDENTITY_BYTES_MAX)?;
        if name == ANONYMOUS {
            return Err(InvalidName::Reserved);
        }
        Ok(Self { name: name.into() })
    }

    /// The identity of peers that proved nothing (suite 0 without a certificate).
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.into(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", &*self.name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A name has at least one byte.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than [`IDENTITY_BYTES_MAX`] or [`KEY_ID_BYTES_MAX`].
    #[error("a name has at most {max} bytes here, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// It stands for peers that proved nothing.
    #[error("the name `{ANONYMOUS}` stands for peers without an identity")]
    Reserved,
    /// Control characters would break logs and label values.
    #[error("a name must not contain control characters")]
    Control,
}

/// Checks the id of a key.
///
/// # Errors
/// [`InvalidName`] says which rule it broke.
pub fn check_key_id(id: &str) -> Result<(), InvalidName> {
    check(id, KEY_ID_BYTES_MAX)
}

fn check(name: &str, max: usize) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > max {
        return Err(InvalidName::TooLong {
            bytes: name.len(),
            max,
        });
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidName::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(Identity::new(""), Err(InvalidName::Empty));
        for (max, check) in [
            (
                IDENTITY_BYTES_MAX,
                (|name| Identity::new(name).map(drop)) as fn(&str) -> _,
            ),
            (KEY_ID_BYTES_MAX, check_key_id),
        ] {
            assert_eq!(check(&"x".repeat(max)), Ok(()));
            let bytes = max + 1;
            assert_eq!(
                check(&"x".repeat(bytes)),
                Err(InvalidName::TooLong { bytes, max })
            );
        }
        assert_eq!(Identity::new("a\nb"), Err(InvalidName::Control));
        assert_eq!(Identity::new("anonymous"), Err(InvalidName::Reserved));
        assert_eq!(Identity::new("app1").unwrap().name(), "app1");
    }
}
