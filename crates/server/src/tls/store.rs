//! The certificates in force, and their replacement while connections are served.
//!
//! New connections take what is in force when they begin; open ones keep theirs. Invariant: what is
//! in force was complete and valid when it was put there.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kv_service::CertificateTimes;
use parking_lot::Mutex;
use rustls::ServerConfig;

use super::TlsError;
use super::files::{Built, Files, unix_seconds};
use crate::config::{IdentityFrom, Tls};

/// What a reload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are those in force.
    Unchanged,
    /// New connections are served with the new ones.
    Replaced,
}

/// The certificates in force. Share it in an `Arc`.
#[derive(Debug)]
pub struct CertStore {
    current: ArcSwap<InForce>,
    /// Of the contents in force; the lock also makes reloads one at a time.
    hash: Mutex<[u8; 32]>,
}

#[derive(Debug)]
struct InForce {
    settings: Tls,
    built: Arc<Built>,
}

impl CertStore {
    /// Reads the files at start.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot serve.
    pub fn open(settings: Tls) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let built = Arc::new(files.build(&settings, unix_seconds())?);
        Ok(Self {
            current: ArcSwap::from_pointee(InForce { settings, built }),
            hash: Mutex::new(files.hash()),
        })
    }

    /// What to serve a new connection with: one load, no lock.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().built.config)
    }

    /// As [`CertStore::current`], with where client certificates name their identity under it.
    #[must_use]
    pub fn in_force(&self) -> (Arc<ServerConfig>, IdentityFrom) {
        let current = self.current.load();
        (
            Arc::clone(&current.built.config),
            current.settings.identity_from,
        )
    }

    /// How often the files are to be compared with what is in force.
    #[must_use]
    pub fn reload_interval(&self) -> Duration {
        self.current.load().settings.reload_interval
    }

    /// Where client certificates name their identity.
    #[must_use]
    pub fn identity_from(&self) -> IdentityFrom {
        self.current.load().settings.identity_from
    }

    /// When the certificates in force end.
    #[must_use]
    pub fn times(&self) -> CertificateTimes {
        self.current.load().built.times
    }

    /// Reads the files again and puts them in force when their contents changed. It reads files:
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// [`TlsError`] when the new files cannot serve; the old ones stay in force.
    pub fn reload_if_changed(&self) -> Result<Reload, TlsError> {
        let settings = self.current.load().settings.clone();
        self.reload_with(settings)
    }

    /// As [`CertStore::reload_if_changed`], with other settings, which come into force with the files.
    ///
    /// # Errors
    /// [`TlsError`] when these files cannot serve; old settings and files stay in force.
    pub fn reload_with(&self, settings: Tls) -> Result<Reload, TlsError> {
        let mut hash = self.hash.lock();
        let files = Files::read(&settings)?;
        let new = files.hash();
        let current = self.current.load();
        let same_rules = current.settings.client_auth == settings.client_auth;
        if *hash == new && same_rules {
            if current.settings != settings {
                let built = Arc::clone(&current.built);
                self.current.store(Arc::new(InForce { settings, built }));
            }
            return Ok(Reload::Unchanged);
        }
        let built = Arc::new(files.build(&settings, unix_seconds())?);
        self.current.store(Arc::new(InForce { settings, built }));
        *hash = new;
        Ok(Reload::Replaced)
    }
}
