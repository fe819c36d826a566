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

/// The longest name of an identity or a key, in bytes; the wire's key id field has the same bound.
pub const NAME_BYTES_MAX: usize = 64;

/// The name under which a peer acts. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    name: Arc<str>,
}

impl Identity {
    /// Takes a name of 1 to [`NAME_BYTES_MAX`] bytes without control characters.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the name broke.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_name(name)?;
        Ok(Self { name: name.into() })
    }

    /// The identity of peers that proved nothing (suite 0 without a certificate).
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "anonymous".into(),
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
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Control characters would break logs and label values.
    #[error("a name must not contain control characters")]
    Control,
}

/// Checks a name without making an identity of it (for key ids).
///
/// # Errors
/// [`InvalidName`] says which rule the name broke.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong { bytes: name.len() });
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
        assert!(Identity::new(&"x".repeat(NAME_BYTES_MAX)).is_ok());
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            Identity::new(&long),
            Err(InvalidName::TooLong { bytes: 65 })
        );
        assert_eq!(Identity::new("a\nb"), Err(InvalidName::Control));
        assert_eq!(Identity::new("app1").unwrap().name(), "app1");
    }
}
