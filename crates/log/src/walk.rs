//! Reads a log from the first position that is needed to its end, and decides what the end is.
//!
//! Nothing is changed here: opening a log and checking one read it the same way, and reading it
//! again after an interruption finds the same.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

use crate::directory::{Directory, Listing, Spare};
use crate::error::{Damage, LogError};
use crate::format::{
    BadHeader, GROUP_HEADER_BYTES, Group, GroupHeader, Position, SEGMENT_HEADER_BYTES,
    SegmentHeader,
};
use crate::scan::{self, Tail};
use crate::window::Window;

/// What a visitor may answer to a group it does not take.
pub type VisitError = Box<dyn Error + Send + Sync>;

/// Takes groups in order.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(Group<'_>) -> Result<(), VisitError>;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Groups that were shown.
    pub groups: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// Where the log stands: the next group begins with the position after it.
    pub last: Position,
    /// The highest time of a group that was read; 0 when there was none.
    pub time_ms: u64,
    /// What was found behind the last group and dropped. It was never durable; with
    /// group commit and a sync after each group, it was never acknowledged either.
    pub torn: Option<TornTail>,
}

/// Remains of groups that were appended and not synced when the machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file they stand in.
    pub segment: PathBuf,
    /// Where they begin.
    pub offset: u64,
    /// Up to the last of them that could be told from what the file held before.
    pub bytes: u64,
}

/// What a check of a whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments, also those no longer needed.
    pub segments: u64,
    /// Files that wait to become segments.
    pub spares: u64,
    /// What opening it would find.
    pub recovery: Recovery,
}

/// A segment as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) number: u64,
    /// Last position in it.
    pub(crate) last: Position,
    /// Bytes of its groups.
    pub(crate) used: u64,
    pub(crate) file_bytes: u64,
}

/// Where the last segment ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) number: u64,
    /// The next group goes here, if it goes into this segment.
    pub(crate) offset: u64,
    /// From here on, groups may have been read from memory that never reached the disk.
    pub(crate) unsynced_from: u64,
}

/// A log that was read.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// All segments in order, the last one included.
    pub(crate) segments: Vec<Found>,
    pub(crate) spares: Vec<Spare>,
    pub(crate) end: Option<End>,
    pub(crate) recovery: Recovery,
}

/// Reads the log of store `store_id` and shows every group with positions behind `after`.
pub(crate) fn walk(
    directory: &Directory,
    store_id: &[u8; 16],
    after: Position,
    visit: Visit<'_>,
) -> Result<Walked, LogError> {
    let listing = directory
        .list()
        .map_err(LogError::io("list", directory.path()))?;
    let needed = needed(directory, store_id, after, &listing)?;
    let mut walked = Walked {
        spares: listing.spares,
        ..Walked::default()
    };
    let older = listing.segments.len() - needed.len();
    let begins = needed.first().map_or(0, |header| header.first);
    for number in listing.segments.into_iter().take(older) {
        walked.segments.push(unneeded(directory, number, begins)?);
    }
    let mut reader = Reader {
        after,
        recovery: Recovery::default(),
        visit,
    };
    for (index, header) in needed.iter().enumerate() {
        let next = needed.get(index + 1).map(|header| header.first);
        let (found, end) = reader.segment(directory, header, next)?;
        reader.recovery.last = found.last;
        walked.segments.push(found);
        walked.end = Some(end);
    }
    walked.recovery = reader.recovery;
    walked.recovery.last = walked.recovery.last.max(after);
    Ok(walked)
}

/// Headers of the segments that hold positions behind `after`, and of those behind them.
///
/// Older ones are left from a release that was interrupted: names may come back after a power cut
/// in any order, so gaps between those mean nothing.
fn needed(
    directory: &Directory,
    store_id: &[u8; 16],
    after: Position,
    listing: &Listing,
) -> Result<Vec<SegmentHeader>, LogError> {
    let mut needed: Vec<SegmentHeader> = Vec::new();
    for number in listing.segments.iter().rev() {
        if let Some(newer) = needed.last() {
            if newer.first <= after.saturating_add(1) {
                break;
            }
            if newer.number != number + 1 {
                let path = directory.segment(newer.number - 1);
                return Err(LogError::MissingSegment { path });
            }
        }
        needed.push(header(directory, store_id, *number)?);
    }
    needed.reverse();
    match needed.first() {
        Some(oldest) if oldest.first > after.saturating_add(1) => Err(LogError::MissingStart {
            path: directory.segment(oldest.number),
            needed: after + 1,
            found: oldest.first,
        }),
        _ => Ok(needed),
    }
}

fn header(
    directory: &Directory,
    store_id: &[u8; 16],
    number: u64,
) -> Result<SegmentHeader, LogError> {
    let path = directory.segment(number);
    let mut window = open(directory, number)?;
    let page = window
        .get(0, SEGMENT_HEADER_BYTES as u64)
        .map_err(LogError::io("read", &path))?
        .unwrap_or_default();
    match SegmentHeader::decode(page) {
        Ok(header) if header.store_id != *store_id => Err(LogError::Foreign { path }),
        Ok(header) if header.number == number => Ok(header),
        Err(BadHeader::Newer(found)) => Err(LogError::NewerFormat { path, found }),
        Ok(_) | Err(BadHeader::Damaged) => Err(LogError::corrupt(&path, 0, Damage::Header)),
    }
}

