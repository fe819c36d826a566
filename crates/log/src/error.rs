//! What can be wrong with a log, as the operator is told: which file, where, and what to do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why a log was not opened, or did not stand the check. None of these changes a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused. Whether trying again helps depends on `source`.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were durable are not what they were.
    #[error(
        "{} is damaged at byte {offset}: {what}. Writes that were acknowledged are lost or \
         unreadable: keep a copy of the data directory, then restore a backup",
        path.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where reading had to stop.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// A segment between two others is gone.
    #[error(
        "{} is missing, and writes in it are not in the base yet: put the file back, or restore a \
         backup",
        path.display()
    )]
    MissingSegment {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The oldest segment begins behind what is needed.
    #[error(
        "{} begins with position {found}, and positions from {needed} on are needed: put the \
         segments before it back, or restore a backup",
        path.display()
    )]
    MissingStart {
        /// The oldest segment there is.
        path: PathBuf,
        /// The first position to be read.
        needed: u64,
        /// The first position there is.
        found: u64,
    },
    /// The segment was written by a version that knows more than this one.
    #[error(
        "{} has format {found}, and this version reads up to {}: open it with the version that \
         wrote it, or a later one",
        path.display(),
        crate::FORMAT
    )]
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The segment belongs to another store.
    #[error(
        "{} belongs to another store: a file of another data directory was put here; take it away",
        path.display()
    )]
    Foreign {
        /// The segment.
        path: PathBuf,
    },
    /// Who was shown a group refused it.
    #[error("{} at byte {offset}: {source}", path.display())]
    Visit {
        /// The segment.
        path: PathBuf,
        /// Where the refused group begins.
        offset: u64,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The header is durable before the file gets its name, so no crash leaves a bad one.
    #[error("the segment's header is not valid")]
    Header,
    /// Groups end before the next segment begins.
    #[error(
        "the group with position {expected} is not valid, and the next segment begins with {next}"
    )]
    EndsEarly {
        /// The first position that cannot be read.
        expected: u64,
        /// The first position of the next segment.
        next: u64,
    },
    /// The next segment begins in the middle of a group of this one.
    #[error("a group reaches to position {last}, and the next segment begins with {next}")]
    Overlap {
        /// The last position of the group.
        last: u64,
        /// The first position of the next segment.
        next: u64,
    },
    /// A group behind the bad one tells that the bad one was durable.
    #[error(
        "the group with position {expected} is not valid, and the group at byte {witness} was \
         written after it had been synced"
    )]
    LostGroup {
        /// The first position that cannot be read.
        expected: u64,
        /// Where the header stands that proves it.
        witness: u64,
    },
}

impl LogError {
    /// For `map_err`: an error of the file system, with what it happened to.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: Damage) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            offset,
            what,
        }
    }
}
