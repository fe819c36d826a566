//! A pre-shared secret: wiped when dropped, never printed, compared in constant time.
//!
//! Does not own where the bytes come from. Invariant: at least [`SECRET_BYTES_MIN`] bytes.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The shortest secret: the security of every session rests on 256 random bits.
pub const SECRET_BYTES_MIN: usize = 32;

/// The bytes of a pre-shared key.
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes at least [`SECRET_BYTES_MIN`] bytes.
    ///
    /// # Errors
    /// [`SecretTooShort`] otherwise; the bytes given are wiped.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, SecretTooShort> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The bytes, for a key derivation. Do not copy them anywhere that is not wiped.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both hold the same bytes; the time tells nothing but their lengths.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A secret below [`SECRET_BYTES_MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has at least {SECRET_BYTES_MIN} bytes, this one has {bytes}")]
pub struct SecretTooShort {
    /// How many it has.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_never_printed() {
        assert_eq!(
            Secret::new(vec![7; 31]).unwrap_err(),
            SecretTooShort { bytes: 31 }
        );
        let secret = Secret::new(vec![7; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), [7; 32]);
        assert!(secret.same(&Secret::new(vec![7; 32]).unwrap()));
        assert!(!secret.same(&Secret::new(vec![8; 32]).unwrap()));
        assert!(!secret.same(&Secret::new(vec![7; 33]).unwrap()));
    }
}
