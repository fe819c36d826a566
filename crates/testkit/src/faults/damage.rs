//! Files that are not as their program left them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies a directory with all that is below it; `to` is made. Zeros at the end of a file become a
/// hole, as the original may have it.
///
/// # Errors
/// What reading or writing fails with.
pub fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            let mut bytes = fs::read(entry.path())?;
            let len = bytes.len() as u64;
            bytes.truncate(trimmed(&bytes));
            fs::write(&target, &bytes)?;
            cut(&target, len)?;
        }
    }
    Ok(())
}

/// Every file below a directory with its length, relative to it, in order of their names.
///
/// # Errors
/// What reading the directory fails with.
pub fn files_below(directory: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    collect(directory, Path::new(""), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(root: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push((path, entry.metadata()?.len()));
        }
    }
    Ok(())
}

/// Changes the bits of one byte that `mask` has.
///
/// # Errors
/// What reading or writing fails with; `InvalidInput` when the file ends before it.
pub fn flip(file: &Path, at: u64, mask: u8) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
    let mut file = fs::OpenOptions::new().read(true).write(true).open(file)?;
    file.seek(SeekFrom::Start(at))?;
    let mut byte = [0];
    file.read_exact(&mut byte)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ mask])
}

/// Cuts a file off; a shorter one becomes longer, with zeros.
///
/// # Errors
/// What the system refuses it with.
pub fn cut(file: &Path, len: u64) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.set_len(len)
}

/// Writes other bytes over the end of a file, from `at` on.
///
/// # Errors
/// What writing fails with.
pub fn garble(file: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let mut file = fs::OpenOptions::new().write(true).open(file)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// Where the last byte of a file that is not zero is, counted from 1; 0 when there is none. Files
/// may have been made longer than what is written in them.
///
/// # Errors
/// What reading fails with.
pub fn written(file: &Path) -> io::Result<u64> {
    Ok(trimmed(&fs::read(file)?) as u64)
}

/// How much is left without the zeros at the end.
fn trimmed(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_damaged_and_the_original_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("log")).unwrap();
        fs::write(from.join("log/1"), b"abc\0\0").unwrap();
        fs::write(from.join("state"), b"s").unwrap();
        copy_directory(&from, &to).unwrap();
        let files = [(PathBuf::from("log/1"), 5), (PathBuf::from("state"), 1)];
        assert_eq!(files_below(&to).unwrap(), files);
        assert_eq!(written(&to.join("log/1")).unwrap(), 3);
        flip(&to.join("log/1"), 1, 1).unwrap();
        assert_eq!(fs::read(to.join("log/1")).unwrap(), b"acc\0\0");
        assert!(flip(&to.join("state"), 1, 1).is_err());
        cut(&to.join("log/1"), 2).unwrap();
        garble(&to.join("log/1"), 1, b"xyz").unwrap();
        assert_eq!(fs::read(to.join("log/1")).unwrap(), b"axyz");
        assert_eq!(fs::read(from.join("log/1")).unwrap(), b"abc\0\0");
    }
}
