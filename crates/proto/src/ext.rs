//! Extension blocks: `tag u8, len u8, bytes` items in front of the key, ascending, no duplicates.
//!
//! Tag bit 7 set means critical: a receiver that does not know it answers UNSUPPORTED. Unknown others
//! are skipped. A block never exceeds 255 bytes, so writing one needs no allocation.

use crate::error::{DecodeError, DecodeKind};

/// The longest extension block: `ext_len` is one byte.
pub const EXT_BYTES_MAX: usize = 255;

/// A set of extension tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtSet(u32);

macro_rules! tags {
    ($( $(#[$doc:meta])* $name:ident = $tag:literal bit $bit:literal; )*) => {
        /// Tag bytes of the extensions, as on the wire.
        pub mod tag {
            $( $(#[$doc])* pub const $name: u8 = $tag; )*
        }
        impl ExtSet {
            $( $(#[$doc])* pub const $name: Self = Self(1 << $bit); )*

            const fn of(tag: u8) -> Option<Self> {
                match tag { $( $tag => Some(Self::$name), )* _ => None }
            }
        }
    };
}

tags! {
    /// Time to live in milliseconds, u64.
    TTL = 0x01 bit 1;
    /// The entry's version, u64.
    VERSION = 0x02 bit 2;
    /// Give up after this many milliseconds, u32.
    DEADLINE_MS = 0x03 bit 3;
    /// W3C trace id, span id and flags, 25 bytes.
    TRACE = 0x04 bit 4;
    /// Content type of the value, u8.
    CONTENT_TYPE = 0x05 bit 5;
    /// First credit of a stream, u32.
    CREDIT = 0x06 bit 6;
    /// Delay before a message is visible, u64 milliseconds.
    DELAY_MS = 0x07 bit 7;
    /// Fairness key of a queue message, 1 to 64 bytes.
    FAIRNESS_KEY = 0x08 bit 8;
    /// Which delivery attempt this is, u32.
    ATTEMPT = 0x09 bit 9;
    /// At most this many items, u32.
    LIMIT = 0x0A bit 10;
    /// What happened to a watched entry, u8.
    EVENT = 0x0B bit 11;
    /// Resume a watch after this position, u64.
    FROM_VERSION = 0x0C bit 12;
    /// Length of a value that was left out, u32.
    VALUE_LEN = 0x0D bit 13;
    /// Identifier of a queue message, u64.
    MESSAGE_ID = 0x0E bit 14;
    /// Messages dropped in front of this one, u64.
    LOST = 0x0F bit 15;
    /// Apply only if the version is this, u64.
    IF_VERSION = 0x81 bit 17;
    /// What a write returns, u8.
    RETURN = 0x82 bit 18;
    /// Length of the whole value of a continued message, u32.
    TOTAL_LEN = 0x83 bit 19;
    /// Client id and operation number, 24 bytes.
    IDEMPOTENCY = 0x84 bit 20;
    /// All or nothing, empty.
    ATOMIC = 0x85 bit 21;
    /// Descending order, empty.
    REVERSE = 0x86 bit 22;
    /// This key, not this prefix, empty.
    EXACT = 0x87 bit 23;
    /// What to do with a slow subscriber, u8.
    POLICY = 0x88 bit 24;
}

impl ExtSet {
    /// No extension at all.
    pub const NONE: Self = Self(0);
    /// What every request may carry.
    pub const REQUEST: Self = Self::DEADLINE_MS.with(Self::TRACE);
    /// What every conditional write may carry.
    pub const WRITE: Self = Self::IF_VERSION.with(Self::IDEMPOTENCY);

    /// The union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every tag of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A retry-safe identity of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// Who repeats: 16 bytes that the client chose once.
    pub client: [u8; 16],
    /// Which operation of that client.
    pub operation: u64,
}

/// RETURN bits.
pub mod returns {
    /// The reply carries the previous value.
    pub const PREVIOUS: u8 = 1;
    /// The reply carries no value, only metadata.
    pub const NO_VALUE: u8 = 2;
}

/// `IF_VERSION` value: the entry must be absent.
pub const IF_ABSENT: u64 = 0;
/// `IF_VERSION` value: the entry must exist, at whatever version.
pub const IF_PRESENT: u64 = u64::MAX;

/// What an extension block said. Absent items are `None`; unknown optional items are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// 0x01.
    pub ttl_ms: Option<u64>,
    /// 0x02.
    pub version: Option<u64>,
    /// 0x03.
    pub deadline_ms: Option<u32>,
    /// 0x04.
    pub trace: Option<&'a [u8; 25]>,
    /// 0x05.
    pub content_type: Option<u8>,
    /// 0x06.
    pub credit: Option<u32>,
    /// 0x07.
    pub delay_ms: Option<u64>,
    /// 0x08.
    pub fairness_key: Option<&'a [u8]>,
    /// 0x09.
    pub attempt: Option<u32>,
    /// 0x0A.
    pub limit: Option<u32>,
    /// 0x0B.
    pub event: Option<u8>,
    /// 0x0C.
    pub from_version: Option<u64>,
    /// 0x0D.
    pub value_len: Option<u32>,
    /// 0x0E.
    pub message_id: Option<u64>,
    /// 0x0F.
    pub lost: Option<u64>,
    /// 0x81.
    pub if_version: Option<u64>,
    /// 0x82.
    pub returns: Option<u8>,
    /// 0x83.
    pub total_len: Option<u32>,
    /// 0x84.
    pub idempotency: Option<Idempotency>,
    /// 0x85.
    pub atomic: bool,
    /// 0x86.
    pub reverse: bool,
    /// 0x87.
    pub exact: bool,
    /// 0x88.
    pub policy: Option<u8>,
}

/// Why an extension block was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtError {
    /// The block itself is malformed: answer INVALID_ARGUMENT.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A critical extension this receiver does not know: answer UNSUPPORTED.
    #[error("critical extension 0x{0:02x} is not known here")]
    UnknownCritical(u8),
    /// A critical extension that has no meaning for this opcode: answer INVALID_ARGUMENT.
    #[error("critical extension 0x{0:02x} has no meaning for this command")]
    NotHere(u8),
}

impl<'a> Extensions<'a> {
    /// Decodes a block for an opcode that gives meaning to `allowed`. Known optional items outside
    /// `allowed` are ignored, critical ones are refused.
    ///
    /// # Errors
    /// [`ExtError`], with the offset inside the block.
    pub fn decode(block: &'a [u8], allowed: ExtSet) -> Result<Self, ExtError> {
        let mut this = Self::default();
        if block.is_empty() {
            return Ok(this);
        }
        let mut rest = block;
        let mut last: Option<u8> = None;
        while let Some((&tag, after)) = rest.split_first() {
            let offset = block.len().saturating_sub(rest.len());
            let (&len, after) = after.split_first().ok_or(DecodeError {
                what: "extension length",
                offset,
                kind: DecodeKind::Truncated,
            })?;
            let (bytes, after) = after
                .split_at_checked(usize::from(len))
                .ok_or(DecodeError {
                    what: "extension",
                    offset,
                    kind: DecodeKind::Truncated,
                })?;
            if last.is_some_and(|last| last >= tag) {
                return Err(DecodeError {
                    what: "extension order",
                    offset,
                    kind: DecodeKind::OutOfRange,
                }
                .into());
            }
            last = Some(tag);
            rest = after;
            this.item(tag, bytes, offset, allowed)?;
        }
        Ok(this)
    }

    /// The TOTAL_LEN of a block of which nothing else matters yet: what the frames of a continued
    /// message are joined by, before anything decides about the message. `None` for a block without
    /// one, or malformed in front of it.
    #[must_use]
    pub fn total_len(block: &[u8]) -> Option<u32> {
        let mut rest = block;
        while let [tag, len, after @ ..] = rest {
            let (bytes, after) = after.split_at_checked(usize::from(*len))?;
            if *tag == tag::TOTAL_LEN {
                return be32(bytes);
            }
            rest = after;
        }
        None
    }

    fn item(
        &mut self,
        tag: u8,
        bytes: &'a [u8],
        offset: usize,
        allowed: ExtSet,
    ) -> Result<(), ExtError> {
        let critical = tag & 0x80 != 0;
        let Some(set) = ExtSet::of(tag) else {
            return if critical {
                Err(ExtError::UnknownCritical(tag))
            } else {
                Ok(())
            };
        };
        if !allowed.contains(set) {
            return if critical {
                Err(ExtError::NotHere(tag))
            } else {
                Ok(())
            };
        }
        self.known(tag, bytes).ok_or_else(|| {
            DecodeError {
                what: "extension value",
                offset,
                kind: DecodeKind::OutOfRange,
            }
            .into()
        })
    }

    /// `None` when the bytes do not fit the tag's type.
    fn known(&mut self, tag: u8, bytes: &'a [u8]) -> Option<()> {
        match tag {
            tag::TTL => self.ttl_ms = Some(be64(bytes)?),
            tag::VERSION => self.version = Some(be64(bytes)?),
            tag::DEADLINE_MS => self.deadline_ms = Some(be32(bytes)?),
            tag::TRACE => self.trace = Some(bytes.try_into().ok()?),
            tag::CONTENT_TYPE => self.content_type = Some(byte(bytes)?),
            tag::CREDIT => self.credit = Some(be32(bytes)?),
            tag::DELAY_MS => self.delay_ms = Some(be64(bytes)?),
            tag::FAIRNESS_KEY if (1..=64).contains(&bytes.len()) => self.fairness_key = Some(bytes),
            tag::ATTEMPT => self.attempt = Some(be32(bytes)?),
            tag::LIMIT => self.limit = Some(be32(bytes)?),
            tag::EVENT => self.event = Some(byte(bytes)?),
            tag::FROM_VERSION => self.from_version = Some(be64(bytes)?),
            tag::VALUE_LEN => self.value_len = Some(be32(bytes)?),
            tag::MESSAGE_ID => self.message_id = Some(be64(bytes)?),
            tag::LOST => self.lost = Some(be64(bytes)?),
            tag::IF_VERSION => self.if_version = Some(be64(bytes)?),
            tag::RETURN => self.returns = Some(byte(bytes)?),
            tag::TOTAL_LEN => self.total_len = Some(be32(bytes)?),
            tag::IDEMPOTENCY => {
                let (client, operation) = bytes.split_first_chunk::<16>()?;
                self.idempotency = Some(Idempotency {
                    client: *client,
                    operation: be64(operation)?,
                });
            }
            tag::ATOMIC if bytes.is_empty() => self.atomic = true,
            tag::REVERSE if bytes.is_empty() => self.reverse = true,
            tag::EXACT if bytes.is_empty() => self.exact = true,
            tag::POLICY => self.policy = Some(byte(bytes)?),
            _ => return None,
        }
        Some(())
    }

    /// Encodes the items in ascending order. The known items together are well below 255 bytes.
    #[must_use]
    pub fn encode(&self) -> ExtBuf {
        let mut out = ExtBuf::new();
        out.opt(tag::TTL, self.ttl_ms.map(u64::to_be_bytes));
        out.opt(tag::VERSION, self.version.map(u64::to_be_bytes));
        out.opt(tag::DEADLINE_MS, self.deadline_ms.map(u32::to_be_bytes));
        out.opt(tag::TRACE, self.trace.copied());
        out.opt(tag::CONTENT_TYPE, self.content_type.map(|v| [v]));
        out.opt(tag::CREDIT, self.credit.map(u32::to_be_bytes));
        out.opt(tag::DELAY_MS, self.delay_ms.map(u64::to_be_bytes));
        if let Some(key) = self.fairness_key {
            out.item(tag::FAIRNESS_KEY, key);
        }
        out.opt(tag::ATTEMPT, self.attempt.map(u32::to_be_bytes));
        out.opt(tag::LIMIT, self.limit.map(u32::to_be_bytes));
        out.opt(tag::EVENT, self.event.map(|v| [v]));
        out.opt(tag::FROM_VERSION, self.from_version.map(u64::to_be_bytes));
        out.opt(tag::VALUE_LEN, self.value_len.map(u32::to_be_bytes));
        out.opt(tag::MESSAGE_ID, self.message_id.map(u64::to_be_bytes));
        out.opt(tag::LOST, self.lost.map(u64::to_be_bytes));
        out.opt(tag::IF_VERSION, self.if_version.map(u64::to_be_bytes));
        out.opt(tag::RETURN, self.returns.map(|v| [v]));
        out.opt(tag::TOTAL_LEN, self.total_len.map(u32::to_be_bytes));
        if let Some(idempotency) = self.idempotency {
            let mut bytes = [0; 24];
            if let Some((client, operation)) = bytes.split_first_chunk_mut::<16>() {
                *client = idempotency.client;
                operation.copy_from_slice(&idempotency.operation.to_be_bytes());
            }
            out.item(tag::IDEMPOTENCY, &bytes);
        }
        for (set, tag) in [
            (self.atomic, tag::ATOMIC),
            (self.reverse, tag::REVERSE),
            (self.exact, tag::EXACT),
        ] {
            if set {
                out.item(tag, &[]);
            }
        }
        out.opt(tag::POLICY, self.policy.map(|v| [v]));
        out
    }
}

fn byte(bytes: &[u8]) -> Option<u8> {
    <[u8; 1]>::try_from(bytes).ok().map(|[b]| b)
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// An extension block being written, on the stack. Items must be added in ascending order of tag.
#[derive(Clone, Copy)]
pub struct ExtBuf {
    bytes: [u8; EXT_BYTES_MAX],
    len: u8,
}

impl ExtBuf {
    /// An empty block.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; EXT_BYTES_MAX],
            len: 0,
        }
    }

    /// The block as on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn opt<const N: usize>(&mut self, tag: u8, bytes: Option<[u8; N]>) {
        if let Some(bytes) = bytes {
            self.item(tag, &bytes);
        }
    }

    /// Adds one item. Items that no longer fit are left out, which cannot happen for a block made
    /// from [`Extensions`]: its known items sum to less than 255 bytes.
    pub fn item(&mut self, tag: u8, bytes: &[u8]) {
        let start = usize::from(self.len);
        let end = start.saturating_add(2).saturating_add(bytes.len());
        let (Some(place), Ok(len), Ok(new_len)) = (
            self.bytes.get_mut(start..end),
            u8::try_from(bytes.len()),
            u8::try_from(end),
        ) else {
            debug_assert!(false, "extension block over 255 bytes");
            return;
        };
        if let [first, second, rest @ ..] = place {
            *first = tag;
            *second = len;
            rest.copy_from_slice(bytes);
            self.len = new_len;
        }
    }
}

impl Default for ExtBuf {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
