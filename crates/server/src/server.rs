//! A server from its configuration to its end: bind, serve, reload, drain.
//!
//! Phases: running, then draining (no accept, GOAWAY, what is in flight finishes), then closing the
//! store, then stopped. Each wait has a deadline; a second request to stop skips what is left.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use kv_proto::Secret;
use kv_service::{
    Accountant, Engine, KeyRing, KeyRingError, Metrics, Scrape, Service, StoreSample, Sweeper,
};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState};
use crate::config::Config;
use crate::control::Control;
use crate::ending::{self, Stopped};
use crate::engine::{self, EngineError, Made, Opened};
use crate::health::Health;
use crate::keys::{Keys, KeysError};
use crate::listener::{self, Listener};
use crate::reload::{self, Reloader};
use crate::shared::{Parts, Shared};
use crate::tls::{CertStore, TlsError};
use crate::workers::Workers;

/// How often expired entries are looked for and memory is added up.
const UPKEEP: Duration = Duration::from_millis(100);
/// The kernel's queue of the admin listener: people and scrapers.
const ADMIN_BACKLOG: usize = 128;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener's address.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A key file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Keys that contradict each other.
    #[error(transparent)]
    KeyRing(#[from] KeyRingError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The threads that run connections.
    #[error("cannot start worker threads: {0}")]
    Threads(#[source] io::Error),
    /// The system's source of random numbers.
    #[error("no random numbers from the system")]
    Random,
}

/// A server that has bound its addresses.
pub struct Server {
    shared: Arc<Shared>,
    native: tokio::net::TcpListener,
    workers: Workers,
    admin: Option<tokio::net::TcpListener>,
    health: Arc<Health>,
    control: Control,
    reloader: Option<Arc<Reloader>>,
    dev_key: Option<(std::path::PathBuf, bool)>,
    opened: Option<Opened>,
}

impl Server {
    /// Opens the store, loads certificates and binds every listener. Blocks while the store recovers.
    /// Call within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind but a key file that was made.
    pub fn bind(config: Config, keys: Keys) -> Result<Self, StartError> {
        let Made { engine, opened } = engine::make(&config)?;
        match Self::bind_with_engine(config, keys, Arc::clone(&engine)) {
            Ok(server) => Ok(Self { opened, ..server }),
            Err(error) => {
                engine.close();
                Err(error)
            }
        }
    }

    /// As [`Server::bind`], with an engine of the caller's.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_with_engine(
        config: Config,
        keys: Keys,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, StartError> {
        let Keys {
            entries,
            dev,
            warnings,
        } = keys;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let certificates = match &config.tls {
            Some(tls) if config.native.tls => Some(Arc::new(CertStore::open(tls.clone())?)),
            _ => None,
        };
        let native = bind(config.native.address, config.native.backlog.get())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let metrics = Arc::new(Metrics::new(
            cores,
            config.metrics.max_client_libraries.get(),
        ));
        // One thread runs everything; with more, each core runs its own connections. Unset is the
        // caller's runtime, which is how tests and embedders run it.
        let threads = config.worker_threads.map_or(0, usize::from);
        let threads = if threads > 1 { threads } else { 0 };
        let accountant = Arc::new(Accountant::new(
            crate::convert::memory_bytes(&config),
            crate::convert::thresholds(&config.limits),
        ));
        let shared = Arc::new(Shared::new(Parts {
            connections_max: connections_max(&config),
            service: Arc::new(Service::new(engine)),
            keys: Arc::new(KeyRing::new(entries)?),
            decoy: decoy()?,
            config,
            metrics,
            accountant,
            certificates,
        }));
        let admin = match &shared.config.admin {
            Some(admin) => Some(bind(admin.address, ADMIN_BACKLOG)?),
            None => None,
        };
        Ok(Self {
            health: health(&shared),
            workers: Workers::start(threads, Arc::clone(&shared.metrics))
                .map_err(StartError::Threads)?,
            admin,
            shared,
            native,
            control: Control::default(),
            reloader: None,
            dev_key: dev,
            opened: None,
        })
    }

    /// The native listener's address, with the port that was given for 0.
    ///
    /// # Errors
    /// What the system says about the socket.
    pub fn native_address(&self) -> io::Result<SocketAddr> {
        self.native.local_addr()
    }

    /// The configuration it runs with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Entries in the store.
    #[must_use]
    pub fn keys_stored(&self) -> u64 {
        self.shared.service.stats().keys
    }

    /// The admin listener's address, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
    }

    /// Says where a reload reads the configuration from. Without it a reload reads the files again that
    /// the configuration names.
    #[must_use]
    pub fn on_reload(mut self, reloader: Arc<Reloader>) -> Self {
        self.reloader = Some(reloader);
        self
    }

    /// A handle that stops and reloads the server.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The key `dev`: its file, and whether this start made it. `None` when keys are configured.
    #[must_use]
    pub fn dev_key(&self) -> Option<(&std::path::Path, bool)> {
        self.dev_key
            .as_ref()
            .map(|(path, made)| (path.as_path(), *made))
    }

    /// The data directory that was opened, when the configuration asked for one.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// Connections the server can hold, under the limit of file descriptors.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.shared.connections_max
    }

    /// The most memory peers could make it hold at their limits, and what it plans to hold at most.
    #[must_use]
    pub fn memory_plan(&self) -> (usize, usize) {
        let connections = NonZeroUsize::new(self.shared.connections_max);
        let limits = &self.shared.config.limits;
        let worst = limits.worst_case_bytes(connections.unwrap_or(NonZeroUsize::MIN));
        (worst, self.shared.accountant.limit())
    }

    /// Serves until told to stop.
    pub async fn run(self) -> Stopped {
        let Self {
            shared,
            native,
            workers,
            admin,
            health,
            control,
            reloader,
            ..
        } = self;
        let stop_accepting = CancellationToken::new();
        let stop_rest = CancellationToken::new();
        let mut rest = JoinSet::new();
        if let (Some(socket), Some(settings)) = (admin, shared.config.admin.clone()) {
            let state = admin_state(&shared, &health);
            rest.spawn(admin::serve(socket, settings, state, stop_rest.clone()));
        }
        rest.spawn(upkeep(Arc::clone(&shared), stop_rest.clone()));
        rest.spawn(reload::serve(
            Arc::clone(&shared),
            reloader,
            control.reloads(),
            stop_rest.clone(),
        ));
        let mut accepting = JoinSet::new();
        let listener = Listener::new(native, Arc::clone(&shared), workers);
        accepting.spawn(listener.run(stop_accepting.clone()));
        health.set_started();
        let cause = ending::cause(&control, &shared.service).await;
        let stopped =
            ending::drain(cause, &shared, &health, &control, accepting, stop_accepting).await;
        stop_rest.cancel();
        let finished = tokio::time::timeout(Duration::from_secs(1), async {
            while rest.join_next().await.is_some() {}
        });
        if finished.await.is_err() {
            rest.shutdown().await;
        }
        let within = shared.live().shutdown.drain_timeout;
        ending::close(stopped, &shared.service, &control, within).await
    }
}

