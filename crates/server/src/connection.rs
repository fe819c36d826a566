//! One native connection from its first byte to its last: TLS if configured, handshake, session.
//!
//! Owns the order of these and what the log and the metrics say about how it ended. Accepting,
//! counting and draining connections is the listener's.

mod arrived;
mod backup;
mod batch;
mod budget;
mod continued;
mod control;
mod core;
mod due;
mod durability;
mod egress;
mod establish;
mod finish;
mod held;
mod idempotent;
mod inflight;
mod intake;
mod mailbox;
mod outbox;
mod peer;
mod pool;
mod read_buffer;
mod reply;
mod request;
mod run;
mod session;
mod streams;
mod tally;
mod timers;
mod wakes;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use kv_proto::{CloseReason, Limit};
use kv_service::{Closure, FrameRejection, LibraryGuard, Listener};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::server::TlsStream;

use crate::registry::Membership;
use crate::shared::Shared;
pub(crate) use arrived::Arrived;
use arrived::{Newcomer, Who};
pub(crate) use backup::BACKUPS_MAX;
pub(crate) use mailbox::{Mailbox, Signals};
pub(crate) use peer::Peer;
use session::{End, Session};
pub(crate) use wakes::Wakes;

/// How long a connection that we closed is read from, so that what we said last is not lost to a
/// reset.
const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

/// Serves a connection over plain TCP or any byte stream.
pub(crate) fn serve_plain<S>(
    stream: S,
    arrived: Arrived,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let timeout = shared.config.limits.authentication_timeout;
    let carrier = establish::Carrier::plain(arrived.address);
    let (who, newcomer) = arrived.split();
    let opened = open(stream, carrier, timeout, newcomer, Arc::clone(&shared));
    serve(Box::pin(opened), who, shared)
}

/// Serves a connection that begins with TLS.
pub(crate) fn serve_tls<S>(
    stream: S,
    arrived: Arrived,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (who, newcomer) = arrived.split();
    let opened = open_tls(stream, newcomer, Arc::clone(&shared));
    serve(Box::pin(opened), who, shared)
}

/// An open session, and what it is registered under.
type Running<S> = (Box<Session<S>>, (Membership, LibraryGuard));

/// Serves a connection to its end. What only its beginning or its end needs is boxed and freed, and
/// nothing large is an argument, of which a future keeps the place for good: a connection that waits
/// holds its session and little else.
async fn serve<S>(
    opened: Pin<Box<impl Future<Output = Option<Running<S>>>>>,
    who: Who,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some((mut session, guards)) = opened.await else {
        return;
    };
    let end = (&mut *session).await;
    drop(guards);
    session.release();
    on_end(who.id, who.address, &end, &shared);
    let stream = session.into_stream();
    Box::pin(linger(stream, end)).await;
    drop(who.place);
}

/// TLS, and then as [`open`].
async fn open_tls<S>(
    stream: S,
    newcomer: Newcomer,
    shared: Arc<Shared>,
) -> Option<Running<Box<TlsStream<S>>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (id, address) = (newcomer.id, newcomer.address);
    let timeout = shared.config.limits.authentication_timeout_tls;
    let began = tokio::time::Instant::now();
    let begun = tokio::select! {
        begun = Box::pin(establish::begin_tls(stream, address, timeout, &shared)) => begun,
        // There is no session yet, and nothing can be said without one.
        () = shared.registry.draining() => Err(std::io::ErrorKind::Interrupted.into()),
    };
    match begun {
        Ok((stream, carrier)) => {
            let left = timeout.saturating_sub(began.elapsed());
            open(stream, carrier, left, newcomer, shared).await
        }
        Err(error) => {
            tracing::debug!(conn_id = id, peer = ?address, %error, "TLS failed");
            shared.metrics.closed(Listener::Native, Closure::Error);
            None
        }
    }
}

/// The handshake, and the session that comes of it with what it is registered under.
async fn open<S>(
    mut stream: S,
    carrier: establish::Carrier,
    timeout: std::time::Duration,
    newcomer: Newcomer,
    shared: Arc<Shared>,
) -> Option<Running<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Newcomer {
        id,
        address,
        unauthenticated,
    } = newcomer;
    let shared = &shared;
    let handshake = async {
        tokio::select! {
            biased;
            opened = establish::handshake(&mut stream, id, &carrier, shared) => opened,
            () = drained(shared) => Err(establish::Failure::Draining),
        }
    };
    let opened = match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => {
            establish::on_failure(&mut stream, id, address, &failure, shared).await;
            return None;
        }
        Err(_elapsed) => {
            tracing::debug!(conn_id = id, peer = ?address, "not authenticated in time");
            shared.metrics.closed(Listener::Native, Closure::Slow);
            return None;
        }
    };
    drop(unauthenticated);
    let peer = Arc::clone(&opened.core.peer);
    let membership = crate::registry::join(shared, Arc::clone(&peer));
    if shared.keys.generation() != opened.generation {
        // Keys changed before this session could be told.
        peer.mailbox.signal(|signals| signals.recheck = true);
    }
    let library = shared.library(&peer.software);
    tracing::debug!(conn_id = id, peer = ?address, identity = %peer.identity, "session open");
    let mut session = Box::new(Session::new(
        stream,
        opened.input,
        opened.opener,
        opened.core,
    ));
    session.walk();
    Some((session, (membership, library)))
}

/// Ends when the server drains and a handshake that had begun had its time.
async fn drained(shared: &Shared) {
    shared.registry.draining().await;
    tokio::time::sleep(LINGER).await;
}

/// Says that nothing follows, and waits a moment for the peer to have read it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, end: End) {
    match end {
        End::Io(kind) => {
            tracing::trace!(?kind, "nothing more to say");
            return;
        }
        End::Truncated => return,
        _ => {}
    }
    let farewell = async {
        stream.shutdown().await?;
        let mut discard = [0; 512];
        while tokio::io::AsyncReadExt::read(&mut stream, &mut discard).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A peer that does not close its side in time loses nothing but our patience.
    let closed = tokio::time::timeout(LINGER, farewell).await;
    tracing::trace!(in_time = closed.is_ok(), "connection closed");
}

fn on_end(id: u64, address: Option<SocketAddr>, end: &End, shared: &Shared) {
    let closure = match end {
        End::Goodbye | End::Truncated => Closure::Client,
        End::Drained => Closure::Drain,
        End::Killed => Closure::Killed,
        End::Revoked => Closure::Auth,
        End::Close(CloseReason::Limit(Limit::OutboundBytes)) => Closure::Slow,
        End::Io(_) | End::Close(_) => Closure::Error,
        End::Overdue(due::Overdue::Silent) => Closure::Idle,
        End::Overdue(_) => Closure::Slow,
    };
    if let End::Close(reason) = end
        && closure == Closure::Error
    {
        shared.metrics.frame_rejected(frame_rejection(*reason));
        tracing::debug!(conn_id = id, peer = ?address, %reason, "connection refused a frame");
    } else {
        tracing::debug!(conn_id = id, peer = ?address, ?end, "session over");
    }
    shared.metrics.closed(Listener::Native, closure);
}

/// The label of a refused frame.
fn frame_rejection(reason: CloseReason) -> FrameRejection {
    match reason {
        CloseReason::Auth(_) => FrameRejection::BadMac,
        CloseReason::Limit(_) => FrameRejection::Oversize,
        CloseReason::UnsupportedVersion(_) => FrameRejection::Version,
        _ => FrameRejection::Malformed,
    }
}

#[cfg(test)]
mod tests;
