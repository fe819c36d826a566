//! One process has a data directory at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const NAME: &str = "LOCK";

/// Keeps other processes out of a data directory until it is dropped, or the process ends.
#[derive(Debug)]
pub struct DirLock {
    /// The lock belongs to the open file.
    _file: File,
}

/// Why the directory was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by another process: stop it first, or choose another directory",
        path.display()
    )]
    Taken {
        /// The data directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The file that carries the lock.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DirLock {
    /// Takes the directory `dir`, which must exist, or says at once who has it.
    ///
    /// # Errors
    /// [`LockError::Taken`] while another process, or another lock of this one, holds it.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = match file {
            Ok(file) => file,
            Err(source) => return Err(LockError::Io { path, source }),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Taken {
                path: dir.to_path_buf(),
            }),
            Err(error) => Err(LockError::Io {
                path,
                source: error.into(),
            }),
        }
    }
}
