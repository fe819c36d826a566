//! Where a long output goes: standard output, or a file that takes its place when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Access, open_new};
use crate::error::CliError;

const BUFFER_BYTES: usize = 1 << 16;

/// An output. Dropped before [`Target::finish`], it leaves nothing behind.
pub(crate) struct Target {
    out: Option<BufWriter<Box<dyn Write + Send>>>,
    /// The file, the one beside it that is written, and a handle to sync that.
    file: Option<(PathBuf, PathBuf, File)>,
}

impl Target {
    /// `-` is standard output; what exists and is no plain file (a pipe, a device) is written to.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self::of(Box::new(io::stdout()), None));
        }
        let failed = |error: io::Error| CliError::file("write", path, &error);
        let special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        if special {
            let out = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(failed)?;
            return Ok(Self::of(Box::new(out), None));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let beside = path.with_file_name(name);
        // Entries are for those who may read the store.
        let file = open_new(&beside, Access::Private).map_err(failed)?;
        let handle = file.try_clone().map_err(failed)?;
        let file = (path.to_owned(), beside, handle);
        let out = file.2.try_clone().map_err(failed)?;
        Ok(Self::of(Box::new(out), Some(file)))
    }

    fn of(out: Box<dyn Write + Send>, file: Option<(PathBuf, PathBuf, File)>) -> Self {
        let out = Some(BufWriter::with_capacity(BUFFER_BYTES, out));
        Self { out, file }
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = match &mut self.out {
            Some(out) => out.write_all(bytes),
            None => Ok(()),
        };
        written.map_err(|error| self.failed(error))
    }

    /// Makes it durable and puts it in its place.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.put_in_place().map_err(|error| self.failed(error))?;
        self.file = None;
        Ok(())
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            out.flush()?;
        }
        let Some((path, beside, handle)) = &self.file else {
            return Ok(());
        };
        handle.sync_all()?;
        fs::rename(beside, path)?;
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, error: io::Error) -> CliError {
        match &self.file {
            Some((path, ..)) => CliError::file("write", path, &error),
            None => error.into(),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((_, beside, _)) = &self.file {
            // It is there unless it was put in its place.
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let mut target = Target::open(&path).unwrap();
        target.write(b"half").unwrap();
        drop(target);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let mut target = Target::open(&path).unwrap();
        target.write(b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        target.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
