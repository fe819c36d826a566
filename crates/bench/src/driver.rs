//! The generator: many connections on one thread, one epoll loop, no task per request.
//!
//! Owns pacing, the matching of replies to requests, the checks and the clock readings. It knows a
//! protocol through [`Protocol`] only. Invariants: every reply is checked; in the open loop a latency
//! begins when the request was due, not when it could be sent; every run ends by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::protocol::{Protocol, Slot};
use crate::workload::{Data, Request, Rng, Verb};

mod connection;
mod pace;
mod stream;
mod tally;

use connection::Connection;
use pace::{Pace, Room, Step};

pub(crate) use connection::Session;
pub(crate) use pace::{Load, Plan, Refill};
pub(crate) use stream::{Endpoint, tls_config};
pub(crate) use tally::{Errors, Tally};

/// A run without any reply for this long is given up.
const STALL: Duration = Duration::from_secs(15);
/// Bytes taken from a socket at a time.
const READ_BYTES: usize = 256 * 1024;
/// In the open loop, waits shorter than this are spent looking instead of sleeping.
const SPIN_NS: u64 = 60_000;
const EVENTS: usize = 1024;

/// What happens during a run, for those who measure the server beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The warm-up is over.
    Begin,
    /// What is answered from now on does not count.
    End,
}

/// Connections that are open, and the loop over them.
pub(crate) struct Driver<P> {
    epoll: OwnedFd,
    connections: Vec<Connection<P>>,
    scratch: Vec<u8>,
    origin: Instant,
}

impl<P: Protocol> Driver<P> {
    /// Opens `count` sessions, one after the other, `make` being asked for the codec of each.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        count: usize,
        mut make: impl FnMut() -> P,
    ) -> Result<Self> {
        ensure!(count > 0, "at least one connection is needed");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let mut scratch = Vec::new();
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let session = Session::open(endpoint, make(), &mut scratch)
                .with_context(|| format!("connection {} of {count}", index + 1))?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &session.stream, data, epoll::EventFlags::IN)
                .context("registering a socket")?;
            connections.push(Connection::new(session));
        }
        Ok(Self {
            epoll,
            connections,
            scratch,
            origin: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Runs a plan. `observe` is called when counting begins and when it ends.
    ///
    /// # Errors
    /// When a connection breaks, the server leaves the protocol, or nothing comes any more. A request
    /// that is refused or answered wrongly is not an error here but counted.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        data: &Data,
        observe: &mut dyn FnMut(Mark) -> Result<()>,
    ) -> Result<Tally> {
        ensure!(
            plan.batch <= 1 || P::BATCHES,
            "this protocol has no batches"
        );
        for connection in &mut self.connections {
            connection.provide(plan.in_flight)?;
        }
        let start = self.now();
        let mut pace = Pace::new(plan, data, start);
        let mut tally = Tally::new()?;
        let mut rng = Rng::new(plan.seed);
        let mut turn = 0;
        let mut counted_from = None;
        let mut heard = start;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = self.now();
            match pace.step(now) {
                Step::Begin => {
                    observe(Mark::Begin)?;
                    counted_from = Some(self.now());
                    tally.measuring = true;
                }
                Step::End => {
                    let until = self.now();
                    observe(Mark::End)?;
                    tally.measuring = false;
                    let from = counted_from.unwrap_or(start);
                    tally.elapsed = Duration::from_nanos(until.saturating_sub(from));
                }
                Step::Go => {}
            }
            let mut room = Room::Some;
            if pace.is_open() {
                room = self.send_due(&mut pace, data, &mut rng, &mut turn)?;
            } else if pace.sent() == 0 {
                self.start_closed(&mut pace, data, &mut rng)?;
            }
            let idle = self.connections.iter().all(Connection::is_idle);
            if pace.is_over(idle, self.now()) {
                break;
            }
            let timeout = pace.timeout_ns(self.now(), room);
            self.wait(&mut events, timeout)?;
            if events.is_empty() && self.now().saturating_sub(heard) > nanoseconds(STALL) {
                ensure!(pace.is_open() && idle, "no reply for {} s", STALL.as_secs());
            }
            for event in events.drain(..) {
                heard = self.on_event(event, &mut pace, data, &mut rng, &mut tally)?;
            }
        }
        let abandoned: u64 = self.connections.iter().map(Connection::in_flight).sum();
        tally.unanswered = pace.unsent() + abandoned;
        Ok(tally)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, timeout_ns: u64) -> Result<()> {
        let timeout = if timeout_ns < SPIN_NS { 0 } else { timeout_ns };
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout / 1_000_000_000)?,
            tv_nsec: i64::try_from(timeout % 1_000_000_000)?,
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll_wait"),
        }
    }

    /// The first requests of a closed loop.
    fn start_closed(&mut self, pace: &mut Pace, data: &Data, rng: &mut Rng) -> Result<()> {
        let now = self.now();
        for index in 0..self.connections.len() {
            if let Some(connection) = self.connections.get_mut(index) {
                connection.refill(pace, data, rng, now)?;
            }
            self.flush(index)?;
        }
        Ok(())
    }

    /// What is due in an open loop goes to the connections in turn, as far as they have room.
    fn send_due(
        &mut self,
        pace: &mut Pace,
        data: &Data,
        rng: &mut Rng,
        turn: &mut usize,
    ) -> Result<Room> {
        let now = self.now();
        let mut full = 0;
        while full < self.connections.len() && pace.is_due(now) {
            *turn = (*turn + 1) % self.connections.len();
            let Some(connection) = self.connections.get_mut(*turn) else {
                break;
            };
            if connection.send_due(pace, data, rng)? {
                full = 0;
            } else {
                full += 1;
            }
        }
        for index in 0..self.connections.len() {
            self.flush(index)?;
        }
        let none = full == self.connections.len();
        Ok(if none { Room::None } else { Room::Some })
    }

    fn on_event(
        &mut self,
        event: epoll::Event,
        pace: &mut Pace,
        data: &Data,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<u64> {
        let epoll::Event { flags, data: token } = event;
        let index = usize::try_from(token.u64())?;
        let gone = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let origin = self.origin;
        if let Some(connection) = self.connections.get_mut(index)
            && flags.intersects(gone)
        {
            let mut more = true;
            while more {
                more = connection.receive(&mut self.scratch, origin, pace, data, tally)?;
            }
            if !pace.is_open() {
                let now = u64::try_from(origin.elapsed().as_nanos())?;
                connection.refill(pace, data, rng, now)?;
            }
        }
        self.flush(index)?;
        Ok(self.now())
    }

    /// Writes what a connection has to say, and waits for room only when there is none.
    fn flush(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        if let Some(wants) = connection.flush()? {
            let mut flags = epoll::EventFlags::IN;
            if wants {
                flags |= epoll::EventFlags::OUT;
            }
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, connection.stream(), data, flags)
                .context("waiting for room in a socket")?;
        }
        Ok(())
    }

    /// Ends all sessions in good order.
    ///
    /// # Errors
    /// When a socket does not take the last bytes.
    pub(crate) fn close(self) -> Result<()> {
        for connection in self.connections {
            connection.close()?;
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
