//! The keys in force: looked up at a handshake, replaced as a whole at a reload.
//!
//! Owns the rule that a removed key ends its sessions: every replacement raises a generation number
//! that a connection compares with the one it saw last (one relaxed load per wake-up), and asks
//! [`KeyRing::renew`] when they differ. Does not own handshakes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::{Identity, InvalidName, Permissions, Secret, check_key_id};

/// Enough for two rotations at once; more is a mistake in the configuration.
pub const KEYS_PER_IDENTITY_MAX: usize = 4;

/// One pre-shared key and what it grants.
#[derive(Debug)]
pub struct KeyEntry {
    /// The name the peer sends.
    pub id: Arc<str>,
    /// What both sides know.
    pub secret: Secret,
    /// Whom the peer acts as.
    pub identity: Identity,
    /// What it may do.
    pub permissions: Permissions,
}

type Entries = HashMap<Arc<str>, Arc<KeyEntry>>;

/// The keys in force. Share it in an `Arc`.
#[derive(Debug)]
pub struct KeyRing {
    entries: RwLock<Arc<Entries>>,
    generation: AtomicU64,
}

impl KeyRing {
    /// Builds a ring.
    ///
    /// # Errors
    /// [`KeyRingError`] when the entries contradict each other.
    pub fn new(entries: Vec<KeyEntry>) -> Result<Self, KeyRingError> {
        let entries = index(entries)?;
        Ok(Self {
            entries: RwLock::new(Arc::new(entries)),
            generation: AtomicU64::new(1),
        })
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<KeyEntry>> {
        self.entries.read().get(id).cloned()
    }

    /// Changes with every [`replace`](Self::replace); cheap enough for every wake-up.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What a session that was opened with `held` may do from now on: `None` when its key is gone or
    /// now has another secret or identity, in which case the session must end.
    #[must_use]
    pub fn renew(&self, held: &KeyEntry) -> Option<Arc<KeyEntry>> {
        let entry = self.find(&held.id)?;
        (entry.secret.same(&held.secret) && entry.identity == held.identity).then_some(entry)
    }

    /// Puts other keys in force, all at once.
    ///
    /// # Errors
    /// [`KeyRingError`] when they contradict each other; the old keys then stay.
    pub fn replace(&self, entries: Vec<KeyEntry>) -> Result<(), KeyRingError> {
        let entries = Arc::new(index(entries)?);
        *self.entries.write() = entries;
        // Release after the swap: whoever sees the new number finds the new entries.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// How many keys are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn index(entries: Vec<KeyEntry>) -> Result<Entries, KeyRingError> {
    let mut by_id = Entries::with_capacity(entries.len());
    let mut per_identity: HashMap<Identity, usize> = HashMap::new();
    for entry in entries {
        check_key_id(&entry.id).map_err(KeyRingError::InvalidId)?;
        let held = per_identity.entry(entry.identity.clone()).or_default();
        *held += 1;
        if *held > KEYS_PER_IDENTITY_MAX {
            return Err(KeyRingError::TooMany {
                identity: entry.identity,
            });
        }
        let id = Arc::clone(&entry.id);
        if by_id.insert(Arc::clone(&id), Arc::new(entry)).is_some() {
            return Err(KeyRingError::Duplicate { id });
        }
    }
    Ok(by_id)
}

/// Why a set of keys is no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Two keys with one id.
    #[error("the key id `{id}` is used twice")]
    Duplicate {
        /// Which.
        id: Arc<str>,
    },
    /// More than [`KEYS_PER_IDENTITY_MAX`] keys of one identity.
    #[error("the identity `{identity}` has more than {KEYS_PER_IDENTITY_MAX} keys")]
    TooMany {
        /// Which.
        identity: Identity,
    },
    /// A key id that is no name.
    #[error("invalid key id: {0}")]
    InvalidId(InvalidName),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    fn entry(id: &str, identity: &str, byte: u8) -> KeyEntry {
        KeyEntry {
            id: id.into(),
            secret: Secret::new(vec![byte; 32]).unwrap(),
            identity: Identity::new(identity).unwrap(),
            permissions: Role::Writer.permissions(),
        }
    }

    #[test]
    fn four_keys_of_one_identity_are_allowed_and_five_are_not() {
        let keys = |n: u8| {
            (0..n)
                .map(|i| entry(&format!("k{i}"), "app", i))
                .collect::<Vec<_>>()
        };
        assert_eq!(KeyRing::new(keys(4)).unwrap().len(), 4);
        let identity = Identity::new("app").unwrap();
        assert_eq!(
            KeyRing::new(keys(5)).unwrap_err(),
            KeyRingError::TooMany { identity }
        );
    }

    #[test]
    fn one_id_names_one_key() {
        let twice = vec![entry("k", "a", 1), entry("k", "b", 2)];
        assert_eq!(
            KeyRing::new(twice).unwrap_err(),
            KeyRingError::Duplicate { id: "k".into() }
        );
        let unnamed = KeyRing::new(vec![entry("", "a", 1)]).unwrap_err();
        assert_eq!(unnamed, KeyRingError::InvalidId(InvalidName::Empty));
    }

    #[test]
    fn a_session_outlives_a_reload_only_with_the_same_secret_and_identity() {
        let ring = KeyRing::new(vec![entry("k", "a", 1)]).unwrap();
        let held = ring.find("k").unwrap();
        let before = ring.generation();
        assert!(ring.find("other").is_none());

        let mut narrowed = entry("k", "a", 1);
        narrowed.permissions = Role::Reader.permissions();
        ring.replace(vec![narrowed]).unwrap();
        assert_ne!(ring.generation(), before);
        assert_eq!(
            ring.renew(&held).unwrap().permissions,
            Role::Reader.permissions()
        );

        ring.replace(vec![entry("k", "a", 2)]).unwrap();
        assert!(ring.renew(&held).is_none(), "another secret");
        ring.replace(vec![entry("k", "b", 1)]).unwrap();
        assert!(ring.renew(&held).is_none(), "another identity");
        ring.replace(vec![]).unwrap();
        assert!(ring.renew(&held).is_none() && ring.is_empty(), "removed");
    }

    #[test]
    fn a_refused_replacement_leaves_the_old_keys_in_force() {
        let ring = KeyRing::new(vec![entry("k", "a", 1)]).unwrap();
        let before = ring.generation();
        assert!(
            ring.replace(vec![entry("x", "a", 1), entry("x", "a", 2)])
                .is_err()
        );
        assert_eq!(ring.generation(), before);
        assert!(ring.find("k").is_some());
    }
}
