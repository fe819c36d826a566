//! One call: a future that puts its request on a connection, waits for the answer in its slot, and
//! goes to the next connection where that is safe.
//!
//! The only allocations of a small call are the slot's (once, kept) and the returned value.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kv_proto::{CutLimits, ErrorCode, ExtBuf, Extensions, Flags, Fragmenter, FrameHead};
use tokio::time::Instant;

use crate::driver::millis;
use crate::error::{Error, ErrorKind, Retry};
use crate::fate::{Ended, Fate, Sent, decide};
use crate::link::outbox::{Body, Large};
use crate::link::queue::Place;
use crate::link::slots::{Entry, Outcome};
use crate::link::state::{Admission, Look, Push};
use crate::link::{Link, Loss, Phase, Wakes};
use crate::reply::Reply;
use crate::request::sealed::Wire;
use crate::request::{Request, answer};
use crate::route::{NextLink, Router};

/// A call that is made when it is awaited.
///
/// Its options are methods of the call itself, so that `client.set("k", b"v").await` and
/// `client.set("k", b"v").ttl(hour).if_absent().await` are both whole sentences.
///
/// # Cancel safety
/// Dropping it at any moment is safe: its answer never reaches another call, its place is given
/// back when the answer came, and the server is told to stop (CANCEL). A write that was sent may
/// have been applied.
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<'c, Q: Request> {
    router: &'c Router,
    pub(crate) request: Q,
    timeout: Option<Duration>,
    stage: Stage<'c>,
}

enum Stage<'c> {
    Start,
    /// Waits for room on this connection.
    Queued {
        link: Arc<Link>,
        place: Place,
        deadline_ms: u64,
    },
    /// Is in flight.
    Sent {
        link: Arc<Link>,
        id: u32,
        deadline_ms: u64,
    },
    /// Waits for a connection.
    Rerouted {
        next: NextLink<'c>,
        deadline: Instant,
    },
    Over,
}

// Nothing is pinned inside: futures are boxed, requests are only borrowed from.
impl<Q: Request> Unpin for Call<'_, Q> {}

impl<'c, Q: Request> Call<'c, Q> {
    pub(crate) fn new(router: &'c Router, request: Q) -> Self {
        Self {
            router,
            request,
            timeout: None,
            stage: Stage::Start,
        }
    }

    /// Gives up after this long instead of the client's request timeout, waiting for room and
    /// for a connection included. The server is told as well, and stops working on it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Puts the request on `link` if there is room. `Ready(None)`: the link takes no calls.
    fn poll_send(
        &mut self,
        link: Arc<Link>,
        place: Option<Place>,
        deadline: Deadline,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut wire = WireForm::default();
        wire.prepare(&self.request, &link, self.timeout)?;
        let mut guard = link.lock();
        let state = &mut *guard;
        let deadline_ms = match deadline {
            Deadline::In(timeout) => state.fresh_now().saturating_add(millis(timeout)),
            Deadline::OnLink(deadline_ms) => deadline_ms,
            Deadline::At(at) => millis(at.saturating_duration_since(state.epoch)),
        };
        match state.admit(place, self.router.when_full(), deadline_ms, cx.waker()) {
            Admission::Room => {}
            Admission::Wait(place) => {
                let driver = if place_is_urgent(state.earliest_ms, deadline_ms) {
                    state.driver.take()
                } else {
                    None
                };
                drop(guard);
                if let Some(driver) = driver {
                    driver.wake();
                }
                self.stage = Stage::Queued {
                    link,
                    place,
                    deadline_ms,
                };
                return Poll::Pending;
            }
            Admission::Expired => {
                drop(guard);
                leave_queue(&link, place);
                return Poll::Ready(Err(Error::new(ErrorKind::Timeout, Retry::Safe)));
            }
            Admission::Full => {
                return Poll::Ready(Err(Error::new(ErrorKind::InFlightLimit, Retry::Safe)));
            }
            Admission::Elsewhere => {
                let deadline = at(&link, deadline_ms);
                drop(guard);
                leave_queue(&link, place);
                self.reroute(deadline);
                return Poll::Ready(Ok(()));
            }
        }
        let large = wire.large.take();
        let push = Push {
            head: FrameHead {
                flags: wire.flags,
                ..FrameHead::new(self.request.opcode(), 0)
            },
            body: wire.body(&self.request),
            large,
        };
        let id = state.push(push, Entry::Waiting(cx.waker().clone()), deadline_ms);
        let driver = state.driver.take();
        drop(guard);
        if let Some(driver) = driver {
            driver.wake();
        }
        let Some(id) = id else {
            return Poll::Ready(Err(Error::new(ErrorKind::InFlightLimit, Retry::Safe)));
        };
        self.stage = Stage::Sent {
            link,
            id,
            deadline_ms,
        };
        Poll::Pending
    }

