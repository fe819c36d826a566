//! Getting a request onto a connection: waiting for room, for the next connection, or both, and the
//! flight that follows. Calls and streams share it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kv_proto::{FrameHead, Idempotency};
use tokio::time::Instant;

use crate::driver::millis;
use crate::error::{Error, ErrorKind, Retry};
use crate::link::Link;
use crate::link::queue::Place;
use crate::link::slots::Entry;
use crate::link::state::{Admission, Push, stream_entry};
use crate::request::sealed::Wire;
use crate::route::{NextLink, Router};
use crate::wire_form::WireForm;

/// How far a request is on its way to the outbox.
pub(crate) enum Launch {
    Start,
    /// Waits for room.
    Queued(Ticket),
    /// Waits for a connection.
    Rerouted {
        next: NextLink,
        deadline: Instant,
    },
    Over,
}

/// A place in a connection's queue, given up when it is dropped.
pub(crate) struct Ticket {
    link: Arc<Link>,
    place: Option<Place>,
    deadline_ms: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        leave_queue(&self.link, self.place);
    }
}

/// What waits for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Single,
    /// With this window of items.
    Stream(u32),
}

impl Kind {
    fn entry(self, cx: &Context<'_>) -> Entry {
        match self {
            Self::Single => Entry::Waiting(cx.waker().clone()),
            Self::Stream(window) => stream_entry(window),
        }
    }
}

/// A request that is on a connection. Dropping it before it has landed abandons it there.
pub(crate) struct Flight {
    pub(crate) link: Arc<Link>,
    pub(crate) id: u32,
    pub(crate) deadline_ms: u64,
    landed: bool,
}

impl Flight {
    /// The answer was taken; the id may already be another's.
    pub(crate) const fn land(&mut self) {
        self.landed = true;
    }

    /// When its time is over, on everyone's clock.
    pub(crate) fn deadline(&self) -> Instant {
        at(&self.link, self.deadline_ms)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.link.with(|state, wakes| state.abandon(self.id, wakes));
        }
    }
}

/// When a request's time is over, as it is known before it has a link.
#[derive(Clone, Copy)]
enum Deadline {
    In(Duration),
    OnLink(u64),
    At(Instant),
}

/// How a request is launched.
pub(crate) struct Launcher<'a, Q> {
    pub(crate) router: &'a Arc<Router>,
    pub(crate) request: &'a Q,
    pub(crate) kind: Kind,
    /// Instead of the client's request timeout; the server is told as well.
    pub(crate) timeout: Option<Duration>,
    /// Its operation number.
    pub(crate) operation: Option<Idempotency>,
}

impl<Q: Wire> Launcher<'_, Q> {
    fn wire_form(&self, link: &Link) -> Result<WireForm, Error> {
        WireForm::new(self.request, link, self.timeout, self.operation)
    }
}

impl Launch {
    /// Launches on the next connection, waiting for it until `deadline`.
    pub(crate) fn elsewhere(router: &Arc<Router>, deadline: Instant) -> Self {
        Self::Rerouted {
            next: router.next_link(deadline),
            deadline,
        }
    }

    /// Gets on with it. After `Ready` the launch is over.
    pub(crate) fn poll<Q: Wire>(
        &mut self,
        launcher: &Launcher<'_, Q>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Flight, Error>> {
        loop {
            let (link, place, deadline) = match std::mem::replace(self, Self::Over) {
                Self::Start => {
                    launcher.request.check()?;
                    let timeout = launcher
                        .timeout
                        .unwrap_or(launcher.router.request_timeout());
                    match launcher.router.current() {
                        Some(link) => (link, None, Deadline::In(timeout)),
                        None => {
                            let now = Instant::now();
                            let deadline = now.checked_add(timeout).unwrap_or(now);
                            *self = Self::elsewhere(launcher.router, deadline);
                            continue;
                        }
                    }
                }
                Self::Queued(mut ticket) => {
                    let place = ticket.place.take();
                    let deadline = Deadline::OnLink(ticket.deadline_ms);
                    (Arc::clone(&ticket.link), place, deadline)
                }
                Self::Rerouted { mut next, deadline } => match next.as_mut().poll(cx) {
                    Poll::Pending => {
                        *self = Self::Rerouted { next, deadline };
                        return Poll::Pending;
                    }
                    Poll::Ready(link) => (link?, None, Deadline::At(deadline)),
                },
                // Polled again after its end, which no executor does.
                Self::Over => return Poll::Pending,
            };
            if let Some(flight) = ready!(self.poll_send(launcher, link, place, deadline, cx)?) {
                return Poll::Ready(Ok(flight));
            }
        }
    }

    /// Puts the request on `link` if there is room. `Ready(None)`: the link takes no requests, and
    /// the launch goes on elsewhere.
    fn poll_send<Q: Wire>(
        &mut self,
        launcher: &Launcher<'_, Q>,
        link: Arc<Link>,
        place: Option<Place>,
        deadline: Deadline,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<Flight>, Error>> {
        let mut form = match launcher.wire_form(&link) {
            Ok(form) => form,
            Err(error) => {
                leave_queue(&link, place);
                return Poll::Ready(Err(error));
            }
        };
        let mut guard = link.lock();
        let state = &mut *guard;
        let deadline_ms = match deadline {
            Deadline::In(timeout) => state.fresh_now().saturating_add(millis(timeout)),
            Deadline::OnLink(deadline_ms) => deadline_ms,
            Deadline::At(at) => millis(at.saturating_duration_since(link.epoch)),
        };
        let when_full = launcher.router.when_full();
        match state.admit(place, when_full, deadline_ms, cx.waker()) {
            Admission::Room => {}
            Admission::Wait(place) => {
                // The driver has to know of a deadline before all others.
                let driver = (state.earliest_ms == deadline_ms).then(|| state.driver.take());
                drop(guard);
                if let Some(driver) = driver.flatten() {
                    driver.wake();
                }
                let place = Some(place);
                *self = Self::Queued(Ticket {
                    link,
                    place,
                    deadline_ms,
                });
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
                drop(guard);
                leave_queue(&link, place);
                *self = Self::elsewhere(launcher.router, at(&link, deadline_ms));
                return Poll::Ready(Ok(None));
            }
        }
        let large = form.large.take();
        let opcode = launcher.request.opcode();
        let push = Push {
            head: FrameHead {
                flags: form.flags,
                ..FrameHead::new(opcode, 0)
            },
            body: form.body(launcher.request),
            large,
        };
        let id = state.push(push, launcher.kind.entry(cx), deadline_ms);
        let driver = state.driver.take();
        drop(guard);
        if let Some(driver) = driver {
            driver.wake();
        }
        let id = id.ok_or_else(|| Error::new(ErrorKind::InFlightLimit, Retry::Safe))?;
        Poll::Ready(Ok(Some(Flight {
            link,
            id,
            deadline_ms,
            landed: false,
        })))
    }
}

fn at(link: &Link, deadline_ms: u64) -> Instant {
    let offset = Duration::from_millis(deadline_ms);
    link.epoch.checked_add(offset).unwrap_or(link.epoch)
}

fn leave_queue(link: &Link, place: Option<Place>) {
    if let Some(place) = place {
        link.with(|state, wakes| state.leave_queue(place, wakes));
    }
}
