//! Bytes of segment headers and group headers. Pure: no file is touched here.
//!
//! Invariant: a group header counts as valid only under the store id and the segment number it was
//! written with, so what a recycled file held before never counts.

use crc32fast::Hasher;

/// Position of a write: one counter over the whole store, without gaps. 0 is before the first one.
pub type Position = u64;

/// Format of segments that this version writes, and the newest one it reads.
pub const FORMAT: u32 = 1;

/// The header has a page of its own: appending never rewrites it.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
/// What of that page has a meaning; the rest is zeros. This much is laid out alike in all formats.
const SEGMENT_FIELDS_BYTES: usize = 52;
pub(crate) const GROUP_HEADER_BYTES: usize = 48;
/// Groups begin at multiples of this, which makes looking for one cheap.
pub(crate) const GROUP_ALIGNMENT: usize = 8;

const UNUSED: [u8; SEGMENT_HEADER_BYTES - SEGMENT_FIELDS_BYTES] =
    [0; SEGMENT_HEADER_BYTES - SEGMENT_FIELDS_BYTES];

const MAGIC: [u8; 8] = *b"kv-log\r\n";
const RECYCLED: u32 = 1;
const PADDING: [u8; GROUP_ALIGNMENT] = [0; GROUP_ALIGNMENT];

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(GROUP_ALIGNMENT));
const _: () = assert!(GROUP_HEADER_BYTES.is_multiple_of(GROUP_ALIGNMENT));
const _: () = assert!(8 + 4 + 4 + 16 + 8 + 8 + 4 == SEGMENT_FIELDS_BYTES);
const _: () = assert!(4 + 4 + 8 + 8 + 8 + 8 + 4 + 4 == GROUP_HEADER_BYTES);

/// Consecutive writes that become durable together, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'g> {
    /// Position of the first write in it; one more than the last position of the group before.
    pub first: Position,
    /// Position of the last write in it; at least `first`.
    pub last: Position,
    /// The engine's clock, in milliseconds; the log stores it and reports the highest one.
    pub time_ms: u64,
    /// The engine's records; up to 4 GiB less one byte.
    pub payload: &'g [u8],
}

/// Begins a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) number: u64,
    /// Position of the first write in this segment, once there is one.
    pub(crate) first: Position,
    /// Whether the file was a segment before: only then may there be bytes behind the last group
    /// that nobody appended.
    pub(crate) recycled: bool,
}

/// Why bytes are no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = if self.recycled { RECYCLED } else { 0 };
        let mut page = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT.to_be_bytes());
        page.extend_from_slice(&flags.to_be_bytes());
        page.extend_from_slice(&self.store_id);
        page.extend_from_slice(&self.number.to_be_bytes());
        page.extend_from_slice(&self.first.to_be_bytes());
        let crc = crc32fast::hash(&page);
        page.extend_from_slice(&crc.to_be_bytes());
        page.resize(SEGMENT_HEADER_BYTES, 0);
        page
    }

    /// Reads the page a segment begins with.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, BadHeader> {
        let (format, flags, header) = Self::fields(page).ok_or(BadHeader::Damaged)?;
        if format > FORMAT {
            return Err(BadHeader::Newer(format));
        }
        let rest_is_zero = page.get(SEGMENT_FIELDS_BYTES..) == Some(UNUSED.as_slice());
        let is_sound = format == FORMAT && flags & !RECYCLED == 0 && rest_is_zero;
        let has_room = |n: u64| n > 0 && n < u64::MAX;
        if is_sound && has_room(header.number) && has_room(header.first) {
            Ok(header)
        } else {
            Err(BadHeader::Damaged)
        }
    }

    /// Format, flags and what the fields say; nothing when magic or checksum are wrong.
    fn fields(page: &[u8]) -> Option<(u32, u32, Self)> {
        let (covered, _) = page.split_at_checked(SEGMENT_FIELDS_BYTES - 4)?;
        let mut fields = Fields::new(page);
        if fields.array()? != MAGIC {
            return None;
        }
        let format = fields.u32()?;
        let flags = fields.u32()?;
        let header = Self {
            store_id: fields.array()?,
            number: fields.u64()?,
            first: fields.u64()?,
            recycled: flags & RECYCLED != 0,
        };
        (fields.u32()? == crc32fast::hash(covered)).then_some((format, flags, header))
    }

    /// What the checksums of this segment's groups begin with.
    pub(crate) fn seed(&self) -> Seed {
        let mut hasher = Hasher::new();
        hasher.update(&self.store_id);
        hasher.update(&self.number.to_be_bytes());
        Seed(hasher)
    }
}

