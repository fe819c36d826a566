//! Makes segment files: of a spare, or fresh.
//!
//! Invariant: a file gets the name of a segment only after its header is durable, and the name is
//! durable before the first group goes in. So no crash leaves a segment with a bad header.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use crate::directory::{Directory, Spare};
use crate::format::SegmentHeader;

/// A segment that was not made, and whether another attempt may be made.
#[derive(Debug)]
pub(crate) struct NotMade {
    pub(crate) error: io::Error,
    /// Whether the file may stand in the directory in spite of the error.
    pub(crate) may_be_there: bool,
}

/// Makes the segment `header` tells of, with no group in it: of `spare`, or fresh when there is
/// none or it cannot be used.
pub(crate) fn make(
    directory: &Directory,
    spare: Option<Spare>,
    header: SegmentHeader,
) -> Result<File, NotMade> {
    if let Some(spare) = spare {
        match make_of(directory, Some(spare), header) {
            // What is left of the spare is removed when the log is opened again.
            Err(not_made) if !not_made.may_be_there => {}
            result => return result,
        }
    }
    make_of(directory, None, header)
}

fn make_of(
    directory: &Directory,
    spare: Option<Spare>,
    mut header: SegmentHeader,
) -> Result<File, NotMade> {
    let before = |error| NotMade {
        error,
        may_be_there: false,
    };
    let after = |error| NotMade {
        error,
        may_be_there: true,
    };
    header.recycled = matches!(spare, Some(Spare::Recycled(_)));
    let path = spare.map_or_else(|| directory.fresh(), |spare| directory.spare(spare));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(spare.is_none())
        .truncate(spare.is_none())
        .open(&path)
        .map_err(before)?;
    file.write_all_at(&header.encode(), 0).map_err(before)?;
    file.sync_data().map_err(before)?;
    fs::rename(&path, directory.segment(header.number)).map_err(after)?;
    directory.sync().map_err(after)?;
    Ok(file)
}

/// Writes `from..to` of `file` again, as it reads.
///
/// After an fsync that failed, pages may read well from memory that the disk does not hold, and a
/// later fsync says nothing about them; written again, it does.
pub(crate) fn write_again(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(chunk, at)?;
        file.write_all_at(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

/// Fills `file` with zeros, durably, a part at a time: one large sync would hold up the writer's.
pub(crate) fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < bytes {
        let wanted = usize::try_from(bytes - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let chunk = zeros.get(..wanted).unwrap_or_default();
        file.write_all_at(chunk, at)?;
        file.sync_data()?;
        at += chunk.len() as u64;
    }
    file.sync_all()
}

const CHUNK_BYTES: usize = 1 << 20;
