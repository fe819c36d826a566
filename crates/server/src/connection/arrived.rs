//! A connection that was accepted, and what its stages take of it.

use std::net::SocketAddr;

use crate::listener::Slot;

/// A connection that was accepted.
pub(crate) struct Arrived {
    pub(crate) id: u64,
    pub(crate) address: Option<SocketAddr>,
    /// Held until the connection is closed.
    pub(crate) place: Option<Slot>,
    /// Held until the session is open.
    pub(crate) unauthenticated: Option<Slot>,
}

/// What a connection keeps of that to its end.
pub(super) struct Who {
    pub(super) id: u64,
    pub(super) address: Option<SocketAddr>,
    pub(super) place: Option<Slot>,
}

/// What the way to its session needs of that.
pub(super) struct Newcomer {
    pub(super) id: u64,
    pub(super) address: Option<SocketAddr>,
    pub(super) unauthenticated: Option<Slot>,
}

impl Arrived {
    pub(super) fn split(self) -> (Who, Newcomer) {
        let Self {
            id,
            address,
            place,
            unauthenticated,
        } = self;
        let newcomer = Newcomer {
            id,
            address,
            unauthenticated,
        };
        (Who { id, address, place }, newcomer)
    }
}
