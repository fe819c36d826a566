//! Gives segments back and makes spares, beside the writer and without holding it up.
//!
//! Invariant: `sealed` and `spares` name files whose names are durable; a spare is offered only
//! after that, so that no power cut can undo the name of a file the writer has begun to fill.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::directory::{Directory, Spare, remove_if_there};
use crate::format::Position;
use crate::segment;

/// Spares kept; more segments that are given back are removed.
const SPARES_MAX: usize = 2;

/// A segment before the one being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    pub(crate) last: Position,
    /// Bytes of its groups.
    pub(crate) used: u64,
    pub(crate) file_bytes: u64,
}

#[derive(Debug)]
struct Files {
    sealed: VecDeque<Sealed>,
    spares: Vec<Spare>,
}

/// What writer and caretaker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) segment_bytes: u64,
    files: Mutex<Files>,
    /// Held while files are renamed, removed or made; the writer never waits for it.
    upkeep: Mutex<()>,
    live_bytes: AtomicU64,
    /// Names the next spare of zeros. Never the name of one that the writer may just be renaming.
    zeros: AtomicU64,
}

impl Shared {
    pub(crate) fn new(directory: Directory, segment_bytes: u64, spares: Vec<Spare>) -> Self {
        let zeros = spares.iter().filter_map(|spare| match spare {
            Spare::Zeros(number) => number.checked_add(1),
            Spare::Recycled(_) => None,
        });
        let zeros = AtomicU64::new(zeros.max().unwrap_or(1));
        let sealed = VecDeque::new();
        Self {
            directory,
            segment_bytes,
            files: Mutex::new(Files { sealed, spares }),
            upkeep: Mutex::new(()),
            live_bytes: AtomicU64::new(0),
            zeros,
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // Nothing panics while it is held; the lists are whole at each step.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seal(&self, segment: Sealed) {
        self.files().sealed.push_back(segment);
    }

    pub(crate) fn take_spare(&self) -> Option<Spare> {
        self.files().spares.pop()
    }

    pub(crate) fn sealed_count(&self) -> usize {
        self.files().sealed.len()
    }

    pub(crate) fn grew(&self, bytes: u64) {
        self.live_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }
}

/// Looks after the files of a log, from a thread in the background. Clones share their state.
#[derive(Clone, Debug)]
pub struct Caretaker(Arc<Shared>);

impl Caretaker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Gives back every segment that holds nothing behind `through`, but never the one being
    /// written. Up to two are kept as spares, the others are removed; this is durable when it
    /// returns.
    ///
    /// Everything up to `through` must be durable elsewhere before, and `through` must be what the
    /// log is opened with next time, or less than it.
    ///
    /// # Errors
    /// What the file system said. The segments that were not reached stay, and a later call gives
    /// them back.
    pub fn release(&self, through: Position) -> io::Result<()> {
        let _upkeep = self.upkeep();
        let mut spares = Vec::new();
        let result = self.release_each(through, &mut spares);
        // Also after an error: what was renamed before it is a spare.
        if !spares.is_empty() || result.as_ref().is_ok_and(|released| *released > 0) {
            self.0.directory.sync()?;
        }
        self.0.files().spares.extend(spares);
        result.map(drop)
    }

    fn release_each(&self, through: Position, spares: &mut Vec<Spare>) -> io::Result<usize> {
        let directory = &self.0.directory;
        let mut released = 0;
        loop {
            let (segment, spares_before) = {
                let files = self.0.files();
                match files.sealed.front() {
                    Some(front) if front.last <= through => (*front, files.spares.len()),
                    _ => return Ok(released),
                }
            };
            let path = directory.segment(segment.number);
            // A file of another size has blocks that were never written, or too many.
            if segment.file_bytes == self.0.segment_bytes
                && spares_before + spares.len() < SPARES_MAX
            {
                let spare = Spare::Recycled(segment.number);
                fs::rename(&path, directory.spare(spare))?;
                spares.push(spare);
            } else {
                remove_if_there(&path)?;
            }
            self.0.files().sealed.pop_front();
            self.0.live_bytes.fetch_sub(segment.used, Ordering::Relaxed);
            released += 1;
        }
    }

    /// Makes a spare ready if there is none, and tells whether it made one: a file of zeros that
    /// were written, so that a sync of what is appended to it has no metadata to write. Takes as
    /// long as the disk needs for a segment.
    ///
    /// # Errors
    /// What the file system said, above all that it is full. Nothing is left behind, and the log
    /// goes on: without a spare it begins an empty file that grows.
    pub fn prepare(&self) -> io::Result<bool> {
        let _upkeep = self.upkeep();
        if self.spare_count() > 0 {
            return Ok(false);
        }
        let directory = &self.0.directory;
        let path = directory.prepared();
        let spare = Spare::Zeros(self.0.zeros.fetch_add(1, Ordering::Relaxed));
        let made = File::create(&path)
            .and_then(|file| segment::fill(&file, self.0.segment_bytes))
            .and_then(|()| fs::rename(&path, directory.spare(spare)))
            .and_then(|()| directory.sync());
        if let Err(error) = made {
            remove_if_there(&path).ok();
            return Err(error);
        }
        self.0.files().spares.push(spare);
        Ok(true)
    }

    fn upkeep(&self) -> MutexGuard<'_, ()> {
        self.0.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on disk of the segments before the one being written.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        let files = self.0.files();
        files.sealed.iter().map(|sealed| sealed.file_bytes).sum()
    }

    /// Last position in the segments before the one being written; 0 when there are none.
    #[must_use]
    pub fn sealed_through(&self) -> Position {
        self.0.files().sealed.back().map_or(0, |sealed| sealed.last)
    }

    /// Bytes of groups that were appended and not given back.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.0.live_bytes()
    }

    /// Files that wait to become segments.
    #[must_use]
    pub fn spare_count(&self) -> usize {
        self.0.files().spares.len()
    }

    /// Segments, the one being written included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.0.sealed_count() + 1
    }
}
