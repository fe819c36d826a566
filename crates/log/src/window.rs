//! Reads a file through a buffer that never grows beyond what the file holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once when less is asked for.
const READ_AHEAD: u64 = 1 << 20;

/// A file and the part of it that is in memory.
pub(crate) struct Window {
    file: File,
    /// Length of the file when it was opened.
    end: u64,
    /// Where `bytes` stands in the file.
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self {
            file,
            end,
            start: 0,
            bytes: Vec::new(),
        })
    }

    /// Length of the file.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `length` bytes from `offset` on; nothing when the file ends before. Memory is asked for
    /// only after that comparison.
    pub(crate) fn get(&mut self, offset: u64, length: u64) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(length).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        if !self.holds(offset, length) {
            let length = length.max(READ_AHEAD).min(self.end - offset);
            let length = usize::try_from(length).map_err(io::Error::other)?;
            // Emptied first: a read that fails must not leave bytes under a wrong offset.
            self.bytes.clear();
            self.start = offset;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(length, 0);
            self.file.read_exact_at(&mut bytes, offset)?;
            self.bytes = bytes;
        }
        let from = usize::try_from(offset - self.start).map_err(io::Error::other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        Ok(self.bytes.get(from..).and_then(|bytes| bytes.get(..length)))
    }

    fn holds(&self, offset: u64, length: u64) -> bool {
        offset >= self.start && offset - self.start + length <= self.bytes.len() as u64
    }
}
