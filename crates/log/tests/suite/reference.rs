//! A second reader of the format, written from `docs/storage/FORMAT.md` and for whole files in
//! memory. What it shares with the crate is the CRC-32. Its rule for the tail can be made wrong,
//! which every harness here must notice.

use std::fs;
use std::path::{Path, PathBuf};

use kv_log::Position;

use crate::support::{Owned, STORE, segments};

const PAGE: usize = 4096;
const HEADER: usize = 48;

/// How an invalid group at the end of the log is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// As documented: damage if a later header says that the position was durable.
    BySynced,
    /// Wrong: any later valid header means damage, so a power cut can lock the owner out.
    AnyLaterIsDamage,
    /// Wrong: nothing means damage, so what was acknowledged can vanish in silence.
    NothingIsDamage,
}

/// A header as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) length: usize,
    payload_crc: u32,
    pub(crate) first: Position,
    pub(crate) last: Position,
    time_ms: u64,
    pub(crate) synced: Position,
}

/// Groups behind `after` in the log of `dir`, or why it must not be opened.
pub(crate) fn read(dir: &Path, after: Position, rule: Rule) -> Result<Vec<Owned>, String> {
    let mut files: Vec<(u64, Vec<u8>)> = Vec::new();
    for path in segments(dir) {
        files.push((number(&path), fs::read(&path).unwrap()));
    }
    let start = files
        .iter()
        .rposition(|(number, bytes)| {
            matches!(segment_first(*number, bytes), Ok(first) if first <= after + 1)
        })
        .unwrap_or(0);
    let files = &files[start..];
    let mut groups = Vec::new();
    let mut last = match files.first() {
        Some((number, bytes)) => segment_first(*number, bytes)? - 1,
        None => return Ok(groups),
    };
    if last > after {
        return Err(format!("positions from {after} to {last} are missing"));
    }
    for (index, (number, bytes)) in files.iter().enumerate() {
        if segment_first(*number, bytes)? != last + 1 || *number != files[0].0 + index as u64 {
            return Err(format!("segment {number} does not follow"));
        }
        let next = match files.get(index + 1) {
            Some((number, bytes)) => Some(segment_first(*number, bytes)?),
            None => None,
        };
        let mut at = PAGE;
        while next.is_none_or(|next| last + 1 < next) {
            let Some((group, end)) = group(*number, bytes, at, last) else {
                break;
            };
            last = group.last;
            at = end;
            if group.last > after {
                groups.push(group);
            }
        }
        if next.is_none() {
            tail(*number, bytes, at, last, rule)?;
        }
    }
    Ok(groups)
}

fn tail(number: u64, bytes: &[u8], at: usize, last: Position, rule: Rule) -> Result<(), String> {
    for at in (at..bytes.len()).step_by(8) {
        let Some(header) = header(number, bytes, at) else {
            continue;
        };
        let is_damage = match rule {
            Rule::BySynced => header.synced > last,
            Rule::AnyLaterIsDamage => header.first > last + 1,
            Rule::NothingIsDamage => false,
        };
        if is_damage {
            return Err(format!("a group at {at} follows a bad one behind {last}"));
        }
    }
    Ok(())
}

pub(crate) fn number(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn segment_first(number: u64, bytes: &[u8]) -> Result<Position, String> {
    let page = bytes.get(..PAGE).ok_or("no header")?;
    let is_good = page.starts_with(b"kv-log\r\n")
        && page[8..12] == [0, 0, 0, 1]
        && page[12..15] == [0, 0, 0]
        && page[15] < 2
        && page[16..32] == STORE
        && u64_at(page, 32) == number
        && u32_at(page, 48) == crc32fast::hash(&page[..48])
        && page[52..].iter().all(|byte| *byte == 0);
    if is_good {
        Ok(u64_at(page, 40))
    } else {
        Err(format!("bad header of segment {number}"))
    }
}

fn group(number: u64, bytes: &[u8], at: usize, last: Position) -> Option<(Owned, usize)> {
    let header = header(number, bytes, at)?;
    let end = at + HEADER + header.length.next_multiple_of(8);
    let padded = bytes.get(at + HEADER..end)?;
    if header.first != last + 1 || crc32fast::hash(padded) != header.payload_crc {
        return None;
    }
    let group = Owned {
        first: header.first,
        last: header.last,
        time_ms: header.time_ms,
        payload: padded[..header.length].to_vec(),
    };
    Some((group, end))
}

pub(crate) fn header(number: u64, bytes: &[u8], at: usize) -> Option<Header> {
    let bytes = bytes.get(at..at + HEADER)?;
    let header = Header {
        length: u32_at(bytes, 0) as usize,
        payload_crc: u32_at(bytes, 4),
        first: u64_at(bytes, 8),
        last: u64_at(bytes, 16),
        time_ms: u64_at(bytes, 24),
        synced: u64_at(bytes, 32),
    };
    let is_good = u32_at(bytes, 40) == 0
        && u32_at(bytes, 44) == header_crc(number, &bytes[..44])
        && header.synced < header.first
        && header.first <= header.last;
    is_good.then_some(header)
}

pub(crate) fn header_crc(number: u64, fields: &[u8]) -> u32 {
    crc32fast::hash(&[&STORE, number.to_be_bytes().as_slice(), fields].concat())
}

/// Where each group of a segment begins, and where the last one ends.
pub(crate) fn offsets(path: &PathBuf) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let mut offsets = vec![PAGE];
    while let Some(header) = header(number(path), &bytes, offsets[offsets.len() - 1]) {
        offsets.push(offsets[offsets.len() - 1] + HEADER + header.length.next_multiple_of(8));
    }
    offsets
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}
