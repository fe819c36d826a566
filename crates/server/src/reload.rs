//! A reload: the configuration, keys and certificates are read again, and what may change in a running
//! server does.
//!
//! Owns which keys those are. Files are read where blocking stalls nobody. Invariant: what is bad
//! changes nothing; sessions are looked at again after every change of who may do what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kv_service::Success;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{ClientAuth, Config, Tls};
use crate::keys::{self, Keys};
use crate::shared::Shared;
use crate::tls::{CertStore, Reload, TlsError};

/// Reads the configuration and its keys again; the text says why it cannot be used.
pub type Reloader = dyn Fn() -> Result<(Config, Keys), String> + Send + Sync;

/// Serves requests to reload and compares certificates now and then, one after the other.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    reloader: Option<Arc<Reloader>>,
    mut requests: watch::Receiver<u32>,
    stop: CancellationToken,
) {
    let mut looked = Instant::now();
    loop {
        let next = watch_period(&shared).map(|period| looked + period);
        tokio::select! {
            () = stop.cancelled() => return,
            asked = requests.changed() => {
                if asked.is_err() {
                    return;
                }
                reload(&shared, reloader.clone()).await;
            }
            () = until(next) => certificates_again(&shared).await,
        }
        looked = Instant::now();
    }
}

/// How often certificates are compared with their files; `None` without any.
fn watch_period(shared: &Shared) -> Option<Duration> {
    let store = shared.certificates.as_ref()?;
    Some(store.reload_interval())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Runs what reads files, off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "a reload failed; what was in force stays");
            None
        }
    }
}

async fn reload(shared: &Arc<Shared>, reloader: Option<Arc<Reloader>>) {
    let held = Arc::clone(shared);
    let read = blocking(move || match reloader {
        Some(reloader) => reloader(),
        None => {
            let config = Config::clone(&held.live());
            keys::load(&config.auth, |name| std::env::var_os(name))
                .map(|keys| (config, keys))
                .map_err(|error| error.to_string())
        }
    });
    match read.await {
        Some(Ok((config, keys))) => {
            for warning in &keys.warnings {
                tracing::warn!("{warning}");
            }
            apply(shared, config, keys).await;
        }
        Some(Err(error)) => {
            tracing::error!(%error, "the configuration was not reloaded; the old one stays");
            certificates_again(shared).await;
        }
        None => {}
    }
}

/// Puts in force what may change, and says what did and what did not.
async fn apply(shared: &Arc<Shared>, config: Config, keys: Keys) {
    if let Some(why) = refusal(&shared.config, &config) {
        tracing::error!(
            error = why,
            "the configuration was not reloaded; the old one stays"
        );
        return;
    }
    if let Err(error) = shared.keys.replace(keys.entries) {
        tracing::error!(%error, "the configuration was not reloaded; the old one stays");
        return;
    }
    let before = shared.live();
    let certificates_differ = before.tls != config.tls;
    let tls = config.tls.clone();
    let config = Arc::new(config);
    shared.set_live(Arc::clone(&config));
    shared.registry.signal_all(|signals| signals.recheck = true);
    match (&shared.certificates, tls) {
        (Some(store), Some(settings)) if certificates_differ => {
            let store = Arc::clone(store);
            if let Some(result) = blocking(move || store.reload_with(settings)).await {
                report_certificates(shared, &result);
            }
        }
        _ => certificates_again(shared).await,
    }
    report(shared, &before, &config);
}

/// Why a valid configuration may still not replace the one that runs: addresses stay what they were.
fn refusal(running: &Config, new: &Config) -> Option<&'static str> {
    let asked = |tls: &Tls| tls.client_auth != ClientAuth::Off;
    let certificates = running.tls.is_some() && new.tls.as_ref().is_some_and(asked);
    let exposed = !running.native.address.ip().is_loopback();
    (exposed && new.auth.keys.is_empty() && !certificates).then_some(
        "the native listener is on an address that is not a loopback one, and this configuration leaves \
         it neither keys nor client certificates",
    )
}

/// One line for each key that changed.
fn report(shared: &Shared, before: &Config, now: &Config) {
    let running = &shared.config;
    let tls = shared.certificates.is_some() && now.tls.is_some();
    let mut changed = before.changed(now);
    changed.extend(
        running
            .changed(now)
            .into_iter()
            .filter(|key| !applies(key, tls)),
    );
    let changed: BTreeSet<String> = changed.into_iter().collect();
    for key in &changed {
        if applies(key, tls) {
            tracing::info!(key = key.as_str(), "applied");
        } else {
            tracing::warn!(key = key.as_str(), "needs restart");
        }
    }
    tracing::info!(
        changed = changed.len(),
        keys = shared.keys.len(),
        "configuration reloaded"
    );
}

/// Whether a key takes effect in a running server. `tls`: it has certificates, before and after.
fn applies(key: &str, tls: bool) -> bool {
    let section = key.split(['.', '[']).next().unwrap_or(key);
    match section {
        "auth" | "shutdown" => true,
        "tls" => tls,
        _ => false,
    }
}

/// Puts other certificates in force when their files changed and are good.
async fn certificates_again(shared: &Arc<Shared>) {
    if let Some(store) = shared.certificates.clone()
        && let Some(result) = blocking(move || CertStore::reload_if_changed(&store)).await
    {
        report_certificates(shared, &result);
    }
}

fn report_certificates(shared: &Shared, result: &Result<Reload, TlsError>) {
    match result {
        Ok(Reload::Unchanged) => {}
        Ok(Reload::Replaced) => {
            shared.metrics.tls_reload(Success::Ok);
            tracing::info!("certificates reloaded; new connections use them");
        }
        Err(error) => {
            shared.metrics.tls_reload(Success::Error);
            tracing::error!(%error, "certificates not reloaded; the old ones stay");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("k.key"), "07".repeat(32)).unwrap();
        crate::config::parse(&directory.path().join("kv.toml"), text)
            .unwrap()
            .config
    }

    #[test]
    fn what_applies_at_once_is_who_may_do_what_and_how_to_stop() {
        let key = "[[auth.keys]]\nid = \"a\"\nsecret_file = \"k.key\"\nroles = [\"reader\"]\n";
        let before = config(key);
        let after = config(
            "[auth]\nanonymous = [\"read\"]\n[limits]\nmax_connections = 5\n\
             max_unauthenticated_connections = 5\n[shutdown]\ndelay = \"1s\"\n",
        );
        let changed = before.changed(&after);
        let applied: Vec<&str> = changed
            .iter()
            .map(String::as_str)
            .filter(|key| applies(key, false))
            .collect();
        assert_eq!(
            applied,
            ["auth.anonymous", "auth.keys[\"a\"]", "shutdown.delay"]
        );
        assert_eq!(changed.len(), 5, "{changed:?}");
        assert!(before.changed(&before.clone()).is_empty());
        assert!(applies("tls.cert_file", true) && !applies("tls.cert_file", false));
    }

    #[test]
    fn keys_may_not_go_while_the_network_can_reach_the_listener() {
        let key = "[[auth.keys]]\nid = \"a\"\nsecret_file = \"k.key\"\nroles = [\"reader\"]\n";
        let open = format!("[listeners.native]\naddress = \"0.0.0.0:7777\"\n{key}");
        assert!(refusal(&config(&open), &config("")).is_some());
        assert!(refusal(&config(&open), &config(key)).is_none());
        assert!(refusal(&config(key), &config("")).is_none());
    }
}
