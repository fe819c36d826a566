//! What all connections of a server share.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use kv_proto::{AssemblerLimits, Secret, ServerSettings};
use kv_service::{Accountant, KeyRing, LibraryGuard, Metrics, Quotas, Service, Share};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::Config;
use crate::connection::{BACKUPS_MAX, Peer, Wakes};
use crate::convert;
use crate::registry::Registry;
use crate::tls::CertStore;

/// One server's state. In an `Arc`, held by every connection.
pub(crate) struct Shared {
    /// What it runs with since its start.
    pub(crate) config: Config,
    live: ArcSwap<Config>,
    pub(crate) service: Arc<Service>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accountant: Arc<Accountant>,
    pub(crate) quotas: Quotas,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) certificates: Option<Arc<CertStore>>,
    pub(crate) registry: Registry,
    /// Connections that wait for the store.
    pub(crate) wakes: Wakes,
    /// What an unknown key id is carried through with: random, made at start.
    pub(crate) decoy: Secret,
    pub(crate) assembler_limits: AssemblerLimits,
    /// What every handshake offers, without the key of version 1.
    offered: ServerSettings,
    pub(crate) connections_max: usize,
    pub(crate) started: Instant,
    pub(crate) started_wall: SystemTime,
    /// Turns of backups, for the threads that read them.
    pub(crate) backups: Arc<Semaphore>,
    tls_turns: Semaphore,
    partial_bytes: AtomicUsize,
}

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) service: Arc<Service>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accountant: Arc<Accountant>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) certificates: Option<Arc<CertStore>>,
    pub(crate) decoy: Secret,
    pub(crate) connections_max: usize,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            config,
            service,
            metrics,
            accountant,
            keys,
            certificates,
            decoy,
            connections_max,
        } = parts;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = config
            .limits
            .max_concurrent_tls_handshakes
            .map_or(2 * cores, usize::from);
        Self {
            assembler_limits: convert::assembler_limits(&config.limits),
            offered: convert::handshake_settings(&config),
            quotas: Quotas::new(convert::quotas(&config.rate_limits)),
            live: ArcSwap::from_pointee(config.clone()),
            config,
            service,
            metrics,
            accountant,
            keys,
            certificates,
            registry: Registry::default(),
            wakes: Wakes::default(),
            decoy,
            connections_max,
            started: Instant::now(),
            started_wall: SystemTime::now(),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            tls_turns: Semaphore::new(turns),
            partial_bytes: AtomicUsize::new(0),
        }
    }

    /// The configuration as it was read last: what takes effect without a restart is taken from here.
    pub(crate) fn live(&self) -> Arc<Config> {
        self.live.load_full()
    }

    /// Puts another one there.
    pub(crate) fn set_live(&self, config: Arc<Config>) {
        self.live.store(config);
    }

    /// A turn for a step of a TLS handshake, if one is free: more at once than there are cores only
    /// makes all of them slow.
    pub(crate) fn tls_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.tls_turns.try_acquire().ok()
    }

    /// What the native handshake offers. Only the key of version 1 can change while the server runs.
    pub(crate) fn handshake_settings(&self) -> Cow<'_, ServerSettings> {
        match self.version_1_secret() {
            None => Cow::Borrowed(&self.offered),
            version_1 => Cow::Owned(ServerSettings {
                version_1,
                ..self.offered.clone()
            }),
        }
    }

    /// The key of version-1 connections, where they are allowed.
    pub(crate) fn version_1_secret(&self) -> Option<Secret> {
        let id = self.config.protocol.v1_key.as_deref()?;
        self.keys
            .find(id)
            .map(|entry| Secret::new(entry.secret.expose()))
    }

    /// The rate limits of a session.
    pub(crate) fn share(&self, peer: &Peer) -> Share {
        let address = peer
            .address
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip());
        self.quotas
            .share(&peer.identity, address, self.since_start(Instant::now()))
    }

    /// Time since the server began, the measure of the rate limits.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    /// Bytes of unfinished messages in the process.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial_bytes.load(Ordering::Relaxed)
    }

    /// A connection now holds `after` instead of `before` of them.
    pub(crate) fn change_partial_bytes(&self, before: usize, after: usize) {
        if after >= before {
            self.partial_bytes
                .fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.partial_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Counts a client library, `name/version`, while the guard lives.
    pub(crate) fn library(&self, software: &str) -> LibraryGuard {
        let (name, version) = software.split_once('/').unwrap_or((software, ""));
        self.metrics.library(name, version)
    }

    /// Memory that connections hold.
    pub(crate) fn connection_bytes(&self) -> u64 {
        u64::try_from(self.accountant.reserved()).unwrap_or(u64::MAX)
    }
}
