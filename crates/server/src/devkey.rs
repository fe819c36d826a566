//! The key of a server that nobody configured one for: made once, found again by clients of the same
//! account.
//!
//! Owns its place, its making and its reading. Invariant: the file never exists without its whole
//! contents under its final name, and an existing one is never overwritten.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kv_service::{SECRET_BYTES_MIN, Secret};
use zeroize::Zeroizing;

use crate::config::{SecretFileError, read_secret_file};

/// The id of that key, and the identity it stands for.
pub const DEV_KEY_ID: &str = "dev";

/// The key, and what happened.
#[derive(Debug)]
pub struct DevKey {
    /// Where it is.
    pub path: PathBuf,
    /// The key.
    pub secret: Secret,
    /// Whether this start made it.
    pub created: bool,
    /// The permission bits of the file, when others than its owner may use it.
    pub loose_mode: Option<u32>,
}

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
pub enum DevKeyError {
    /// Neither variable says where state belongs.
    #[error(
        "no key is configured, and neither XDG_STATE_HOME nor HOME says where to keep one; set one \
         of them or add an [[auth.keys]] entry"
    )]
    NoPlace,
    /// The file or its directory cannot be made.
    #[error("cannot make the key file {}: {source}", path.display())]
    Create {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// There is a file, and it holds no key. It is left alone: a client may still hold its contents.
    #[error("{0}; delete it, and the next start makes a new one")]
    Unusable(SecretFileError),
}

/// Where the key is: `$XDG_STATE_HOME/kv/dev.key`, else `~/.local/state/kv/dev.key`.
#[must_use]
pub fn default_path(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    Some(state_directory(environment)?.join("dev.key"))
}

/// Where this account keeps what a server needs again: `$XDG_STATE_HOME/kv`, else
/// `~/.local/state/kv`.
pub(crate) fn state_directory(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        environment(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("kv"))
}

/// Reads the key, or makes it when there is none.
///
/// # Errors
/// [`DevKeyError`]; an existing file that holds no key is an error and stays as it is.
pub fn load_or_create(path: &Path) -> Result<DevKey, DevKeyError> {
    match read_secret_file(path) {
        Err(SecretFileError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            let created = create(path)?;
            read(path, created)
        }
        Ok(file) => Ok(DevKey {
            path: path.to_owned(),
            secret: file.secret,
            created: false,
            loose_mode: file.loose_mode,
        }),
        Err(error) => Err(DevKeyError::Unusable(error)),
    }
}

fn read(path: &Path, created: bool) -> Result<DevKey, DevKeyError> {
    let file = read_secret_file(path).map_err(DevKeyError::Unusable)?;
    let (secret, loose_mode) = (file.secret, file.loose_mode);
    Ok(DevKey {
        path: path.to_owned(),
        secret,
        created,
        loose_mode,
    })
}

/// Makes the file; `false` when another process made it in the meantime.
fn create(path: &Path) -> Result<bool, DevKeyError> {
    let failed = |source| DevKeyError::Create {
        path: path.to_owned(),
        source,
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    private_directory().create(directory).map_err(failed)?;

    let mut random = Zeroizing::new([0; SECRET_BYTES_MIN]);
    getrandom::fill(&mut *random).map_err(DevKeyError::Random)?;
    let mut line = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MIN * 2 + 1));
    for byte in *random {
        line.extend([byte >> 4, byte & 0x0F].map(hex_digit));
    }
    line.push(b'\n');

    // Written aside and linked to its name: whoever sees the name sees the whole key, also after a
    // crash, and a link never replaces what is there.
    let aside = directory.join(format!(".dev.key.{}", std::process::id()));
    let linked = write_private(&aside, &line).and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match linked {
        Ok(()) => {
            removed.map_err(failed)?;
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    }
}

/// Makes directories for their owner alone.
pub(crate) fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_key_and_the_second_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/kv/dev.key");
        let first = load_or_create(&path).unwrap();
        assert!(first.created && first.loose_mode.is_none());
        assert_eq!(first.secret.expose().len(), SECRET_BYTES_MIN);
        let second = load_or_create(&path).unwrap();
        assert!(!second.created && second.secret.same(&first.secret));
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left aside");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_what_is_made() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv/dev.key");
        load_or_create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn an_empty_or_damaged_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.key");
        for contents in ["", "\n", "abc", "not hex at all"] {
            fs::write(&path, contents).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(
                matches!(error, DevKeyError::Unusable(_)),
                "{contents:?}: {error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
        }
    }

    #[test]
    fn many_first_starts_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv/dev.key");
        fs::create_dir(path.parent().unwrap()).unwrap();
        // Another process won between the look and the link.
        write_private(&path, "ab".repeat(32).as_bytes()).unwrap();
        assert!(!create(&path).unwrap());
        assert_eq!(load_or_create(&path).unwrap().secret.expose(), [0xAB; 32]);
    }

    #[test]
    fn the_place_follows_the_environment() {
        fn with(pairs: &[(&str, &str)]) -> Option<PathBuf> {
            default_path(|name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            })
        }
        let home = ("HOME", "/home/a");
        assert_eq!(
            with(&[("XDG_STATE_HOME", "/s"), home]),
            Some("/s/kv/dev.key".into())
        );
        assert_eq!(
            with(&[home]),
            Some("/home/a/.local/state/kv/dev.key".into())
        );
        assert_eq!(
            with(&[("XDG_STATE_HOME", "s"), home]),
            with(&[home]),
            "relative is ignored"
        );
        assert_eq!(with(&[]), None);
    }
}
