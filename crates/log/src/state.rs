//! The side file: what is known about a store besides its data. Replaced as a whole.
//!
//! One copy, not two: a new version is a new file that takes the old one's name only after it is
//! durable, so there is always one whole file. A file whose checksum is wrong was damaged, not
//! torn, and a second copy that is one write older would answer with less than was acknowledged.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Format of the data directory that this version writes, and the newest one it reads.
pub const STATE_FORMAT: u32 = 1;

const NAME: &str = "state";
const UNFINISHED: &str = "state.tmp";
const MAGIC: [u8; 8] = *b"kv-state";
const CLEAN: u32 = 1;
const BYTES: usize = 60;
const _: () = assert!(8 + 4 + 4 + 16 + 8 + 8 + 8 + 4 == BYTES);

/// What the side file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Format of the whole data directory.
    pub format: u32,
    /// Tells the files of this store from those of others.
    pub store_id: [u8; 16],
    /// Everything up to this position is in the base.
    pub carried: u64,
    /// Everything up to this position was acknowledged: recovery must reach it.
    pub acknowledged: u64,
    /// The store's clock was never behind this, in milliseconds.
    pub clock_ms: u64,
    /// Whether the store was closed, so that `acknowledged` is the last position there is.
    pub clean: bool,
}

/// Why there is no state to go by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The side file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{} is damaged: keep a copy of the data directory, then restore a backup",
        path.display()
    )]
    Corrupt {
        /// The side file.
        path: PathBuf,
    },
    /// The directory was written by a version that knows more than this one.
    #[error(
        "{} has format {found}, and this version reads up to {STATE_FORMAT}: open it with the \
         version that wrote it, or a later one",
        path.display()
    )]
    NewerFormat {
        /// The side file.
        path: PathBuf,
        /// The directory's format.
        found: u32,
    },
}

/// Writes the side file of one data directory.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    unfinished: PathBuf,
    directory: File,
}

impl StateFile {
    /// For the data directory `dir`, which must exist.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            path: dir.join(NAME),
            unfinished: dir.join(UNFINISHED),
            directory: File::open(dir)?,
        })
    }

    /// What the side file of `dir` says; nothing when there is none, as in a new directory.
    ///
    /// # Errors
    /// [`StateError`]; nothing of a damaged file is believed.
    pub fn load(dir: &Path) -> Result<Option<State>, StateError> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { path, source }),
        };
        match State::decode(&bytes) {
            Some(state) if state.format > STATE_FORMAT => Err(StateError::NewerFormat {
                path,
                found: state.format,
            }),
            Some(state) if state.format > 0 && bytes.len() == BYTES => Ok(Some(state)),
            _ => Err(StateError::Corrupt { path }),
        }
    }

    /// Replaces what the side file says; durable when it returns.
    ///
    /// # Errors
    /// What the file system said. The file says then what it said before, or the new state.
    pub fn store(&self, state: &State) -> io::Result<()> {
        let mut file = File::create(&self.unfinished)?;
        file.write_all(&state.encode())?;
        file.sync_data()?;
        fs::rename(&self.unfinished, &self.path)?;
        self.directory.sync_all()
    }
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let flags = if self.clean { CLEAN } else { 0 };
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.format.to_be_bytes());
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.carried.to_be_bytes());
        bytes.extend_from_slice(&self.acknowledged.to_be_bytes());
        bytes.extend_from_slice(&self.clock_ms.to_be_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The checksum is the last four bytes in every format, so that a newer one can be told from
    /// a damaged one.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut fields = crate::format::Fields::new(covered);
        if fields.array()? != MAGIC {
            return None;
        }
        let format = fields.u32()?;
        let flags = fields.u32()?;
        let is_known = format > STATE_FORMAT || flags & !CLEAN == 0;
        is_known.then_some(())?;
        Some(Self {
            format,
            store_id: fields.array()?,
            carried: fields.u64()?,
            acknowledged: fields.u64()?,
            clock_ms: fields.u64()?,
            clean: flags & CLEAN != 0,
        })
    }
}
