//! Fields of HELLO and WELCOME: `tag u8, len u16, bytes`, ascending, no duplicates; unknown tags are
//! skipped (and covered by the transcript).

use crate::error::{DecodeError, DecodeKind};

pub(super) const VERSIONS: u8 = 1;
pub(super) const SUITES: u8 = 2;
pub(super) const CAPABILITIES: u8 = 3;
pub(super) const NAME: u8 = 4;
pub(super) const NONCE: u8 = 5;
pub(super) const SERVER: u8 = 6;
pub(super) const SHARE: u8 = 7;
pub(super) const LAST: u8 = 8;

/// Appends one field; `bytes` is cut at 65,535 (all our fields are far below).
pub(super) fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.push(tag);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

/// Hands every field to `each`, in order.
pub(super) fn walk<'a>(
    value: &'a [u8],
    mut each: impl FnMut(u8, &'a [u8], usize) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut rest = value;
    let mut last = None;
    while let Some((&tag, after)) = rest.split_first() {
        let offset = value.len().saturating_sub(rest.len());
        let truncated = DecodeError::new("handshake field", offset, DecodeKind::Truncated);
        let (len, after) = after.split_first_chunk::<2>().ok_or(truncated)?;
        let (bytes, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or(truncated)?;
        if last.is_some_and(|last| last >= tag) {
            return Err(DecodeError::new(
                "handshake field order",
                offset,
                DecodeKind::OutOfRange,
            ));
        }
        last = Some(tag);
        rest = after;
        each(tag, bytes, offset)?;
    }
    Ok(())
}

/// A field of exactly `N` bytes.
pub(super) fn exact<const N: usize>(
    what: &'static str,
    bytes: &[u8],
    offset: usize,
) -> Result<[u8; N], DecodeError> {
    bytes
        .try_into()
        .map_err(|_| DecodeError::new(what, offset, DecodeKind::OutOfRange))
}

/// A field of UTF-8 text of at most `max` bytes.
pub(super) fn text<'a>(
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
    max: usize,
) -> Result<&'a str, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::new(what, offset, DecodeKind::OutOfRange));
    }
    core::str::from_utf8(bytes).map_err(|_| DecodeError::new(what, offset, DecodeKind::Utf8))
}

/// A field that must be there.
pub(super) fn required<T>(what: &'static str, field: Option<T>) -> Result<T, DecodeError> {
    field.ok_or(DecodeError::new(what, 0, DecodeKind::Truncated))
}
