//! One connection: its bytes in both directions and its requests in flight.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pace::Pace;
use super::stream::{Endpoint, Stream};
use super::tally::Tally;
use super::{Data, Protocol, READ_BYTES, Refill, Request, Rng, Slot, Verb};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A session that is open.
pub(crate) struct Session<P> {
    pub(super) stream: Stream,
    pub(super) protocol: P,
}

impl<P: Protocol> Session<P> {
    /// Connects, shakes hands and waits until requests may follow.
    ///
    /// # Errors
    /// When that fails, or takes longer than ten seconds.
    pub(crate) fn open(
        endpoint: &Endpoint,
        mut protocol: P,
        scratch: &mut Vec<u8>,
    ) -> Result<Self> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let mut stream = Stream::connect(endpoint)?;
        let (mut input, mut out) = (Vec::new(), Vec::new());
        let (mut begun, mut opened) = (false, false);
        if scratch.len() < READ_BYTES {
            scratch.resize(READ_BYTES, 0);
        }
        loop {
            if !begun && stream.is_ready() {
                protocol.open(stream.exporter()?, &mut out)?;
                begun = true;
            }
            if begun && !opened {
                let mut rest = input.as_mut_slice();
                let before = rest.len();
                opened = protocol.opened(&mut rest, &mut out)?;
                let used = before - rest.len();
                input.drain(..used);
            }
            let sent = stream.send(&out)?;
            out.drain(..sent);
            if opened && out.is_empty() && !stream.wants_write() {
                ensure!(input.is_empty(), "bytes came before a request");
                return Ok(Self { stream, protocol });
            }
            let (count, _) = stream.receive(scratch).context("while opening")?;
            input.extend_from_slice(scratch.get(..count).unwrap_or_default());
            if count == 0 && (begun || !stream.is_ready()) {
                wait(&stream, out.is_empty() && !stream.wants_write(), deadline)?;
            }
        }
    }

    /// Ends the session in good order.
    ///
    /// # Errors
    /// When the socket does not take the last bytes.
    pub(crate) fn close(mut self) -> Result<()> {
        let mut out = Vec::new();
        self.protocol.close(&mut out);
        if !out.is_empty() {
            self.stream.send(&out)?;
        }
        Ok(())
    }
}

/// Waits until the socket can be read, or written if not all is.
fn wait(stream: &Stream, settled: bool, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        bail!(
            "the server did not open a session within {} s",
            OPEN_TIMEOUT.as_secs()
        );
    }
    let mut flags = PollFlags::IN;
    if !settled {
        flags |= PollFlags::OUT;
    }
    let timeout = Timespec::try_from(left)?;
    match poll(&mut [PollFd::new(stream, flags)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A request in flight.
#[derive(Clone, Copy)]
struct Sent {
    request: Request,
    /// When it was sent, or was due to be.
    started: u64,
    in_flight: bool,
}

/// A session at work.
pub(super) struct Connection<P> {
    session: Session<P>,
    /// The beginning of a reply that is not whole.
    carry: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    waits_for_room: bool,
    slots: Vec<Sent>,
    free: Vec<Slot>,
}

impl<P: Protocol> Connection<P> {
    pub(super) const fn new(session: Session<P>) -> Self {
        Self {
            session,
            carry: Vec::new(),
            out: Vec::new(),
            written: 0,
            waits_for_room: false,
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.session.stream
    }

    /// Makes room for this many requests in flight. Nothing is in flight.
    pub(super) fn provide(&mut self, in_flight: Slot) -> Result<()> {
        ensure!(
            self.is_idle(),
            "an earlier run left requests without answers"
        );
        let max = self.session.protocol.in_flight_max();
        ensure!(
            in_flight > 0 && u32::from(in_flight) <= max && in_flight < Slot::MAX,
            "{in_flight} requests in flight, the server allows 1 to {max}"
        );
        let none = Sent {
            request: Request {
                verb: Verb::Get,
                first: 0,
                count: 1,
            },
            started: 0,
            in_flight: false,
        };
        self.slots = vec![none; usize::from(in_flight)];
        self.free = (0..in_flight).rev().collect();
        Ok(())
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(super) const fn in_flight(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    #[inline]
    fn put(&mut self, slot: Slot, request: Request, started: u64, data: &Data) -> Result<()> {
        if let Some(sent) = self.slots.get_mut(usize::from(slot)) {
            *sent = Sent {
                request,
                started,
                in_flight: true,
            };
        }
        let protocol = &mut self.session.protocol;
        protocol.request(slot, &request, data, &mut self.out)
    }

    /// Adds the requests a closed loop has for this connection.
    #[inline]
    pub(super) fn refill(
        &mut self,
        pace: &mut Pace,
        data: &Data,
        rng: &mut Rng,
        now: u64,
    ) -> Result<()> {
        if pace.refill == Refill::Batch && !self.is_idle() {
            return Ok(());
        }
        while let Some(&slot) = self.free.last() {
            let Some(request) = pace.next(data, rng) else {
                break;
            };
            self.free.pop();
            self.put(slot, request, now, data)?;
        }
        Ok(())
    }

    /// Adds the next request of an open loop, if there is room; false when there is none.
    pub(super) fn send_due(&mut self, pace: &mut Pace, data: &Data, rng: &mut Rng) -> Result<bool> {
        let Some(slot) = self.free.pop() else {
            return Ok(false);
        };
        let (request, due) = pace.next_due(data, rng);
        self.put(slot, request, due, data)?;
        Ok(true)
    }

    /// Reads once and checks the replies; whether more may be there without waiting.
    pub(super) fn receive(
        &mut self,
        scratch: &mut Vec<u8>,
        origin: Instant,
        pace: &Pace,
        data: &Data,
        tally: &mut Tally,
    ) -> Result<bool> {
        let carried = self.carry.len();
        if scratch.len() < carried + READ_BYTES {
            scratch.resize(carried + READ_BYTES, 0);
        }
        let Some((front, room)) = scratch.split_at_mut_checked(carried) else {
            bail!("no room to read into");
        };
        let room = room.get_mut(..READ_BYTES).unwrap_or_default();
        let (count, more) = self
            .session
            .stream
            .receive(room)
            .context("the server ended the connection")?;
        if count == 0 {
            return Ok(false);
        }
        let now = u64::try_from(origin.elapsed().as_nanos())?;
        front.copy_from_slice(&self.carry);
        let mut input = scratch.get_mut(..carried + count).unwrap_or_default();
        let Self {
            session,
            slots,
            free,
            out,
            ..
        } = self;
        session
            .protocol
            .replies(&mut input, out, &mut |slot, answer| {
                let Some(sent) = slots
                    .get_mut(usize::from(slot))
                    .filter(|sent| sent.in_flight)
                else {
                    tally.stray();
                    return;
                };
                sent.in_flight = false;
                free.push(slot);
                let latency = pace.latency(sent.started, now);
                tally.answered(&sent.request, &answer, data, latency);
            })?;
        self.carry.clear();
        self.carry.extend_from_slice(input);
        Ok(more)
    }

    /// Writes what there is. `Some`: whether to wait for room has changed to this.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<Option<bool>> {
        let rest = self.out.get(self.written..).unwrap_or_default();
        if !rest.is_empty() || self.session.stream.wants_write() {
            let sent = self.session.stream.send(rest).context("sending")?;
            self.written += sent;
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
        }
        let waits = !self.out.is_empty() || self.session.stream.wants_write();
        let changed = waits != self.waits_for_room;
        self.waits_for_room = waits;
        Ok(changed.then_some(waits))
    }

    pub(super) fn close(self) -> Result<()> {
        self.session.close()
    }
}
