//! What is checked before fjall may open its files.
//!
//! fjall trusts some of what it reads: the list of tables has a checksum it never compares, a
//! batch's sequence number has none, a torn tail can keep it from opening at all, and a directory
//! its own catalogue does not name is deleted. So the marker, the lists of tables and the journals
//! are checked here first. After this module, fjall replays exactly the batches that were found
//! whole, and only the end of the last journal may have been cut.

mod journal;
mod manifest;
mod marker;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::BaseError;
use crate::quiet;

pub(crate) use journal::JournalReport;

/// Directory of fjall's trees: 0 is its own catalogue, then ours in the order they are made.
const TREES: &str = "keyspaces";

/// What fjall's file `version` holds.
const FJALL_VERSION: &[u8] = b"FJL\x03";

/// fjall's number of `meta`, the third keyspace that is made.
const META_TREE: u64 = 3;

/// A base that may be opened; holds the lock on it.
pub(crate) struct Guarded {
    pub(crate) marker: File,
    pub(crate) journals: JournalReport,
}

/// Whether there is a base in `dir`: an empty or missing directory holds none.
pub(crate) fn present(dir: &Path) -> Result<bool, BaseError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BaseError::from_io(error, "read the directory of the base")),
    }
}

/// Checks the base in `dir`, locks it and cuts a torn tail off its last journal.
pub(crate) fn inspect(dir: &Path, store_id: &[u8; 16]) -> Result<Guarded, BaseError> {
    let marker = marker::open(dir, store_id)?;
    // Without this file fjall would begin a new database among the files of this one.
    let version = fs::read(dir.join("version"))
        .map_err(|error| BaseError::from_io(error, "read fjall's version of the base"))?;
    if version != FJALL_VERSION {
        return Err(BaseError::corrupt("fjall's version of the base is damaged"));
    }
    for tree in 0..=META_TREE {
        manifest::inspect(&dir.join(TREES).join(tree.to_string()), tree)?;
    }
    let journals = journal::inspect(dir)?;
    Ok(Guarded { marker, journals })
}

/// Makes a base in `dir` by `fill`ing a directory beside it and renaming that: a base is there
/// whole or not at all.
pub(crate) fn create(
    dir: &Path,
    store_id: &[u8; 16],
    fill: impl FnOnce(&Path) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let doing = "make the base";
    let io = |error| BaseError::from_io(error, doing);
    let beside = beside(dir);
    match fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    fs::create_dir_all(&beside).map_err(io)?;
    quiet::caught(doing, || fill(&beside))?;
    marker::write(&beside, store_id).map_err(io)?;
    sync_directory(&beside).map_err(io)?;
    fs::rename(&beside, dir).map_err(io)?;
    sync_directory(dir.parent().unwrap_or(Path::new("."))).map_err(io)
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    dir.with_file_name(name)
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir)?.sync_all()
}
