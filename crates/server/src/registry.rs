//! The connections of the process: who is there, and how all of them or one of them is told something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::connection::{Mailbox, Peer, Signals};

/// Every authenticated connection, by its number.
#[derive(Default)]
pub(crate) struct Registry {
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
    next: AtomicU64,
    /// Raised once: connections that join later are told at once.
    draining: CancellationToken,
}

/// Keeps a connection in the registry.
pub(crate) struct Membership {
    registry: Arc<crate::shared::Shared>,
    id: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.registry.registry.peers.lock().remove(&self.id);
    }
}

impl Registry {
    /// A number for a new connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells everybody.
    pub(crate) fn signal_all(&self, set: impl Fn(&mut Signals)) {
        let mailboxes: Vec<Arc<Mailbox>> = self
            .peers
            .lock()
            .values()
            .map(|peer| Arc::clone(&peer.mailbox))
            .collect();
        for mailbox in mailboxes {
            mailbox.signal(&set);
        }
    }

    /// Drains everybody, now and later.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
        self.signal_all(|signals| signals.drain = true);
    }

    /// Ends when everybody is told to drain.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Ends one connection; whether there is one with this number.
    pub(crate) fn kill(&self, id: u64) -> bool {
        let peer = self.peers.lock().get(&id).cloned();
        peer.is_some_and(|peer| {
            peer.mailbox.signal(|signals| signals.kill = true);
            true
        })
    }

    /// Ends the connections that hold the most, until they held `excess` bytes together: how many, and
    /// how much they held.
    pub(crate) fn shed(&self, excess: usize) -> (usize, u64) {
        let mut peers = self.peers();
        peers.sort_by_cached_key(|peer| std::cmp::Reverse(peer.holding().0));
        let excess = u64::try_from(excess).unwrap_or(u64::MAX);
        let (mut count, mut freed) = (0, 0);
        for peer in peers {
            let held = peer.holding().0;
            if held == 0 || freed >= excess {
                break;
            }
            peer.mailbox.signal(|signals| signals.kill = true);
            count += 1;
            freed += held;
        }
        (count, freed)
    }

    /// The connections, in the order in which they came.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.lock().values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.lock().len()
    }
}

/// Enters a connection.
pub(crate) fn join(shared: &Arc<crate::shared::Shared>, peer: Arc<Peer>) -> Membership {
    let id = peer.id;
    let mailbox = Arc::clone(&peer.mailbox);
    let registry = &shared.registry;
    registry.peers.lock().insert(id, peer);
    // After the insertion, so that a drain either sees the peer or is seen here.
    if registry.draining.is_cancelled() {
        mailbox.signal(|signals| signals.drain = true);
    }
    Membership {
        registry: Arc::clone(shared),
        id,
    }
}
