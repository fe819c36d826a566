//! Accepting native connections: places, waiting places, refusal; what to do when accepting fails.
//!
//! Owns the sockets between the kernel's queue and a connection's task. A connection needs a place
//! among all connections and one among those that have not authenticated yet; when there is none it
//! waits in a bounded queue, and when that is full or takes too long it is refused with OVERLOADED. An
//! address that has too many without a session is refused at once.

mod accept_error;
mod slots;
mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kv_service::{Closure, Listener as ListenerLabel, Rejection};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Arrived};
use crate::shared::Shared;
use crate::workers::Workers;
use accept_error::Backoff;
pub(crate) use slots::Slot;
use slots::Slots;
pub(crate) use socket::bind;

/// The native listener and its connections.
pub(crate) struct Listener {
    socket: TcpListener,
    shared: Arc<Shared>,
    slots: Arc<Slots>,
    waiting: VecDeque<Waiting>,
    /// Accepted sockets have their options already.
    inherited: bool,
    workers: Workers,
    backoff: Backoff,
}

struct Waiting {
    stream: TcpStream,
    address: SocketAddr,
    until: Instant,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, shared: Arc<Shared>, workers: Workers) -> Self {
        let limits = &shared.config.limits;
        let configured = socket::configure(&socket, limits);
        if let Err(error) = &configured {
            // They are tried on each connection then, where they matter less than the connection.
            tracing::debug!(%error, "options of the listening socket");
        }
        let slots = Slots::new(
            shared.connections_max,
            limits.max_unauthenticated_connections.get(),
            limits.max_unauthenticated_per_ip.get(),
        );
        Self {
            socket,
            slots: Arc::new(slots),
            shared,
            waiting: VecDeque::new(),
            inherited: socket::INHERITED && configured.is_ok(),
            workers,
            backoff: Backoff::default(),
        }
    }

    /// Accepts until `stop`; the connections go on and are returned.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Workers {
        let slots = Arc::clone(&self.slots);
        loop {
            let freed = slots.freed();
            self.start_waiting().await;
            let oldest = self.waiting.front().map(|waiting| waiting.until);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.workers.reap() => {}
                () = freed, if !self.waiting.is_empty() => {}
                () = until(oldest) => self.refuse_overdue(),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, address)) => {
                        self.backoff.reset();
                        self.on_accepted(stream, address);
                    }
                    Err(error) => self.on_accept_error(&error, &stop).await,
                },
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.refuse(waiting.stream, Rejection::Draining);
        }
        self.workers
    }

    fn on_accepted(&mut self, stream: TcpStream, address: SocketAddr) {
        if !self.inherited
            && let Err(error) = socket::configure(&stream, &self.shared.config.limits)
        {
            // The peer is gone already, or the system lacks an option; the connection may still work.
            tracing::debug!(peer = %address, %error, "socket options");
        }
        let address_waits = |waiting: &&Waiting| waiting.address.ip() == address.ip();
        let of_address = self.waiting.iter().filter(address_waits).count();
        if !self.slots.allows(address.ip(), of_address) {
            // Waiting, it would take a place in the queue from others that have not had theirs.
            return self.refuse(stream, Rejection::PerIp);
        }
        let until = Instant::now() + self.shared.config.limits.waiting_timeout;
        if self.waiting.len() >= self.shared.config.limits.max_waiting_connections.get() {
            let why = if self.slots.has_place_for_sessions() {
                Rejection::Unauthenticated
            } else {
                Rejection::Limit
            };
            return self.refuse(stream, why);
        }
        self.waiting.push_back(Waiting {
            stream,
            address,
            until,
        });
    }

    /// Starts those that wait and have a place now, oldest first; an address without a place does not
    /// hold up the others.
    async fn start_waiting(&mut self) {
        let mut index = 0;
        while let Some(address) = self.waiting.get(index).map(|waiting| waiting.address) {
            match Slots::take(&self.slots, address.ip()) {
                Some(slot) => {
                    if let Some(waiting) = self.waiting.remove(index) {
                        self.start(waiting.stream, address, slot).await;
                    }
                }
                None if self.slots.is_full() => break,
                None => index += 1,
            }
        }
    }

    async fn start(&mut self, stream: TcpStream, address: SocketAddr, slot: (Slot, Slot)) {
        let shared = Arc::clone(&self.shared);
        let (place, unauthenticated) = slot;
        let id = shared.registry.next_id();
        shared.metrics.accepted(ListenerLabel::Native);
        let arrived = Arrived {
            id,
            address: Some(address),
            place: Some(place),
            unauthenticated: Some(unauthenticated),
        };
        let tls = shared.config.native.tls;
        if self.workers.are_here() {
            return if tls {
                let serve = connection::serve_tls(stream, arrived, shared);
                self.workers.spawn_here(serve);
            } else {
                let serve = connection::serve_plain(stream, arrived, shared);
                self.workers.spawn_here(serve);
            };
        }
        // The socket leaves this thread's reactor and joins that of the thread that serves it.
        let Ok(stream) = stream.into_std() else {
            return shared.metrics.closed(ListenerLabel::Native, Closure::Error);
        };
        let there = move || async move {
            let Ok(stream) = TcpStream::from_std(stream) else {
                return shared.metrics.closed(ListenerLabel::Native, Closure::Error);
            };
            if tls {
                Box::pin(connection::serve_tls(stream, arrived, shared)).await;
            } else {
                Box::pin(connection::serve_plain(stream, arrived, shared)).await;
            }
        };
        self.workers.spawn(there).await;
    }

    fn refuse_overdue(&mut self) {
        let now = Instant::now();
        while self
            .waiting
            .front()
            .is_some_and(|waiting| waiting.until <= now)
        {
            if let Some(waiting) = self.waiting.pop_front() {
                self.refuse(waiting.stream, Rejection::WaitTimeout);
            }
        }
    }

    /// Says OVERLOADED if that costs nothing, and closes. Under TLS nothing can be said cheaply.
    fn refuse(&self, stream: TcpStream, why: Rejection) {
        self.shared.metrics.rejected(ListenerLabel::Native, why);
        if !self.shared.config.native.tls {
            let text = match why {
                Rejection::Draining => "SHUTTING_DOWN: the server is shutting down",
                _ => "OVERLOADED: the server has no room for a further connection",
            };
            let mut out = Vec::with_capacity(128);
            kv_proto::refusal(&mut out, self.shared.version_1_secret().as_ref(), text);
            // A new socket takes this at once; if it does not, the peer learns from the close.
            let told = stream.try_write(&out);
            // What came and is not read would turn the close into a reset, which may overtake this.
            let discarded = stream.try_read(&mut [0; 4096]);
            tracing::trace!(?discarded, "not read");
            tracing::debug!(told = told.is_ok(), why = why.name(), "connection refused");
        }
    }

    async fn on_accept_error(&mut self, error: &io::Error, stop: &CancellationToken) {
        let Some(wait) = self.backoff.on_error(error) else {
            return;
        };
        let pause = async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        };
        pause.await;
    }
}

/// Ends at `at`, or never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
