//! How a server ends: asked to or because its store failed; drained; its store closed.
//!
//! Owns the order and the bounds of time. Invariant: whatever does not end by itself, the process ends
//! within its drain timeout for the connections and the same again for the store.

use std::sync::Arc;
use std::time::Duration;

use kv_service::{Health as StoreHealth, Service};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::health::Health;
use crate::shared::Shared;
use crate::workers::Workers;

/// How often the store is asked whether it failed: the longest that a server serves without one.
const LOOK: Duration = Duration::from_millis(100);

/// The most that connections get to take their last answers when the store has failed. Their
/// answers are there at once; only a peer that does not read needs time.
const FAILED_DRAIN_MAX: Duration = Duration::from_secs(5);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection was finished, and the store was closed.
    Clean,
    /// So many connections were cut: the drain took too long or was cut short.
    Cut(usize),
    /// The store failed, or could not be closed: why.
    Failed(&'static str),
}

/// Why it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// Somebody asked.
    Asked,
    /// The store takes no writes any more: why.
    StoreFailed(&'static str),
}

/// Waits for a reason to end.
pub(crate) async fn cause(control: &Control, service: &Service) -> Cause {
    tokio::select! {
        () = control.stopped(1) => Cause::Asked,
        why = store_failed(service) => Cause::StoreFailed(why),
    }
}

/// Ends when the store has failed.
async fn store_failed(service: &Service) -> &'static str {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell_troubles(service);
        if let StoreHealth::Failed(why) = service.health() {
            tell_troubles(service);
            return why;
        }
    }
}

/// Logs what the store met since this was asked last: the file or the entry, which no reply names.
fn tell_troubles(service: &Service) {
    for trouble in service.troubles() {
        tracing::error!(trouble, "the store met an error");
    }
}

/// Ends the connections: not ready, a moment for those who look, no accept, GOAWAY, wait. Asking
/// once more skips the wait.
pub(crate) async fn drain(
    cause: Cause,
    shared: &Arc<Shared>,
    health: &Health,
    control: &Control,
    accepting: JoinSet<Workers>,
    stop_accepting: CancellationToken,
) -> Stopped {
    let asked = match cause {
        Cause::Asked => 1,
        Cause::StoreFailed(error) => {
            tracing::error!(
                error,
                "the store failed: writes without an answer have an unknown outcome, and the server stops"
            );
            0
        }
    };
    let drained = tokio::select! {
        cut = finish(cause, shared, health, accepting, stop_accepting) => cut,
        () = control.stopped(asked + 1) => {
            tracing::warn!(connections = shared.registry.len(), "stopping at once");
            return match cause {
                Cause::Asked => Stopped::Cut(shared.registry.len()),
                Cause::StoreFailed(why) => Stopped::Failed(why),
            };
        }
    };
    match (cause, drained) {
        (Cause::StoreFailed(why), _) => Stopped::Failed(why),
        (Cause::Asked, 0) => Stopped::Clean,
        (Cause::Asked, cut) => Stopped::Cut(cut),
    }
}

/// How many connections had to be cut.
async fn finish(
    cause: Cause,
    shared: &Arc<Shared>,
    health: &Health,
    mut accepting: JoinSet<Workers>,
    stop_accepting: CancellationToken,
) -> usize {
    health.set_draining();
    let shutdown = shared.live().shutdown;
    tracing::info!(connections = shared.registry.len(), "draining");
    let within = match cause {
        Cause::Asked => {
            if !shutdown.delay.is_zero() {
                tokio::time::sleep(shutdown.delay).await;
            }
            shutdown.drain_timeout
        }
        // Nobody is served by waiting: every write is refused already.
        Cause::StoreFailed(_) => shutdown.drain_timeout.min(FAILED_DRAIN_MAX),
    };
    stop_accepting.cancel();
    shared.registry.drain();
    match accepting.join_next().await {
        Some(Ok(workers)) => workers.drain(within).await,
        _ => shared.registry.len(),
    }
}

/// Closes the store behind the last connection; asking to stop once more skips the wait. How the
/// connections ended stays the verdict, unless the store has one of its own.
pub(crate) async fn close(
    stopped: Stopped,
    service: &Arc<Service>,
    control: &Control,
    within: Duration,
) -> Stopped {
    if let Stopped::Failed(_) = stopped {
        // What it could not write before it cannot write now; the next start recovers.
        return stopped;
    }
    let closing = Arc::clone(service);
    let closed = tokio::task::spawn_blocking(move || closing.close());
    let closed = tokio::select! {
        closed = tokio::time::timeout(within, closed) => closed,
        () = control.stopped(2) => {
            tracing::warn!("not waiting for the store; the next start recovers it");
            return match stopped {
                Stopped::Clean => Stopped::Cut(0),
                cut => cut,
            };
        }
    };
    let verdict = match closed {
        Ok(Ok(())) => match service.health() {
            StoreHealth::Failed(why) => Err(why),
            _ => Ok(()),
        },
        Ok(Err(_panicked)) => Err("closing the store panicked"),
        Err(_elapsed) => Err("closing the store took longer than shutdown.drain_timeout"),
    };
    match verdict {
        Ok(()) => stopped,
        Err(error) => {
            tracing::error!(
                error,
                "the store was not closed; the next start recovers it"
            );
            Stopped::Failed(error)
        }
    }
}

#[cfg(test)]
mod tests;
