//! Configuration: read in layers, checked as a whole, typed afterwards.
//!
//! Owns what can be configured and whether it makes sense. Does not own what is done with it.
//! Invariant: a [`Config`] only comes out of [`load`], so that every value in it is in its range and
//! every rule between keys holds; nothing behind it checks again.

mod check;
mod keys;
mod limits;
mod mistake;
mod print;
mod raw;
mod read;
mod secret_file;
mod storage;
mod suggest;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kv_proto::Suite;
use kv_service::{Identity, Permissions};

use crate::tls::{CertStore, TlsError};

pub use limits::Limits;
pub use mistake::{Mistake, MistakeKind, Mistakes, Place, Spot, Warning};
pub use print::{default_file, reference};
pub(crate) use raw::quoted;
pub use raw::{FlagSetting, Sources};
pub(crate) use secret_file::loose_mode;
pub use secret_file::{SecretFile, SecretFileError, read_secret_file};
pub use storage::{Durability, EngineChoice, Eviction, Storage};
pub use value::Rate;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The native listener.
    pub native: NativeListener,
    /// The listener for operators, unless it is off.
    pub admin: Option<AdminListener>,
    /// Dialects of the native protocol.
    pub protocol: Protocol,
    /// Certificates; present exactly when a listener uses TLS.
    pub tls: Option<Tls>,
    /// Who may do what.
    pub auth: Auth,
    /// What a peer can make grow.
    pub limits: Limits,
    /// Requests per time.
    pub rate_limits: RateLimits,
    /// Where entries live.
    pub storage: Storage,
    /// What a signal does.
    pub shutdown: Shutdown,
    /// Logs.
    pub log: Log,
    /// Threads; `None` is one per core.
    pub worker_threads: Option<NonZeroUsize>,
    /// What `/metrics` shows.
    pub metrics: MetricsConfig,
    /// Every key as text, to tell two configurations apart.
    values: BTreeMap<String, String>,
}

impl Config {
    /// The keys that differ in another configuration; an entry of a list is one key, by its name.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.values.keys().chain(other.values.keys()).collect();
        names
            .into_iter()
            .filter(|&name| self.values.get(name) != other.values.get(name))
            .cloned()
            .collect()
    }
}

/// `[listeners.native]`.
#[derive(Clone, Debug)]
pub struct NativeListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// Whether connections begin with a TLS handshake.
    pub tls: bool,
    /// The kernel's queue.
    pub backlog: NonZeroUsize,
}

/// `[listeners.admin]` and `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// Host names accepted besides loopback names and IP addresses, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Connections at one time.
    pub max_connections: NonZeroUsize,
    /// For the header of a request.
    pub header_timeout: Duration,
    /// For a connection without a finished request.
    pub idle_timeout: Duration,
}

/// `[protocol]`.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The id of the key that verifies version 1 frames; `None` when version 1 is off.
    pub v1_key: Option<Arc<str>>,
    /// Suites a session may use, in the order of the configuration, each once.
    pub suites: Vec<Suite>,
    /// Compression a client may ask for.
    pub compression: Compression,
}

/// Compression of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Never.
    Off,
    /// LZ4 blocks when both sides want it.
    Lz4,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and its intermediates.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Where a client certificate names its identity.
    pub identity_from: IdentityFrom,
    /// How often files are compared with what is in force.
    pub reload_interval: Duration,
    /// Whether a certificate outside its validity is no obstacle at start.
    pub allow_expired: bool,
}

/// Whether clients show certificates, and who vouches for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They do not.
    Off,
    /// They may.
    Optional {
        /// Authorities (PEM).
        ca_file: PathBuf,
    },
    /// They must.
    Required {
        /// Authorities (PEM).
        ca_file: PathBuf,
    },
}

/// Where a client certificate names its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFrom {
    /// Nowhere: a key is needed too.
    Off,
    /// The common name of the subject.
    CommonName,
    /// The first URI among the subject alternative names.
    SanUri,
}

/// `[auth]` with its lists.
#[derive(Clone, Debug)]
pub struct Auth {
    /// What a peer may do that proves no identity.
    pub anonymous: Permissions,
    /// Pre-shared keys. Empty: the key `dev` of the first start.
    pub keys: Vec<KeyConfig>,
    /// What certificates grant on their own.
    pub certificates: Vec<CertificateGrant>,
}

