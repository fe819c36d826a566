//! Files that hold a key: one line of hex digits.
//!
//! Owns reading and judging them. Invariant: nothing read here is ever shown, in no error and no log.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kv_service::{SECRET_BYTES_MIN, Secret};
use zeroize::Zeroizing;

/// A key file has one line; a file longer than this is something else.
const FILE_BYTES_MAX: u16 = 4096;

/// Why a key file cannot be used. None of these shows what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the key file {} is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Something that is no hex digit.
    #[error("the key file {} is damaged: it must hold one line of hex digits", path.display())]
    NotHex {
        /// Which file.
        path: PathBuf,
    },
    /// Too large to be a key.
    #[error("the file {} has more than {FILE_BYTES_MAX} bytes, so it is no key file", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// Too few digits.
    #[error(
        "the key file {} holds {digits} hex digits, a key has at least {}",
        path.display(),
        SECRET_BYTES_MIN * 2
    )]
    TooShort {
        /// Which file.
        path: PathBuf,
        /// How many digits it holds.
        digits: usize,
    },
}

impl SecretFileError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Empty { .. }
            | Self::NotHex { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. } => Some("`kv-cli keygen` writes a key file"),
        }
    }
}

/// A key, and how its file is guarded.
#[derive(Debug)]
pub struct SecretFile {
    /// The key.
    pub secret: Secret,
    /// The permission bits of the file, when others than its owner may read or write it.
    pub loose_mode: Option<u32>,
}

/// Reads a key file.
///
/// # Errors
/// [`SecretFileError`] when it is missing, empty, damaged or holds too short a key.
pub fn read_secret_file(path: &Path) -> Result<SecretFile, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened: opening a pipe would wait for whoever writes into it.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(unreadable(why));
    }
    if metadata.len() > FILE_BYTES_MAX.into() {
        return Err(SecretFileError::TooLong {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(unreadable)?;
    // Reserved at once, so that no copy of the digits stays behind in a buffer that grew.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX.into()));
    file.take(FILE_BYTES_MAX.into())
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    let secret = decode(path, text.trim_ascii())?;
    Ok(SecretFile {
        secret,
        loose_mode: loose_mode(&metadata),
    })
}

fn decode(path: &Path, text: &[u8]) -> Result<Secret, SecretFileError> {
    let path = || path.to_owned();
    if text.is_empty() {
        return Err(SecretFileError::Empty { path: path() });
    }
    if !text.iter().all(u8::is_ascii_hexdigit) {
        return Err(SecretFileError::NotHex { path: path() });
    }
    let digits = text.len();
    let too_short = || SecretFileError::TooShort {
        path: path(),
        digits,
    };
    if digits < SECRET_BYTES_MIN * 2 {
        return Err(too_short());
    }
    if digits % 2 == 1 {
        return Err(SecretFileError::NotHex { path: path() });
    }
    let mut bytes = Vec::with_capacity(digits / 2);
    for pair in text.chunks_exact(2) {
        let byte = pair
            .iter()
            .fold(0, |byte, digit| byte << 4 | nibble(*digit));
        bytes.push(byte);
    }
    Secret::new(bytes).map_err(|_| too_short())
}

/// The value of a hex digit, without a table and without a branch on its class.
fn nibble(digit: u8) -> u8 {
    (digit & 0x0F) + 9 * (digit >> 6)
}

#[cfg(unix)]
pub(crate) fn loose_mode(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
pub(crate) fn loose_mode(_: &std::fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Secret, SecretFileError> {
        decode(Path::new("a.key"), text.as_bytes().trim_ascii())
    }

    #[test]
    fn hex_of_both_cases_is_read() {
        let secret = decoded(&format!("{}\n", "0aF9".repeat(16))).unwrap();
        assert_eq!(secret.expose(), [0x0A, 0xF9].repeat(16));
    }

    #[test]
    fn empty_damaged_and_short_files_are_told_apart() {
        assert!(matches!(decoded(" \n"), Err(SecretFileError::Empty { .. })));
        assert!(matches!(
            decoded(&"zz".repeat(32)),
            Err(SecretFileError::NotHex { .. })
        ));
        assert!(matches!(
            decoded(&"a".repeat(65)),
            Err(SecretFileError::NotHex { .. })
        ));
        let two_lines = format!("{}\n{}", "a".repeat(64), "b".repeat(64));
        assert!(matches!(
            decoded(&two_lines),
            Err(SecretFileError::NotHex { .. })
        ));
        let short = decoded(&"a".repeat(63));
        assert!(matches!(
            short,
            Err(SecretFileError::TooShort { digits: 63, .. })
        ));
    }

    #[test]
    fn an_error_never_shows_the_contents() {
        let error = decoded("deadbeef").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("deadbeef"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_reported() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.key");
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        for (mode, loose) in [(0o600, None), (0o400, None), (0o640, Some(0o640))] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret_file(&path).unwrap().loose_mode, loose);
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for (digits, fits) in [(4096, true), (4098, false)] {
            std::fs::write(&path, "a".repeat(digits)).unwrap();
            assert_eq!(read_secret_file(&path).is_ok(), fits, "{digits}");
        }
        let missing = read_secret_file(&dir.path().join("none.key"));
        assert!(matches!(missing, Err(SecretFileError::Unreadable { .. })));
        assert!(matches!(
            read_secret_file(dir.path()),
            Err(SecretFileError::Unreadable { .. })
        ));
    }
}
