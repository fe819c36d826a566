//! HTTP for operators: `/metrics`, `/livez`, `/readyz`, `/healthz`.
//!
//! Owns its accept loop, its bounds and its answers. It is given the figures and the health; it
//! changes nothing. Invariant: every wait on a client has a deadline, connections are bounded, and no
//! host name that was not allowed gets an answer (a web page cannot reach this port by DNS
//! rebinding).

mod host;
mod routes;
mod serve;

use std::sync::Arc;

use kv_service::{Metrics, Scrape};

use crate::health::Health;
pub(crate) use serve::serve;

/// Gives what a scrape shows besides the counters.
pub(crate) type ScrapeSource = Arc<dyn Fn() -> Scrape + Send + Sync>;

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct AdminState {
    /// For `/readyz`.
    pub(crate) health: Arc<Health>,
    /// For `/metrics`.
    pub(crate) metrics: Arc<Metrics>,
    /// For `/metrics`: the store, the process, certificates.
    pub(crate) scrape: ScrapeSource,
    /// Whether `/metrics` is served.
    pub(crate) metrics_enabled: bool,
}

#[cfg(test)]
mod tests;
