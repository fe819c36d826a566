//! Who is at the other end of a connection: what CLIENTS shows and what signals reach.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use kv_service::{Identity, KeyEntry};
use tokio::time::Instant;

use super::mailbox::Mailbox;

/// An authenticated connection as the rest of the process sees it.
pub(crate) struct Peer {
    /// Number of the connection, unique in the process.
    pub(crate) id: u64,
    /// Where it comes from; `None` for transports that have no address.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) identity: Identity,
    /// The key it proved, to be checked again when keys change.
    pub(crate) key: Option<Arc<KeyEntry>>,
    /// What the client calls itself; escaped, at most 255 bytes.
    pub(crate) software: Box<str>,
    pub(crate) protocol: &'static str,
    pub(crate) tls: bool,
    pub(crate) since: Instant,
    pub(crate) since_wall: SystemTime,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Written once per wake-up by the connection.
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    held_bytes: AtomicU64,
    in_flight: AtomicU64,
}

/// What a connection is made of when it joins the registry.
pub(crate) struct NewPeer {
    pub(crate) id: u64,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) identity: Identity,
    pub(crate) key: Option<Arc<KeyEntry>>,
    pub(crate) software: Box<str>,
    pub(crate) protocol: &'static str,
    pub(crate) tls: bool,
}

impl Peer {
    pub(crate) fn new(new: NewPeer) -> Self {
        let NewPeer {
            id,
            address,
            identity,
            key,
            software,
            protocol,
            tls,
        } = new;
        Self {
            id,
            address,
            identity,
            key,
            software: software.escape_debug().take(255).collect(),
            protocol,
            tls,
            since: Instant::now(),
            since_wall: SystemTime::now(),
            mailbox: Arc::default(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Bytes received and sent.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (
            self.received_bytes.load(Ordering::Relaxed),
            self.sent_bytes.load(Ordering::Relaxed),
        )
    }

    /// Memory it holds and requests it has in flight.
    pub(crate) fn holding(&self) -> (u64, u64) {
        (
            self.held_bytes.load(Ordering::Relaxed),
            self.in_flight.load(Ordering::Relaxed),
        )
    }

    // Only the connection's own task writes these: a load and a store are enough.
    pub(super) fn note_received(&self, bytes: u64) {
        let sum = self
            .received_bytes
            .load(Ordering::Relaxed)
            .wrapping_add(bytes);
        self.received_bytes.store(sum, Ordering::Relaxed);
    }

    pub(super) fn note_sent(&self, bytes: u64) {
        let sum = self.sent_bytes.load(Ordering::Relaxed).wrapping_add(bytes);
        self.sent_bytes.store(sum, Ordering::Relaxed);
    }

    pub(super) fn note_holding(&self, bytes: usize, in_flight: usize) {
        self.in_flight.store(as_u64(in_flight), Ordering::Relaxed);
        self.held_bytes.store(as_u64(bytes), Ordering::Relaxed);
    }
}

pub(super) fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
