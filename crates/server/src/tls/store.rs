//! The certificates in force, and their replacement while connections are served.
//!
//! New connections take what is in force when they begin; open ones keep theirs. Invariant: what is
//! in force was complete and valid when it was put there.

use std::sync::Arc;

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
    settings: Tls,
    current: ArcSwap<Built>,
    /// Of the contents in force; the lock also makes reloads one at a time.
    hash: Mutex<[u8; 32]>,
}

impl CertStore {
    /// Reads the files at start.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot serve.
    pub fn open(settings: Tls) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let built = files.build(&settings, unix_seconds())?;
        let hash = Mutex::new(files.hash());
        Ok(Self {
            settings,
            current: ArcSwap::from_pointee(built),
            hash,
        })
    }

    /// What to serve a new connection with: one load, no lock.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Where client certificates name their identity.
    #[must_use]
    pub const fn identity_from(&self) -> IdentityFrom {
        self.settings.identity_from
    }

    /// When the certificates in force end.
    #[must_use]
    pub fn times(&self) -> CertificateTimes {
        self.current.load().times
    }

    /// Reads the files again and puts them in force when their contents changed. It reads files:
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// [`TlsError`] when the new files cannot serve; the old ones stay in force.
    pub fn reload_if_changed(&self) -> Result<Reload, TlsError> {
        let mut hash = self.hash.lock();
        let files = Files::read(&self.settings)?;
        let new = files.hash();
        if *hash == new {
            return Ok(Reload::Unchanged);
        }
        let built = files.build(&self.settings, unix_seconds())?;
        self.current.store(Arc::new(built));
        *hash = new;
        Ok(Reload::Replaced)
    }
}
