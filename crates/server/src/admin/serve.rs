//! The accept loop: bounded connections, each with a deadline for headers and for idling.
//!
//! `axum::serve` has neither, so connections are served by hyper directly. Invariant: at most
//! `max_connections` tasks; further clients wait in the kernel's queue, whose connections cost the
//! process nothing.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kv_service::{Closure, Listener, Metrics};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::AdminState;
use super::routes::router;
use crate::config::AdminListener;

/// Bytes of a request's header; probes and scrapers send a few hundred.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after an error of `accept` that means the process is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long open connections may take to finish their answer at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `shutdown`; answers that are under way are finished, idle connections end.
///
/// Cancel safe: dropping it drops its connections.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: AdminListener,
    state: AdminState,
    shutdown: CancellationToken,
) {
    let metrics = Arc::clone(&state.metrics);
    let app = router(state, settings.allowed_hosts.clone());
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < settings.max_connections.get();
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Finished tasks are reaped, so that their room can be used again.
            Some(ended) = connections.join_next() => if ended.is_err() { metrics.panicked() },
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    metrics.accepted(Listener::Admin);
                    let connection = Connection {
                        app: app.clone(),
                        metrics: Arc::clone(&metrics),
                        header_timeout: settings.header_timeout,
                        idle_timeout: settings.idle_timeout,
                        shutdown: shutdown.clone(),
                    };
                    connections.spawn(connection.run(stream));
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = "admin", %error, "cannot accept");
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What is still open after this is dropped with the set.
    let _ = tokio::time::timeout(FINISH_TIMEOUT, finished).await;
}

/// The client went away before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

struct Connection {
    app: Router,
    metrics: Arc<Metrics>,
    header_timeout: Duration,
    idle_timeout: Duration,
    shutdown: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let mut closing = Closing {
            metrics: self.metrics,
            closure: Closure::Internal,
        };
        let asked = Arc::new(AtomicU64::new(0));
        let app = Counted {
            app: TowerToHyperService::new(self.app),
            asked: Arc::clone(&asked),
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), app);
        let mut connection = pin!(connection);
        let mut stopping = false;
        let mut seen = 0;
        closing.closure = loop {
            tokio::select! {
                result = connection.as_mut() => break match result {
                    Ok(()) if stopping => Closure::Drain,
                    Ok(()) => Closure::Client,
                    Err(error) if error.is_timeout() => Closure::Slow,
                    Err(_) => Closure::Error,
                },
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep(self.idle_timeout) => {
                    let now = asked.load(Ordering::Relaxed);
                    if now == seen {
                        break Closure::Idle;
                    }
                    seen = now;
                }
            }
        };
    }
}

/// The routes, with a count of requests, which tells an idle connection from a used one.
struct Counted {
    app: TowerToHyperService<Router>,
    asked: Arc<AtomicU64>,
}

impl Service<Request<Incoming>> for Counted {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.app.call(request)
    }
}

/// Counts the end of a connection, however it comes.
struct Closing {
    metrics: Arc<Metrics>,
    closure: Closure,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.metrics.closed(Listener::Admin, self.closure);
    }
}
