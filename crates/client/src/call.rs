//! One call: a future that launches its request, waits for the answer in its slot, and goes to the
//! next connection where that is safe.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kv_proto::ErrorCode;

use crate::error::{Error, ErrorKind, Retry};
use crate::fate::{Ended, Fate, Sent, decide};
use crate::launch::{Flight, Kind, Launch, Launcher};
use crate::link::slots::Outcome;
use crate::link::state::Look;
use crate::link::{Link, Loss, Phase, Wakes};
use crate::reply::Reply;
use crate::request::sealed::Wire;
use crate::request::{Request, answer};
use crate::route::Router;

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
    router: &'c Arc<Router>,
    pub(crate) request: Q,
    timeout: Option<Duration>,
    stage: Stage,
}

enum Stage {
    Launching(Launch),
    Flying(Flight),
}

// Nothing is pinned inside: futures are boxed, requests are only borrowed from.
impl<Q: Request> Unpin for Call<'_, Q> {}

impl<'c, Q: Request> Call<'c, Q> {
    pub(crate) const fn new(router: &'c Arc<Router>, request: Q) -> Self {
        Self {
            router,
            request,
            timeout: None,
            stage: Stage::Launching(Launch::Start),
        }
    }

    /// Gives up after this long instead of the client's request timeout, waiting for room and
    /// for a connection included. The server is told as well, and stops working on it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What the end of a request comes to. `None`: it goes on elsewhere.
    fn settle(&mut self, outcome: Outcome, flight: &Flight) -> Option<Result<Q::Reply, Error>> {
        let fate = match outcome {
            Outcome::Reply(Reply::Err(error)) if is_refused_by_drain(&error, &flight.link) => {
                Fate::Again
            }
            Outcome::Reply(reply) => {
                return Some(answer(reply).and_then(|answer| self.request.decode(answer)));
            }
            Outcome::Ended(ended, sent) => fate_of(ended, sent, &self.request, &flight.link),
        };
        match fate {
            Fate::Again if self.router.reconnects() => {
                let launch = Launch::elsewhere(self.router, flight.deadline());
                self.stage = Stage::Launching(launch);
                None
            }
            Fate::Again => Some(Err(Error::new(ErrorKind::ConnectionLost, Retry::Safe))),
            Fate::Fail(kind, retry) => Some(Err(Error::new(kind, retry))),
        }
    }
}

/// A server that drains answers what it no longer takes with SHUTTING_DOWN: not applied.
pub(crate) fn is_refused_by_drain(error: &Error, link: &Link) -> bool {
    error.code() == Some(ErrorCode::ShuttingDown) && !link.is_open()
}

/// What becomes of a request that ended without an answer, by the reason for which its connection
/// did.
pub(crate) fn fate_of(ended: Ended, sent: Sent, request: &impl Wire, link: &Link) -> Fate {
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

impl<Q: Request> Future for Call<'_, Q> {
    type Output = Result<Q::Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Launching(launch) => {
                    let launcher = Launcher {
                        router: this.router,
                        request: &this.request,
                        kind: Kind::Single,
                        timeout: this.timeout,
                    };
                    let flight = ready!(launch.poll(&launcher, cx))?;
                    this.stage = Stage::Flying(flight);
                    // Its slot has this task's waker; the answer cannot be there already.
                    return Poll::Pending;
                }
                Stage::Flying(flight) => {
                    let mut wakes = Wakes::default();
                    let look = flight.link.lock().look(flight.id, cx.waker(), &mut wakes);
                    wakes.wake();
                    let Look::Done(outcome) = look else {
                        return Poll::Pending;
                    };
                    flight.land();
                    let over = Stage::Launching(Launch::Over);
                    let Stage::Flying(flight) = std::mem::replace(&mut this.stage, over) else {
                        return Poll::Pending;
                    };
                    if let Some(result) = this.settle(outcome, &flight) {
                        return Poll::Ready(result);
                    }
                }
            }
        }
    }
}
