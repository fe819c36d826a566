//! One connection as its callers see it: the table of requests in flight, the outbox, and the queue
//! of those who wait for room, behind one short mutex.
//!
//! It owns no socket: the [`driver`](crate::driver) does, and meets the callers here, in
//! `State::exchange` once per wake-up. Nothing in here waits, encrypts or does I/O; wakers are
//! called after the lock is released.
//!
//! Invariants: a request id belongs to one slot until its final reply was received or the
//! connection is over; `outbox.counted + granted <= outbound_max`; `slots.live() + granted <=
//! in_flight_max`; whoever waits in the queue is woken when there is room or the link is closed.

pub(crate) mod deliver;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod streams;

use std::task::Waker;

use kv_proto::limits::SessionLimits;
use kv_proto::{Capabilities, CloseReason, Suite};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::error::Error;
use crate::unpack::Unpacker;
use outbox::Outbox;
use queue::Queue;
use slots::{IdSpace, Slots};
pub(crate) use state::{Phase, State};

/// What the handshake agreed on, the same for the life of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) suite: Suite,
    pub(crate) capabilities: Capabilities,
    pub(crate) limits: SessionLimits,
    pub(crate) session_id: [u8; 16],
    pub(crate) server: Box<str>,
    pub(crate) identity: Box<str>,
    pub(crate) permissions: Vec<Box<str>>,
}

/// The bounds on what callers may put on one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Frames taken from callers and not yet written to the transport.
    pub(crate) outbound_max: usize,
    /// Requests in flight, orphans included.
    pub(crate) in_flight_max: usize,
    /// How request ids are cut.
    pub(crate) ids: IdSpace,
    /// How long the answer to a dropped call may take before the connection counts as broken.
    pub(crate) orphan_ms: u64,
}

/// Why a connection is over.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The transport failed, ended without GOODBYE, or the server went silent.
    Transport,
    /// The server said GOODBYE with requests unanswered.
    Goodbye,
    /// This side closed it.
    Local,
    /// The server broke the protocol.
    Protocol(CloseReason),
    /// The server named its reason.
    Server(Error),
}

/// One connection, shared between its driver and the calls on it.
pub(crate) struct Link {
    pub(crate) session: Session,
    pub(crate) bounds: Bounds,
    /// What the link's milliseconds count from.
    pub(crate) epoch: Instant,
    state: Mutex<State>,
}

impl Link {
    pub(crate) fn new(session: Session, bounds: Bounds) -> Self {
        let epoch = Instant::now();
        let state = State {
            phase: Phase::Open,
            outbox: Outbox::default(),
            slots: Slots::new(bounds.ids),
            queue: Queue::default(),
            granted: 0,
            driver: None,
            epoch,
            now_ms: 0,
            earliest_ms: u64::MAX,
            bounds,
        };
        Self {
            session,
            bounds,
            epoch,
            state: Mutex::new(state),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Runs `change` under the lock and wakes, after it, whom it names.
    #[inline]
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State, &mut Wakes) -> T) -> T {
        let mut wakes = Wakes::default();
        let result = change(&mut self.lock(), &mut wakes);
        wakes.wake();
        result
    }

    /// How values are compressed and answers are put together here.
    pub(crate) fn unpacker(&self) -> Unpacker {
        let limit = usize::try_from(self.session.limits.message_bytes_max).unwrap_or(usize::MAX);
        Unpacker {
            capabilities: self.session.capabilities,
            message_bytes_max: limit,
            in_flight_max: self.bounds.in_flight_max,
        }
    }

    /// Whether new calls may go here.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.lock().phase, Phase::Open)
    }

    /// Takes no more calls, finishes what is in flight, and says GOODBYE.
    pub(crate) fn leave(&self) {
        self.with(|state, wakes| {
            if matches!(state.phase, Phase::Open | Phase::Draining) {
                state.phase = Phase::Leaving;
                state.queue.wake_all(wakes);
            }
            wakes.add(state.driver.take());
        });
    }
}

/// Whom to wake once the lock is released: one without an allocation, more in a list.
#[derive(Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    #[inline]
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.more.push(waker);
        }
    }

    /// How many will be woken.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.more.len())
    }

    /// Wakes them, first come first served, and keeps the list's memory.
    #[inline]
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.first.take() {
            waker.wake();
        }
        self.more.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
