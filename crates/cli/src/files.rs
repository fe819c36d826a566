//! Where the program keeps its files, and how it writes them: the XDG base directories, private
//! modes, whole files or none.

mod target;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{CliError, Code};
pub(crate) use target::Target;

/// `$XDG_CONFIG_HOME/kv`, else `~/.config/kv`.
pub(crate) fn config_dir() -> Result<PathBuf, CliError> {
    base_dir("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_STATE_HOME/kv`, else `~/.local/state/kv`.
pub(crate) fn state_dir() -> Result<PathBuf, CliError> {
    base_dir("XDG_STATE_HOME", ".local/state")
}

fn base_dir(variable: &str, below_home: &str) -> Result<PathBuf, CliError> {
    below(
        std::env::var_os(variable),
        std::env::var_os("HOME"),
        below_home,
    )
    .ok_or_else(|| {
        CliError::new(Code::FILE, "there is no home directory")
            .hint(format!("set HOME, or {variable} to an absolute path"))
    })
}

/// A relative base directory is to be ignored, says the XDG specification.
fn below(base: Option<OsString>, home: Option<OsString>, below_home: &str) -> Option<PathBuf> {
    base.map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            home.filter(|home| !home.is_empty())
                .map(|home| PathBuf::from(home).join(below_home))
        })
        .map(|path| path.join("kv"))
}

/// Makes a directory, and those above it, for this user alone.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), CliError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| CliError::file("create directory", path, &error))
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// This user alone.
    Private,
    /// Everybody, as far as the umask allows.
    Public,
}

/// Makes a file that was not there, and writes it whole.
pub(crate) fn create_new(path: &Path, access: Access, content: &[u8]) -> io::Result<()> {
    let mut file = open_new(path, access)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Puts a file in the place of the one that is there, if any: readers see the old or the new one.
pub(crate) fn replace(path: &Path, access: Access, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = create_new(&beside, access, content).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn open_new(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_directories_follow_the_variables_unless_they_are_relative() {
        let some = |text: &str| Some(OsString::from(text));
        let dir = |base, home| below(base, home, ".config");
        assert_eq!(dir(some("/c"), some("/h")), Some("/c/kv".into()));
        assert_eq!(dir(some("c"), some("/h")), Some("/h/.config/kv".into()));
        assert_eq!(dir(None, some("/h")), Some("/h/.config/kv".into()));
        assert_eq!(dir(None, some("")), None);
        assert_eq!(dir(None, None), None);
    }

    #[test]
    fn a_file_is_replaced_whole_and_never_overwritten_by_create() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, Access::Private, b"one").unwrap();
        assert_eq!(
            create_new(&path, Access::Private, b"two")
                .unwrap_err()
                .kind(),
            io::ErrorKind::AlreadyExists
        );
        replace(&path, Access::Private, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