fn health(shared: &Shared) -> Arc<Health> {
    let service = Arc::clone(&shared.service);
    let store = Box::new(move || service.health());
    Arc::new(Health::new(Arc::clone(&shared.accountant), store))
}

/// What the admin listener answers from.
fn admin_state(shared: &Arc<Shared>, health: &Arc<Health>) -> AdminState {
    let state = Arc::clone(shared);
    AdminState {
        health: Arc::clone(health),
        metrics: Arc::clone(&shared.metrics),
        scrape: Arc::new(move || scrape(&state)),
        metrics_enabled: shared.config.metrics.enabled,
    }
}

/// What a scrape shows besides the counters.
fn scrape(shared: &Shared) -> Scrape {
    let stats = shared.service.stats();
    let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let started = shared
        .started_wall
        .duration_since(std::time::SystemTime::UNIX_EPOCH);
    Scrape {
        build: crate::version::BUILD,
        start_time_seconds: started.unwrap_or_default().as_secs_f64(),
        process: crate::process::sample(),
        store: StoreSample {
            keys: stats.keys,
            memory_used_bytes: bytes(shared.accountant.used()),
            memory_limit_bytes: bytes(shared.accountant.limit()),
            expired: stats.expired_total,
            evicted: stats.evicted_total,
            hits: stats.hits_total,
            misses: stats.misses_total,
        },
        health: shared.service.health(),
        disk: shared.service.disk_stats(),
        certificates: shared
            .certificates
            .as_ref()
            .map(|store| store.times())
            .unwrap_or_default(),
    }
}

fn bind(address: SocketAddr, backlog: usize) -> Result<tokio::net::TcpListener, StartError> {
    listener::bind(address, backlog).map_err(|source| StartError::Bind { address, source })
}

fn decoy() -> Result<Secret, StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(Secret::new(&bytes))
}

fn connections_max(config: &Config) -> usize {
    config
        .limits
        .connections_with_descriptors(crate::process::descriptor_limit())
        .get()
}

/// Removes expired entries, adds up memory, sheds when there is none left.
async fn upkeep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweeper = Sweeper::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        sweeper.step(&shared.service, shared.service.now());
        let stored = shared.service.stats().memory_bytes;
        if stored >= crate::process::HUGE_PAGES_FROM {
            crate::process::allow_huge_pages();
        }
        shared
            .accountant
            .set_stored(usize::try_from(stored).unwrap_or(usize::MAX));
        let excess = shared.accountant.excess();
        if excess > 0 {
            let (connections, held) = shared.registry.shed(excess);
            if connections > 0 {
                tracing::warn!(
                    connections,
                    held_bytes = held,
                    "memory is short; the largest connections were shed"
                );
            }
        }
    }
}