    fn reroute(&mut self, deadline: Instant) {
        self.stage = Stage::Rerouted {
            next: self.router.next_link(deadline),
            deadline,
        };
    }

    /// What the end of a request comes to. `Ok(None)`: it goes on elsewhere.
    fn settle(
        &mut self,
        outcome: Outcome,
        link: &Link,
        deadline_ms: u64,
    ) -> Result<Option<Q::Reply>, Error> {
        match outcome {
            Outcome::Reply(Reply::Err(error)) if is_refused_by_drain(&error, link) => {
                self.reroute(at(link, deadline_ms));
                Ok(None)
            }
            Outcome::Reply(reply) => answer(reply)
                .and_then(|answer| self.request.decode(answer))
                .map(Some),
            Outcome::Ended(ended, sent) => match fate_of(ended, sent, &self.request, link) {
                Fate::Again if self.router.reconnects() => {
                    self.reroute(at(link, deadline_ms));
                    Ok(None)
                }
                Fate::Again => Err(Error::new(ErrorKind::ConnectionLost, Retry::Safe)),
                Fate::Fail(kind, retry) => Err(Error::new(kind, retry)),
            },
        }
    }
}

/// When a call's time is over, as it is known before it has a link.
#[derive(Clone, Copy)]
enum Deadline {
    In(Duration),
    OnLink(u64),
    At(Instant),
}

const fn place_is_urgent(earliest_ms: u64, deadline_ms: u64) -> bool {
    earliest_ms == deadline_ms
}

fn at(link: &Link, deadline_ms: u64) -> Instant {
    let epoch = link.epoch;
    epoch
        .checked_add(Duration::from_millis(deadline_ms))
        .unwrap_or(epoch)
}

fn leave_queue(link: &Link, place: Option<Place>) {
    if let Some(place) = place {
        link.with(|state, wakes| state.leave_queue(place, wakes));
    }
}

/// A server that drains answers what it no longer takes with SHUTTING_DOWN: not applied.
fn is_refused_by_drain(error: &Error, link: &Link) -> bool {
    error.code() == Some(ErrorCode::ShuttingDown) && !link.is_open()
}

fn fate_of(ended: Ended, sent: Sent, request: &impl Wire, link: &Link) -> Fate {
    let fate = decide(ended, sent, request.opcode());
    if ended == Ended::TimedOut {
        return fate;
    }
    let Phase::Closed(loss) = link.lock().phase.clone() else {
        return fate;
    };
    let retry = match fate {
        Fate::Again => Retry::AfterReconnect,
        Fate::Fail(_, retry) => retry,
    };
    match loss {
        Loss::Transport | Loss::Goodbye => fate,
        Loss::Local if retry == Retry::AfterReconnect => Fate::Fail(ErrorKind::Closed, Retry::No),
        Loss::Local => fate,
        Loss::Protocol(reason) => Fate::Fail(ErrorKind::Protocol(reason), retry),
        Loss::Server(error) => Fate::Fail(error.kind().clone(), retry),
    }
}

/// A request as it goes on the wire of one link.
#[derive(Default)]
pub(crate) struct WireForm {
    ext: Option<ExtBuf>,
    pub(crate) flags: Flags,
    pub(crate) large: Option<Large>,
    packed: Option<Vec<u8>>,
}

impl WireForm {
    /// Encodes extensions, compresses and plans pieces, all outside of the link's lock.
    #[inline]
    pub(crate) fn prepare<Q: Wire>(
        &mut self,
        request: &Q,
        link: &Link,
        deadline: Option<Duration>,
    ) -> Result<(), Error> {
        let value = request.value();
        if deadline.is_none() && value.len() < SMALL_BYTES && request.key().len() < SMALL_BYTES {
            self.ext = request.ext().map(|ext| ext.encode());
            return Ok(());
        }
        self.prepare_any(request, link, deadline)
    }