/// Binds the groups of a segment to it: state of a checksum over store id and segment number.
#[derive(Clone, Debug)]
pub(crate) struct Seed(Hasher);

impl Seed {
    fn crc(&self, covered: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(covered);
        hasher.finalize()
    }
}

/// Stands in front of a group's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Bytes of the payload, without padding.
    length: u32,
    payload_crc: u32,
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) time_ms: u64,
    /// Every position up to here was durable before this header was written.
    pub(crate) synced: Position,
}

impl GroupHeader {
    /// The header for `group`; nothing when its positions or its length are out of bounds.
    pub(crate) fn of(group: &Group<'_>, synced: Position) -> Option<Self> {
        let header = Self {
            length: u32::try_from(group.payload.len()).ok()?,
            payload_crc: payload_crc(group.payload),
            first: group.first,
            last: group.last,
            time_ms: group.time_ms,
            synced,
        };
        header.is_sound().then_some(header)
    }

    fn is_sound(&self) -> bool {
        // `synced < first` also keeps 0 from being a position.
        self.synced < self.first && self.first <= self.last && self.last < Position::MAX
    }

    pub(crate) fn encode(&self, seed: &Seed) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(GROUP_HEADER_BYTES);
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.payload_crc.to_be_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes.extend_from_slice(&self.last.to_be_bytes());
        bytes.extend_from_slice(&self.time_ms.to_be_bytes());
        bytes.extend_from_slice(&self.synced.to_be_bytes());
        bytes.extend_from_slice(&0_u32.to_be_bytes());
        let crc = seed.crc(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The header at the front of `bytes`, if there is a valid one of this segment.
    #[inline]
    pub(crate) fn decode(bytes: &[u8], seed: &Seed) -> Option<Self> {
        let (covered, _) = bytes.split_at_checked(GROUP_HEADER_BYTES - 4)?;
        let mut fields = Fields::new(bytes);
        let header = Self {
            length: fields.u32()?,
            payload_crc: fields.u32()?,
            first: fields.u64()?,
            last: fields.u64()?,
            time_ms: fields.u64()?,
            synced: fields.u64()?,
        };
        // Cheap questions first: the scan asks at every eighth byte of a segment.
        let is_valid =
            header.is_sound() && fields.u32()? == 0 && fields.u32()? == seed.crc(covered);
        is_valid.then_some(header)
    }

    /// Bytes of the payload, padding included; never more than 4 GiB.
    pub(crate) fn padded_bytes(&self) -> u64 {
        u64::from(self.length).next_multiple_of(GROUP_ALIGNMENT as u64)
    }

    /// The payload in front of `padded`, when it is the one that was written.
    pub(crate) fn payload<'b>(&self, padded: &'b [u8]) -> Option<&'b [u8]> {
        let length = usize::try_from(self.length).ok()?;
        let (payload, _) = padded.split_at_checked(length)?;
        (crc32fast::hash(padded) == self.payload_crc).then_some(payload)
    }
}

/// The zeros that bring a payload to a multiple of the alignment.
pub(crate) fn padding(payload: &[u8]) -> &'static [u8] {
    let missing = payload.len().next_multiple_of(GROUP_ALIGNMENT) - payload.len();
    PADDING.get(..missing).unwrap_or_default()
}

fn payload_crc(payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(payload);
    hasher.update(padding(payload));
    hasher.finalize()
}

/// Takes big-endian fields off the front of some bytes.
pub(crate) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
