//! The writer: appends groups to the newest segment and begins the next one when it is full.
//!
//! Invariant: everything in segments before the newest is durable, and nothing is appended after
//! an error that leaves open what the disk holds.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::caretaker::{Caretaker, Sealed, Shared};
use crate::directory::{Directory, Spare, remove_if_there};
use crate::error::LogError;
use crate::format::{
    GROUP_HEADER_BYTES, Group, GroupHeader, Position, SEGMENT_HEADER_BYTES, Seed, SegmentHeader,
    padding,
};
use crate::segment::{self, NotMade};
use crate::walk::{self, Recovery, Report, VisitError, Walked};

/// Bytes of a segment when nothing else is said.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Smallest segment: its header and as much again. Smaller ones are taken for this.
pub const SEGMENT_BYTES_MIN: u64 = 8 << 10;

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Bytes of a segment file; a group that is larger gets a segment of its own. May differ from
    /// one opening to the next.
    pub segment_bytes: u64,
    /// Tells the files of this store from those of others.
    pub store_id: [u8; 16],
}

impl LogConfig {
    /// The default sizes for the store with this id.
    #[must_use]
    pub fn new(store_id: [u8; 16]) -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            store_id,
        }
    }
}

/// A write-ahead log that is open for appending. Owned by one thread.
///
/// After an error of [`sync`](Self::sync), and after an error of [`append`](Self::append) that is
/// not "no space", the log takes nothing more: what the disk holds is not known any longer. Only
/// opening it again tells.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    current: Current,
    store_id: [u8; 16],
    /// Last position appended.
    last: Position,
    /// Last position that a sync has confirmed.
    durable: Position,
    failed: bool,
}

/// The segment being written.
#[derive(Debug)]
struct Current {
    file: File,
    number: u64,
    seed: Seed,
    /// Where the next group goes.
    offset: u64,
    /// Length the file was begun or opened with: what is behind it only appends have made.
    made: u64,
}

impl Current {
    fn new(file: File, header: &SegmentHeader, offset: u64) -> Self {
        Self {
            number: header.number,
            seed: header.seed(),
            offset,
            // When it is not known, nothing is taken for what appends have made.
            made: file.metadata().map_or(u64::MAX, |metadata| metadata.len()),
            file,
        }
    }

    /// Removes what a write without enough space left, so that opening needs no new segment for
    /// it. A file that stays longer does no harm.
    fn cut_remains(&self) {
        if self.made < u64::MAX {
            self.file.set_len(self.offset.max(self.made)).ok();
        }
    }

    fn used(&self) -> u64 {
        self.offset - SEGMENT_HEADER_BYTES as u64
    }
}

