//! The figures as text: names, help, and the walk over all counters.
//!
//! Names are a promise to users (dashboards, alerts). Figures that other parts own (the store, the
//! process, certificates) are passed in as a [`Scrape`]. Invariant: every family has help, and every
//! label is from a closed set or cleaned.

mod families;
mod storage;
mod writer;

use std::fmt;
use std::sync::Arc;

use kv_store::{DiskStats, Health};
use prometheus_client::registry::Registry;

use super::Metrics;
use super::text::to_text_format;
use families::View;

/// In which format figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What an HTTP `Accept` header prefers; the text format unless OpenMetrics is named.
    #[must_use]
    pub fn from_accept(accept: &str) -> Self {
        let named = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let open = parts.next() == Some("application/openmetrics-text");
            open && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// The HTTP `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What was built.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// Of the package.
    pub version: &'static str,
    /// Of the source.
    pub commit: &'static str,
    /// The compiler.
    pub rustc: &'static str,
}

/// The process as the system sees it; what cannot be read is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessSample {
    /// User and system time.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_descriptors: Option<u64>,
    /// How many may be open.
    pub max_descriptors: Option<u64>,
}

/// What the store says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreSample {
    /// Entries.
    pub keys: u64,
    /// Memory in use by entries and connections, as accounted.
    pub memory_used_bytes: u64,
    /// Memory that may be used.
    pub memory_limit_bytes: u64,
    /// Entries that expired so far.
    pub expired: u64,
    /// Entries that were removed for room so far.
    pub evicted: u64,
    /// Look-ups that found something so far.
    pub hits: u64,
    /// Look-ups that found nothing so far.
    pub misses: u64,
}

/// When certificates end, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateTimes {
    /// The server's own.
    pub server: Option<i64>,
    /// The first to end of those that vouch for clients.
    pub client_ca: Option<i64>,
}

/// What a scrape shows besides the counters of [`Metrics`].
#[derive(Clone, Copy, Debug)]
pub struct Scrape {
    /// What was built.
    pub build: BuildInfo,
    /// When the process started, in seconds since 1970.
    pub start_time_seconds: f64,
    /// The process.
    pub process: ProcessSample,
    /// The store.
    pub store: StoreSample,
    /// How it is.
    pub health: Health,
    /// Its disk, when it has one.
    pub disk: Option<DiskStats>,
    /// Certificates.
    pub certificates: CertificateTimes,
}

impl Metrics {
    /// Writes all figures.
    ///
    /// # Errors
    /// Only when the encoder cannot write to a `String`, which does not happen.
    pub fn expose(
        self: &Arc<Self>,
        format: Exposition,
        scrape: Scrape,
    ) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(View {
            metrics: Arc::clone(self),
            scrape,
        }));
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(match format {
            Exposition::OpenMetrics => text,
            Exposition::Text => to_text_format(&text),
        })
    }
}
