//! Suites: which tag and which cipher protect the frames of a session.

use core::fmt;

use zeroize::Zeroizing;

/// How the frames of a version-2 session are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Suite {
    /// CRC-32 only: no authentication. For loopback and under TLS, where the configuration allows it.
    Checksum = 0,
    /// HMAC-SHA256 over the clear body. The default.
    Hmac = 1,
    /// X25519, AES-256-CTR and HMAC-SHA256 over the ciphertext.
    Encrypted = 2,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 3] = [Self::Checksum, Self::Hmac, Self::Encrypted];

    /// The byte on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Checksum => 0,
            Self::Hmac => 1,
            Self::Encrypted => 2,
        }
    }

    /// The suite with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Checksum),
            1 => Some(Self::Hmac),
            2 => Some(Self::Encrypted),
            _ => None,
        }
    }

    /// The name in the configuration and the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Hmac => "hmac-sha256",
            Self::Encrypted => "x25519-aes256ctr-hmac-sha256",
        }
    }
}

/// Suites in order of preference, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteList {
    items: [Option<Suite>; 3],
}

impl SuiteList {
    /// A list in the given order; repetitions are dropped.
    #[must_use]
    pub fn new(suites: &[Suite]) -> Self {
        let mut items: [Option<Suite>; 3] = [None; 3];
        let mut next = items.iter_mut();
        for (index, suite) in suites.iter().enumerate() {
            if suites.iter().take(index).any(|earlier| earlier == suite) {
                continue;
            }
            if let Some(place) = next.next() {
                *place = Some(*suite);
            }
        }
        Self { items }
    }

    /// The suites, preferred first.
    pub fn iter(&self) -> impl Iterator<Item = Suite> + '_ {
        self.items.iter().copied().flatten()
    }

    /// Whether the suite is in the list.
    #[must_use]
    pub fn contains(&self, suite: Suite) -> bool {
        self.iter().any(|item| item == suite)
    }
}

/// Optional abilities of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// Values may be LZ4 blocks.
    pub const LZ4: Self = Self(1);
    /// Values may be zstd frames; reserved, not implemented.
    pub const ZSTD: Self = Self(2);

    /// What both sides have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A pre-shared key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Keeps a copy of the bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The psk of a session without one: 32 zero bytes.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(&[0; 32])
    }

    /// Reads a secret written in hex, with white space around it.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
        for &[high, low] in pairs {
            bytes.push(hex_digit(high)?.wrapping_shl(4) | hex_digit(low)?);
        }
        Some(Self::new(&bytes))
    }

    /// The bytes themselves, for key derivation only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is long enough to be accepted.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.0.len() >= crate::limits::SECRET_BYTES_MIN
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_order_and_drops_repetitions() {
        let list = SuiteList::new(&[Suite::Encrypted, Suite::Hmac, Suite::Encrypted]);
        assert_eq!(
            list.iter().collect::<Vec<_>>(),
            [Suite::Encrypted, Suite::Hmac]
        );
        assert!(!list.contains(Suite::Checksum));
    }

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new(b"password")), "Secret(***)");
    }

    #[test]
    fn hex_is_read_whole_or_not_at_all() {
        assert_eq!(
            Secret::from_hex(" 00fF\n").map(|s| s.expose().to_vec()),
            Some(vec![0, 255])
        );
        assert!(Secret::from_hex("0").is_none());
        assert!(Secret::from_hex("zz").is_none());
    }
}