impl Log {
    /// Opens the log in `dir`, which is made if it is absent, and shows every whole group that
    /// reaches behind position `after` to `visit`, in order. What was shown is durable when this
    /// returns. Everything up to `after` must be durable elsewhere.
    ///
    /// A log that ends before `after` goes on behind `after`.
    ///
    /// # Errors
    /// [`LogError`]; the files are as they were, and opening again finds the same.
    pub fn open(
        dir: &Path,
        config: LogConfig,
        after: Position,
        visit: &mut dyn FnMut(Group<'_>) -> Result<(), VisitError>,
    ) -> Result<(Self, Recovery), LogError> {
        let directory = Directory::new(dir);
        directory.make().map_err(LogError::io("make", dir))?;
        let walked = walk::walk(&directory, &config.store_id, after, visit)?;
        let log = Self::continue_behind(directory, config, &walked)?;
        Ok((log, walked.recovery))
    }

    /// Reads the log in `dir` as [`open`](Self::open) would, and changes nothing.
    ///
    /// # Errors
    /// What `open` would say.
    pub fn check(
        dir: &Path,
        store_id: &[u8; 16],
        after: Position,
        visit: &mut dyn FnMut(Group<'_>) -> Result<(), VisitError>,
    ) -> Result<Report, LogError> {
        let walked = walk::walk(&Directory::new(dir), store_id, after, visit)?;
        Ok(Report {
            segments: walked.segments.len() as u64,
            spares: walked.spares.len() as u64,
            recovery: walked.recovery,
        })
    }

    /// Makes what was read durable and stands ready behind it.
    fn continue_behind(
        directory: Directory,
        config: LogConfig,
        walked: &Walked,
    ) -> Result<Self, LogError> {
        let segment_bytes = config.segment_bytes.max(SEGMENT_BYTES_MIN);
        let spares = tidy(&directory, segment_bytes, walked)
            .map_err(LogError::io("tidy", directory.path()))?;
        let last = walked.recovery.last;
        let shared = Shared::new(directory.clone(), segment_bytes, spares);
        let header = |number, first| SegmentHeader {
            store_id: config.store_id,
            number,
            first,
            recycled: false,
        };
        let mut current = None;
        if let Some(end) = walked.end {
            let path = directory.segment(end.number);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(LogError::io("open", &path))?;
            segment::write_again(&file, end.unsynced_from, end.offset)
                .and_then(|()| file.sync_data())
                .and_then(|()| directory.sync())
                .map_err(LogError::io("sync", &path))?;
            let ends_here = walked
                .segments
                .last()
                .is_some_and(|found| found.last == last);
            if ends_here && walked.recovery.torn.is_none() {
                let header = header(end.number, last.saturating_add(1));
                current = Some(Current::new(file, &header, end.offset));
            }
        }
        // Behind a torn tail nothing is written: what stands there could become valid again.
        let current = match current {
            Some(current) => current,
            None => {
                let number = walked.end.map_or(1, |end| end.number + 1);
                let header = header(number, last.saturating_add(1));
                let path = directory.segment(number);
                let file = segment::make(&directory, shared.take_spare(), header)
                    .map_err(|not_made| LogError::io("make", &path)(not_made.error))?;
                Current::new(file, &header, SEGMENT_HEADER_BYTES as u64)
            }
        };
        for found in &walked.segments {
            shared.grew(found.used);
            if found.number != current.number {
                shared.seal(Sealed {
                    number: found.number,
                    last: found.last,
                    used: found.used,
                    file_bytes: found.file_bytes,
                });
            }
        }
        Ok(Self {
            shared: Arc::new(shared),
            current,
            store_id: config.store_id,
            last,
            durable: last,
            failed: false,
        })
    }

    /// Appends one group. It is not durable before the next [`sync`](Self::sync). When the segment
    /// cannot hold it, that segment is synced and the next one begun.
    ///
    /// Header and payload go out in one `pwritev`, so the payload is not copied.
    ///
    /// # Errors
    /// `InvalidInput` when the group does not begin right behind the last one, ends before it
    /// begins, or is larger than 4 GiB: nothing happened. "No space" (`StorageFull`,
    /// `QuotaExceeded`): nothing counts as appended, and the same group may be tried again. After
    /// any other error the log takes nothing more.
    pub fn append(&mut self, group: Group<'_>) -> io::Result<()> {
        self.refuse_after_failure()?;
        let follows = self.last.checked_add(1) == Some(group.first);
        let header = GroupHeader::of(&group, self.durable).filter(|_| follows);
        let Some(mut header) = header else {
            let text = "a group must begin right behind the last one, and be below 4 GiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let bytes = GROUP_HEADER_BYTES as u64 + header.padded_bytes();
        if self.current.used() > 0 && self.current.offset + bytes > self.shared.segment_bytes {
            self.rotate(bytes)?;
        }
        // A rotation has synced what was before it.
        header.synced = self.durable;
        let header = header.encode(&self.current.seed);
        let padding = padding(group.payload);
        let mut parts = [&header, group.payload, padding].map(IoSlice::new);
        let written = write_all_vectored(&self.current.file, &mut parts, self.current.offset);
        if written.is_err() {
            self.current.cut_remains();
        }
        self.fail_unless_full(written)?;
        self.current.offset += bytes;
        self.last = group.last;
        self.shared.grew(bytes);
        Ok(())
    }

    /// Makes everything durable that was appended.
    ///
    /// # Errors
    /// What the file system said. Whether the groups since the last sync are durable is not known
    /// then, trying again would not tell, and the log takes nothing more.
    pub fn sync(&mut self) -> io::Result<()> {
        self.refuse_after_failure()?;
        // Earlier segments, and the name of this one, were made durable by the rotation.
        let synced = self.current.file.sync_data();
        self.fail_on(synced)?;
        self.durable = self.last;
        Ok(())
    }

    /// Last position that was appended; what the log was opened behind when there is none.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
    }

    /// Last position that is known to be durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Bytes of groups that were appended and not given back.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.shared.live_bytes()
    }

    /// Segments, the one being written included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.shared.sealed_count() + 1
    }

