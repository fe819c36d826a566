//! Names in the log directory: segments, spares, and files that are being made.
//!
//! Invariant: no file holds groups of a segment numbered above its own name, so a new segment with
//! the next number finds nothing valid in any spare.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const SEGMENT: &str = "log";
const RECYCLED: &str = "spare";
const ZEROS: &str = "zeros";
/// A fresh segment before it has its header; no spare was ready.
const FRESH: &str = "fresh.tmp";
/// A spare that is being filled with zeros.
const PREPARED: &str = "prepared.tmp";

/// A file that waits to become a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    /// Was the segment with this number, and holds its groups still.
    Recycled(u64),
    /// Zeros; the number is only a name, taken once in the life of a [`Log`](crate::Log).
    Zeros(u64),
}

/// The log directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

/// What stands in it, in the order of numbers.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<u64>,
    pub(crate) spares: Vec<Spare>,
}

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }

    /// Makes the directory if it is absent, so that it outlives a power cut.
    pub(crate) fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Ok(()) => match self.path.parent() {
                Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
                _ => File::open(".")?.sync_all(),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{SEGMENT}"))
    }

    pub(crate) fn spare(&self, spare: Spare) -> PathBuf {
        let (number, kind) = match spare {
            Spare::Recycled(number) => (number, RECYCLED),
            Spare::Zeros(number) => (number, ZEROS),
        };
        self.path.join(format!("{number:020}.{kind}"))
    }

    pub(crate) fn fresh(&self) -> PathBuf {
        self.path.join(FRESH)
    }

    pub(crate) fn prepared(&self) -> PathBuf {
        self.path.join(PREPARED)
    }

    /// Files with other names are left alone.
    pub(crate) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some((number, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let is_number = number.len() == 20 && number.bytes().all(|c| c.is_ascii_digit());
            let (true, Ok(number)) = (is_number, number.parse()) else {
                continue;
            };
            match kind {
                SEGMENT => listing.segments.push(number),
                RECYCLED => listing.spares.push(Spare::Recycled(number)),
                ZEROS => listing.spares.push(Spare::Zeros(number)),
                _ => {}
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }

    /// Makes the names durable, as they are now.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Removes what an interrupted rotation or preparation left.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        remove_if_there(&self.fresh())?;
        remove_if_there(&self.prepared())
    }
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
