//! A man in the middle on loopback: it sees every frame of both directions and does with some of them
//! what a schedule says.
//!
//! It owns sockets, knows frame lengths and nothing else of the protocol; it has no key. What is no
//! frame (TLS, HTTP) is passed on as it is.

mod frames;
mod pump;
mod schedule;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use frames::Frames;
pub use schedule::{Fault, Schedule, Side};

/// A proxy in front of one address. Dropped, it cuts every connection.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The accept loop, which owns the connections.
    _tasks: JoinSet<()>,
}

/// What the connections of a proxy share with the test.
#[derive(Default)]
pub(crate) struct Shared {
    /// For connections to come, in order; those without one pass everything.
    plans: Mutex<VecDeque<Schedule>>,
    /// Frames of the latest connection, as they came from each side.
    captured: Mutex<[Vec<Vec<u8>>; 2]>,
    /// Frames of another session, for [`Fault::Splice`].
    foreign: Mutex<[Vec<Vec<u8>>; 2]>,
    stalled: watch::Sender<bool>,
    kills: watch::Sender<u64>,
}

impl Proxy {
    /// In front of `target`; everything passes.
    ///
    /// # Errors
    /// The listener's.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _tasks: tasks,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens to the next connection that has no schedule yet.
    pub fn plan(&self, schedule: Schedule) {
        self.shared.plans.lock().push_back(schedule);
    }

    /// The frames that came from one side in the latest connection, in order.
    #[must_use]
    pub fn captured(&self, side: Side) -> Vec<Vec<u8>> {
        let captured = self.shared.captured.lock();
        captured.get(side.index()).cloned().unwrap_or_default()
    }

    /// Frames of another session that [`Fault::Splice`] puts in.
    pub fn set_foreign(&self, side: Side, frames: Vec<Vec<u8>>) {
        if let Some(place) = self.shared.foreign.lock().get_mut(side.index()) {
            *place = frames;
        }
    }

    /// Passes nothing on until [`Proxy::resume`].
    pub fn stall(&self) {
        self.shared.stalled.send_replace(true);
    }

    /// Passes on again, also what a [`Fault::Stall`] holds.
    pub fn resume(&self) {
        self.shared.stalled.send_replace(false);
    }

    /// Cuts every connection there is; new ones are served.
    pub fn kill(&self) {
        self.shared
            .kills
            .send_modify(|kills| *kills = kills.wrapping_add(1));
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let schedule = shared.plans.lock().pop_front().unwrap_or_default();
                // Emptied here, in the order of the connections, not when their tasks run.
                *shared.captured.lock() = Default::default();
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // A server that is gone looks to the client like one that hangs up.
                    if let Ok(server) = TcpStream::connect(target).await {
                        let _ = (client.set_nodelay(true), server.set_nodelay(true));
                        pump::relay(client, server, schedule, &shared).await;
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