    /// A handle for the thread that gives segments back and makes spares.
    #[must_use]
    pub fn caretaker(&self) -> Caretaker {
        Caretaker::new(Arc::clone(&self.shared))
    }

    /// Makes the current segment durable and begins the next one, which is to hold a group of
    /// `bytes`.
    fn rotate(&mut self, bytes: u64) -> io::Result<()> {
        if self.durable < self.last {
            self.sync()?;
        }
        let header = SegmentHeader {
            store_id: self.store_id,
            number: self.current.number + 1,
            first: self.last + 1,
            recycled: false,
        };
        let fits = SEGMENT_HEADER_BYTES as u64 + bytes <= self.shared.segment_bytes;
        let spare = if fits { self.shared.take_spare() } else { None };
        let made = segment::make(&self.shared.directory, spare, header);
        let file = match made {
            Ok(file) => file,
            Err(NotMade {
                error,
                may_be_there: false,
            }) => return self.fail_unless_full(Err(error)),
            // The next opening may find the new segment, so nothing may go into this one.
            Err(NotMade { error, .. }) => return self.fail_on(Err(error)),
        };
        let next = Current::new(file, &header, SEGMENT_HEADER_BYTES as u64);
        let full = std::mem::replace(&mut self.current, next);
        // Only decides whether the file can become a spare; 0 is the size of none.
        let file_bytes = full.file.metadata().map_or(0, |metadata| metadata.len());
        self.shared.seal(Sealed {
            number: full.number,
            last: self.last,
            used: full.used(),
            file_bytes,
        });
        Ok(())
    }

    fn refuse_after_failure(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(
                "the log failed before: only opening it again tells what it holds",
            ));
        }
        Ok(())
    }

    fn fail_on(&mut self, result: io::Result<()>) -> io::Result<()> {
        self.failed |= result.is_err();
        result
    }

    fn fail_unless_full(&mut self, result: io::Result<()>) -> io::Result<()> {
        let is_full = |error: &io::Error| {
            let kind = error.kind();
            kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded
        };
        match result {
            Err(error) if is_full(&error) => Err(error),
            result => self.fail_on(result),
        }
    }
}

/// Removes what interrupted work left, and spares that do not fit. Returns the spares that stay.
fn tidy(directory: &Directory, segment_bytes: u64, walked: &Walked) -> io::Result<Vec<Spare>> {
    directory.remove_unfinished()?;
    let end = walked.end.map_or(0, |end| end.number);
    let mut kept = Vec::new();
    for spare in walked.spares.iter().copied() {
        let path = directory.spare(spare);
        let fits = std::fs::metadata(&path)?.len() == segment_bytes;
        // A spare with a number that a segment could still get may hold groups under it.
        let is_old = match spare {
            Spare::Recycled(number) => number < end,
            Spare::Zeros(_) => true,
        };
        if fits && is_old {
            kept.push(spare);
        } else {
            remove_if_there(&path)?;
        }
    }
    Ok(kept)
}

fn write_all_vectored(file: &File, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut parts = parts;
    while parts.iter().any(|part| !part.is_empty()) {
        match rustix::io::pwritev(file, parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
