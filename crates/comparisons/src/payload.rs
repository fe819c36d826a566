//! Values to compress: English text, JSON, and what no algorithm can compress.

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The project's own documents, which are technical English with tables.
    Text,
    /// The records of the comparison of formats, as JSON.
    Json,
    /// Random bytes: already compressed or encrypted data.
    Random,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Random];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON",
            Self::Random => "random",
        }
    }

    /// A value of exactly so many bytes.
    ///
    /// # Panics
    /// If there is less text than that.
    #[must_use]
    pub fn value(self, len: usize) -> Vec<u8> {
        let mut bytes = match self {
            Self::Text => TEXT.concat().into_bytes(),
            Self::Json => serde_json::to_vec(&crate::record::records(1_500)).unwrap(),
            Self::Random => {
                let mut random = Random::new(1);
                let words = len.div_ceil(8);
                (0..words)
                    .flat_map(|_| random.next().to_be_bytes())
                    .collect()
            }
        };
        assert!(
            bytes.len() >= len,
            "{} bytes of {}",
            bytes.len(),
            self.name()
        );
        bytes.truncate(len);
        bytes
    }
}

/// The specification first: it is the longest, and changes least.
const TEXT: [&str; 7] = [
    include_str!("../../../docs/protocol.md"),
    include_str!("../../../docs/configuration.md"),
    include_str!("../../../ARCHITECTURE.md"),
    include_str!("../../../docs/errors.md"),
    include_str!("../../../docs/testing.md"),
    include_str!("../../../docs/operating/limits.md"),
    include_str!("../../../docs/design/0001-protocol-clarifications.md"),
];

/// Xorshift: the same numbers in every run.
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
