//! From configured keys to the ring in force, at start and at every reload.
//!
//! Does not own the files' format nor the ring. Invariant: with no key configured there is exactly
//! the key `dev`, for loopback use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use kv_service::{Identity, InvalidName, KeyEntry, Role};

use crate::config::{Auth, SecretFileError, Warning, read_secret_file};
use crate::devkey::{self, DEV_KEY_ID, DevKeyError};

/// The keys to put in force.
#[derive(Debug)]
pub struct Keys {
    /// What the ring takes.
    pub entries: Vec<KeyEntry>,
    /// The key of a server without configured keys: where it is, and whether this start made it.
    pub dev: Option<(PathBuf, bool)>,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
}

/// Why keys cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A configured key file.
    #[error("the key `{id}`: {source}")]
    File {
        /// Of which key.
        id: Arc<str>,
        /// Why.
        source: SecretFileError,
    },
    /// The key of the first start.
    #[error(transparent)]
    Dev(#[from] DevKeyError),
    /// The name of that key.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// Reads every key file, or finds or makes the key `dev` when none is configured.
///
/// # Errors
/// [`KeysError`] at the first file that cannot be used; nothing is in force then but what was.
pub fn load(
    auth: &Auth,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Keys, KeysError> {
    let mut warnings = Vec::new();
    if auth.keys.is_empty() {
        let path = devkey::default_path(environment).ok_or(DevKeyError::NoPlace)?;
        let key = devkey::load_or_create(&path)?;
        warnings.extend(
            key.loose_mode
                .map(|mode| Warning::LooseKeyFile { path, mode }),
        );
        let entry = KeyEntry {
            id: DEV_KEY_ID.into(),
            secret: key.secret,
            identity: Identity::new(DEV_KEY_ID)?,
            permissions: Role::Admin.permissions(),
        };
        return Ok(Keys {
            entries: vec![entry],
            dev: Some((key.path, key.created)),
            warnings,
        });
    }
    let mut entries = Vec::with_capacity(auth.keys.len());
    for key in &auth.keys {
        let file = read_secret_file(&key.secret_file).map_err(|source| KeysError::File {
            id: Arc::clone(&key.id),
            source,
        })?;
        let path = || key.secret_file.clone();
        warnings.extend(
            file.loose_mode
                .map(|mode| Warning::LooseKeyFile { path: path(), mode }),
        );
        entries.push(KeyEntry {
            id: Arc::clone(&key.id),
            secret: file.secret,
            identity: key.identity.clone(),
            permissions: key.permissions,
        });
    }
    Ok(Keys {
        entries,
        dev: None,
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use kv_service::KeyRing;

    #[test]
    fn without_configured_keys_there_is_the_key_dev() {
        let dir = tempfile::tempdir().unwrap();
        let config = parse("kv.toml".as_ref(), "").unwrap().config;
        let state = |name: &str| (name == "XDG_STATE_HOME").then(|| dir.path().into());
        let keys = load(&config.auth, state).unwrap();
        assert_eq!(keys.dev, Some((dir.path().join("kv/dev.key"), true)));
        let ring = KeyRing::new(keys.entries).unwrap();
        assert_eq!(
            ring.find("dev").unwrap().permissions,
            Role::Admin.permissions()
        );
        assert!(matches!(
            load(&config.auth, |_| None),
            Err(KeysError::Dev(DevKeyError::NoPlace))
        ));
    }

    #[test]
    fn configured_keys_are_read_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.key");
        std::fs::write(&file, "ab".repeat(32)).unwrap();
        let text = "[[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"reader\"]\n";
        let config = parse(&dir.path().join("kv.toml"), text).unwrap().config;
        let keys = load(&config.auth, |_| None).unwrap();
        assert!(keys.dev.is_none());
        assert_eq!(keys.entries[0].secret.expose(), [0xAB; 32]);
        std::fs::write(&file, "").unwrap();
        let error = load(&config.auth, |_| None).unwrap_err();
        assert!(matches!(error, KeysError::File { id, .. } if &*id == "app"));
    }
}