/// One `[[auth.keys]]`.
#[derive(Clone, Debug)]
pub struct KeyConfig {
    /// The name clients send.
    pub id: Arc<str>,
    /// Where its secret is.
    pub secret_file: PathBuf,
    /// Whom it acts as.
    pub identity: Identity,
    /// What it grants.
    pub permissions: Permissions,
}

/// One `[[auth.certificates]]`.
#[derive(Clone, Debug)]
pub struct CertificateGrant {
    /// The name in the certificate; `None` for every certificate without an entry of its own.
    pub identity: Option<Identity>,
    /// What it grants.
    pub permissions: Permissions,
}

impl Auth {
    /// What a session may do that was opened without a key.
    #[must_use]
    pub fn without_key(&self, identity: &Identity) -> Permissions {
        if *identity == Identity::anonymous() {
            self.anonymous
        } else {
            self.certificate_permissions(identity)
        }
    }

    /// What a verified certificate with this name grants when no key is shown with it.
    #[must_use]
    pub fn certificate_permissions(&self, identity: &Identity) -> Permissions {
        let named = self
            .certificates
            .iter()
            .find(|grant| grant.identity.as_ref() == Some(identity));
        let any = || {
            self.certificates
                .iter()
                .find(|grant| grant.identity.is_none())
        };
        named
            .or_else(any)
            .map_or(Permissions::NONE, |grant| grant.permissions)
    }
}

/// `[rate_limits]`; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimits {
    /// Of one identity.
    pub per_client: Option<RateLimit>,
    /// Of everybody.
    pub global: Option<RateLimit>,
    /// Of one network.
    pub per_ip: Option<RateLimit>,
}

/// A rate, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The lasting rate.
    pub rate: Rate,
    /// Requests at once.
    pub burst: NonZeroUsize,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// For requests in flight.
    pub drain_timeout: Duration,
    /// From "not ready" to the first refusal; zero is none.
    pub delay: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// A level or a filter.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// Text with colour where the terminal has it.
    Human,
    /// One object per line.
    Json,
}

/// `[metrics]`.
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    /// Whether `/metrics` is served.
    pub enabled: bool,
    /// Label sets of `kv_client_connections`.
    pub max_client_libraries: NonZeroUsize,
}

/// A configuration that may be used.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
    raw: raw::Raw,
}

impl Loaded {
    /// Looks at the certificates the configuration names, as a start would.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot serve.
    pub fn check_files(&self) -> Result<(), TlsError> {
        match &self.config.tls {
            Some(tls) => CertStore::open(tls.clone()).map(drop),
            None => Ok(()),
        }
    }

    /// The configuration as TOML; with `sources` each line says where its value comes from.
    #[must_use]
    pub fn print(&self, sources: print::Sources) -> String {
        print::effective(&self.raw, sources)
    }
}

pub use print::Sources as PrintSources;

/// Reads and checks a configuration.
///
/// # Errors
/// All [`Mistakes`] of all layers at once.
pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
    let mut mistakes = Mistakes::default();
    let raw = raw::Raw::load(sources, &mut mistakes);
    finish(raw, mistakes)
}

/// Reads and checks the text of a file, without environment and flags. `path` is what messages call
/// it, and where relative paths in it begin.
///
/// # Errors
/// All [`Mistakes`] at once.
pub fn parse(path: &std::path::Path, text: &str) -> Result<Loaded, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut raw = raw::Raw::default();
    raw.add_file(path, text, &mut mistakes);
    finish(raw, mistakes)
}

fn finish(raw: raw::Raw, mut mistakes: Mistakes) -> Result<Loaded, Mistakes> {
    let mut warnings = Vec::new();
    let config = check::check(&mut read::Reader::new(&raw, &mut mistakes), &mut warnings);
    match config {
        Some(mut config) if mistakes.0.is_empty() => {
            config.values = print::values(&raw);
            Ok(Loaded {
                config,
                warnings,
                raw,
            })
        }
        _ => {
            mistakes.sort();
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests;