fn open(directory: &Directory, number: u64) -> Result<Window, LogError> {
    let path = directory.segment(number);
    File::open(&path)
        .and_then(Window::new)
        .map_err(LogError::io("read", &path))
}

/// A segment whose positions are all below `begins`, where the needed ones begin.
fn unneeded(directory: &Directory, number: u64, begins: Position) -> Result<Found, LogError> {
    let window = open(directory, number)?;
    Ok(Found {
        number,
        last: begins.saturating_sub(1),
        used: window.end().saturating_sub(SEGMENT_HEADER_BYTES as u64),
        file_bytes: window.end(),
    })
}

/// Goes from group to group.
struct Reader<'v> {
    after: Position,
    recovery: Recovery,
    visit: Visit<'v>,
}

/// A place between two groups of a segment.
struct Cursor {
    offset: u64,
    /// Last position before it.
    last: Position,
    /// What the group before it told to be durable, and where the first group stands that told
    /// the same: the groups from there on were appended after that sync.
    synced: Position,
    unsynced_from: u64,
}

impl Reader<'_> {
    /// Reads one segment: up to the position where the next one begins, or to its own end.
    fn segment(
        &mut self,
        directory: &Directory,
        header: &SegmentHeader,
        next: Option<Position>,
    ) -> Result<(Found, End), LogError> {
        let path = directory.segment(header.number);
        let mut window = open(directory, header.number)?;
        let start = SEGMENT_HEADER_BYTES as u64;
        let mut cursor = Cursor {
            offset: start,
            last: header.first - 1,
            synced: header.first - 1,
            unsynced_from: start,
        };
        // What stands behind the position where the next segment begins was dropped when that
        // segment was made, whether it looks valid or not.
        while next.is_none_or(|next| cursor.last.saturating_add(1) < next) {
            if !self.group(&mut window, header, &mut cursor, &path)? {
                let expected = cursor.last.saturating_add(1);
                if let Some(next) = next {
                    let what = Damage::EndsEarly { expected, next };
                    return Err(LogError::corrupt(&path, cursor.offset, what));
                }
                self.tail(&mut window, header, &cursor, &path)?;
                break;
            }
        }
        if let Some(next) = next.filter(|next| cursor.last.saturating_add(1) > *next) {
            let last = cursor.last;
            let what = Damage::Overlap { last, next };
            return Err(LogError::corrupt(&path, cursor.offset, what));
        }
        let found = Found {
            number: header.number,
            last: cursor.last,
            used: cursor.offset - start,
            file_bytes: window.end(),
        };
        let end = End {
            number: header.number,
            offset: cursor.offset,
            unsynced_from: cursor.unsynced_from,
        };
        Ok((found, end))
    }

    /// Reads the group at the cursor and goes past it; `false` when there is no valid one.
    fn group(
        &mut self,
        window: &mut Window,
        segment: &SegmentHeader,
        cursor: &mut Cursor,
        path: &std::path::Path,
    ) -> Result<bool, LogError> {
        let seed = segment.seed();
        let body = cursor.offset + GROUP_HEADER_BYTES as u64;
        let header = window
            .get(cursor.offset, GROUP_HEADER_BYTES as u64)
            .map_err(LogError::io("read", path))?
            .and_then(|bytes| GroupHeader::decode(bytes, &seed))
            .filter(|header| Some(header.first) == cursor.last.checked_add(1));
        let Some(header) = header else {
            return Ok(false);
        };
        let padded = window
            .get(body, header.padded_bytes())
            .map_err(LogError::io("read", path))?;
        let Some(payload) = padded.and_then(|padded| header.payload(padded)) else {
            return Ok(false);
        };
        let end = body + header.padded_bytes();
        if header.last > self.after {
            self.recovery.groups += 1;
            self.recovery.bytes += end - cursor.offset;
            let group = Group {
                first: header.first,
                last: header.last,
                time_ms: header.time_ms,
                payload,
            };
            (self.visit)(group).map_err(|source| LogError::Visit {
                path: path.to_path_buf(),
                offset: cursor.offset,
                source,
            })?;
        }
        self.recovery.time_ms = self.recovery.time_ms.max(header.time_ms);
        if header.synced != cursor.synced {
            cursor.synced = header.synced;
            cursor.unsynced_from = cursor.offset;
        }
        cursor.offset = end;
        cursor.last = header.last;
        Ok(true)
    }

    /// Decides what stands behind the last valid group of the log.
    fn tail(
        &mut self,
        window: &mut Window,
        header: &SegmentHeader,
        cursor: &Cursor,
        path: &std::path::Path,
    ) -> Result<(), LogError> {
        let expected = cursor.last.saturating_add(1);
        match scan::tail(window, header, cursor.offset, expected)
            .map_err(LogError::io("read", path))?
        {
            Tail::Clean => Ok(()),
            Tail::Unsynced { end } => {
                self.recovery.torn = Some(TornTail {
                    segment: path.to_path_buf(),
                    offset: cursor.offset,
                    bytes: end.saturating_sub(cursor.offset),
                });
                Ok(())
            }
            Tail::Witness { offset } => {
                let witness = offset;
                let what = Damage::LostGroup { expected, witness };
                Err(LogError::corrupt(path, cursor.offset, what))
            }
        }
    }
}