    fn prepare_any<Q: Wire>(
        &mut self,
        request: &Q,
        link: &Link,
        deadline: Option<Duration>,
    ) -> Result<(), Error> {
        let opcode = request.opcode();
        let mut ext = request.ext().unwrap_or_default();
        ext.deadline_ms = deadline
            .filter(|_| opcode.info().ext.contains(kv_proto::ExtSet::DEADLINE_MS))
            .map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self.packed = link.unpacker().pack(opcode, request.value());
        if self.packed.is_some() {
            self.flags = Flags::COMPRESSED;
        }
        let value = self.packed.as_deref().unwrap_or_else(|| request.value());
        let head = ext
            .encode()
            .as_bytes()
            .len()
            .saturating_add(request.key().len());
        let limits = CutLimits::of_session(&link.session.limits);
        let pieces = Fragmenter::new(head, value.len(), &limits)
            .map_err(|_| Error::invalid("a key or value larger than the server takes"))?;
        let Some(total) = pieces.total_len() else {
            self.ext = (ext != Extensions::default()).then(|| ext.encode());
            return Ok(());
        };
        if !opcode.info().continued {
            return Err(Error::invalid("an argument larger than the server takes"));
        }
        ext.total_len = Some(total);
        let ext = ext.encode();
        let body = Body {
            ext: ext.as_bytes(),
            key: request.key(),
            value,
        };
        let head = FrameHead {
            flags: self.flags,
            ..FrameHead::new(opcode, 0)
        };
        self.large = Some(Large::new(head, body, pieces));
        Ok(())
    }

    #[inline]
    pub(crate) fn body<'a, Q: Wire>(&'a self, request: &'a Q) -> Body<'a> {
        Body {
            ext: self.ext.as_ref().map(ExtBuf::as_bytes).unwrap_or_default(),
            key: request.key(),
            value: self.packed.as_deref().unwrap_or_else(|| request.value()),
        }
    }
}

/// Below this a key and a value fit every frame limit and are not worth compressing.
const SMALL_BYTES: usize = 512;

impl<Q: Request> Future for Call<'_, Q> {
    type Output = Result<Q::Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.stage, Stage::Over) {
                Stage::Start => {
                    this.request.check()?;
                    let timeout = this.timeout.unwrap_or(this.router.request_timeout());
                    match this.router.current() {
                        Some(link) => {
                            std::task::ready!(this.poll_send(
                                link,
                                None,
                                Deadline::In(timeout),
                                cx
                            )?);
                        }
                        None => {
                            let now = Instant::now();
                            this.reroute(now.checked_add(timeout).unwrap_or(now));
                        }
                    }
                }
                Stage::Queued {
                    link,
                    place,
                    deadline_ms,
                } => {
                    let deadline = Deadline::OnLink(deadline_ms);
                    std::task::ready!(this.poll_send(link, Some(place), deadline, cx)?);
                }
                Stage::Sent {
                    link,
                    id,
                    deadline_ms,
                } => {
                    let mut wakes = Wakes::default();
                    let look = link.lock().look(id, cx.waker(), &mut wakes);
                    wakes.wake();
                    match look {
                        Look::Pending => {
                            this.stage = Stage::Sent {
                                link,
                                id,
                                deadline_ms,
                            };
                            return Poll::Pending;
                        }
                        Look::Done(outcome) => {
                            if let Some(output) = this.settle(outcome, &link, deadline_ms)? {
                                return Poll::Ready(Ok(output));
                            }
                        }
                    }
                }
                Stage::Rerouted { mut next, deadline } => match next.as_mut().poll(cx) {
                    Poll::Pending => {
                        this.stage = Stage::Rerouted { next, deadline };
                        return Poll::Pending;
                    }
                    Poll::Ready(link) => {
                        std::task::ready!(this.poll_send(
                            link?,
                            None,
                            Deadline::At(deadline),
                            cx
                        )?);
                    }
                },
                // Polled again after its end, which no executor does.
                Stage::Over => return Poll::Pending,
            }
        }
    }
}

impl<Q: Request> Drop for Call<'_, Q> {
    fn drop(&mut self) {
        match &self.stage {
            Stage::Queued { link, place, .. } => leave_queue(link, Some(*place)),
            Stage::Sent { link, id, .. } => link.with(|state, wakes| state.abandon(*id, wakes)),
            Stage::Start | Stage::Rerouted { .. } | Stage::Over => {}
        }
    }
}
