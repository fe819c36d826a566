//! Files that hold a pre-shared key: one line of hex digits, 64 or more.
//!
//! Invariant: the digits appear in no message and in no error.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{CliError, Code};
use crate::output::{hex, unhex};

/// The shortest key: all security rests on 256 random bits.
const KEY_BYTES_MIN: usize = 32;

/// Reads the bytes of the key in a file.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let text = fs::read(path).map(Zeroizing::new).map_err(|error| {
        CliError::new(
            Code::KEY_FILE,
            format!("cannot read the key in {}", path.display()),
        )
        .cause(error.to_string())
        .hint("`kv-cli keygen --out FILE` makes a key; the server needs the same one")
    })?;
    let key = unhex(text.trim_ascii())
        .map(Zeroizing::new)
        .ok_or_else(|| {
            malformed(path).cause("a key file holds one line of hex digits and nothing else")
        })?;
    if key.len() < KEY_BYTES_MIN {
        return Err(malformed(path).cause(format!(
            "a key has {} hex digits or more, this one has {}",
            KEY_BYTES_MIN * 2,
            key.len() * 2
        )));
    }
    Ok(key)
}

fn malformed(path: &Path) -> CliError {
    CliError::new(Code::KEY_FILE, format!("{} holds no key", path.display()))
        .hint("`kv-cli keygen --out FILE` makes one")
}

/// What may be shown of a key, to compare two places: 64 bits of a hash that is used for nothing else.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"kv key fingerprint\0");
    hash.update(key);
    let digest: [u8; 32] = hash.finalize().into();
    let groups: Vec<String> = digest.chunks_exact(2).take(4).map(hex).collect();
    groups.join("-")
}

/// Whether others than the owner may read a file; unknown counts as no.
#[cfg(unix)]
pub(crate) fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// Whether others than the owner may read a file: not known on this system.
#[cfg(not(unix))]
pub(crate) fn others_may_read(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_one_line_of_hex() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let digits = "0f".repeat(32);
        for (content, fine) in [
            (digits.clone(), true),
            (format!("  {digits}\r\n"), true),
            (digits.to_uppercase(), true),
            (format!("{digits}0f"), true),
            ("0f".repeat(31), false),
            (format!("{digits}0"), false),
            (format!("{digits}\n{digits}"), false),
            (String::new(), false),
        ] {
            fs::write(&path, &content).unwrap();
            let key = read(&path);
            assert_eq!(key.is_ok(), fine, "{content}");
            if let Err(error) = key {
                let said = format!("{error:?}");
                assert!(!said.contains("0f0f"), "{said}");
            }
        }
        assert!(read(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_fingerprint_is_short_and_differs_between_keys() {
        let one = fingerprint(&[1; 32]);
        assert_eq!(one.len(), 19);
        assert_ne!(one, fingerprint(&[2; 32]));
        assert_eq!(one, fingerprint(&[1; 32]));
    }
}
