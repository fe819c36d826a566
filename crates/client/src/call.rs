//! One call: a future that launches its request, waits for the answer in its slot, and goes to the
//! next connection where that is safe.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kv_proto::{ErrorCode, Repeat};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::command::Write;
use crate::error::{Error, ErrorKind, Retry};
use crate::fate::{Ended, Fate, Named, Sent, decide};
use crate::launch::{Flight, Kind, Launch, Launcher};
use crate::link::slots::Outcome;
use crate::link::state::Look;
use crate::link::{Link, Loss, Phase, Wakes};
use crate::once::Operation;
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
    stage: Stage<'c>,
    once: Once<'c>,
}

enum Stage<'c> {
    New,
    /// Waits for an operation number, until this time.
    Numbering(Numbering<'c>, Instant),
    Launching(Launch),
    Flying(Flight),
    /// Waits before it is repeated, with this time as its deadline.
    Pausing(Pin<Box<Sleep>>, Instant),
}

type Numbering<'c> = Pin<Box<dyn Future<Output = Result<Operation<'c>, Error>> + Send + 'c>>;

/// Whether the call may be repeated after it was sent.
enum Once<'c> {
    /// As the client's setting says.
    AsSet,
    /// Its caller asked for it.
    Asked,
    Named {
        operation: Operation<'c>,
        /// An earlier attempt may have been applied.
        in_doubt: bool,
    },
}

/// The shortest wait before a server that could not say what became of an operation is asked again.
const PAUSE: Duration = Duration::from_millis(20);

// Nothing is pinned inside: futures are boxed, requests are only borrowed from.
impl<Q: Request> Unpin for Call<'_, Q> {}

impl<'c, Q: Request> Call<'c, Q> {
    pub(crate) const fn new(router: &'c Arc<Router>, request: Q) -> Self {
        Self {
            router,
            request,
            timeout: None,
            stage: Stage::New,
            once: Once::AsSet,
        }
    }

    /// Gives up after this long instead of the client's request timeout, waiting for room and
    /// for a connection included. The server is told as well, and stops working on it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The first step: a write that is to be repeated safely gets its number.
    fn begin(&mut self) -> Result<(), Error> {
        let asked = matches!(self.once, Once::Asked) || self.router.retries_writes();
        if !asked || self.request.opcode().info().repeat != Repeat::WithIdempotency {
            self.stage = Stage::Launching(Launch::Start);
            return Ok(());
        }
        self.request.check()?;
        let numbers = self.router.numbers();
        self.stage = if let Some(operation) = numbers.take() {
            self.once = Once::Named {
                operation,
                in_doubt: false,
            };
            Stage::Launching(Launch::Start)
        } else {
            let now = Instant::now();
            let timeout = self.timeout.unwrap_or(self.router.request_timeout());
            let deadline = now.checked_add(timeout).unwrap_or(now);
            Stage::Numbering(Box::pin(numbers.wait(deadline)), deadline)
        };
        Ok(())
    }

    /// What the end of a request comes to. `None`: it goes on elsewhere.
    fn settle(&mut self, outcome: Outcome, flight: &Flight) -> Option<Result<Q::Reply, Error>> {
        let fate = match outcome {
            Outcome::Reply(Reply::Err(error)) if is_refused_by_drain(&error, &flight.link) => {
                Fate::Again
            }
            Outcome::Reply(Reply::Err(error)) => {
                let now = Instant::now();
                let pause = self.pause_before_repeat(&error);
                let at = pause.and_then(|pause| now.checked_add(pause));
                let Some(at) = at.filter(|&at| at < flight.deadline()) else {
                    return Some(Err(error));
                };
                self.stage = Stage::Pausing(Box::pin(sleep_until(at)), flight.deadline());
                return None;
            }
            Outcome::Reply(reply) => {
                return Some(answer(reply).and_then(|answer| self.request.decode(answer)));
            }
            Outcome::Ended(ended, sent) => {
                let named = self.note_doubt(sent);
                fate_of(ended, sent, (&self.request, named), &flight.link)
            }
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

    /// Takes note of how far an attempt got that was not answered.
    fn note_doubt(&mut self, sent: Sent) -> Named {
        match &mut self.once {
            Once::Named { in_doubt, .. } => {
                *in_doubt |= sent == Sent::Maybe;
                Named::Yes
            }
            Once::AsSet | Once::Asked => Named::No,
        }
    }

    /// How long to wait until a named operation is repeated that the server answered with this;
    /// `None`: the answer is final.
    fn pause_before_repeat(&mut self, error: &Error) -> Option<Duration> {
        let Once::Named { in_doubt, .. } = &mut self.once else {
            return None;
        };
        let again = match error.code()? {
            ErrorCode::OutcomeUnknown | ErrorCode::Internal => {
                *in_doubt = true;
                true
            }
            // Not applied now; an earlier attempt may have been.
            code => *in_doubt && code.retry() == kv_proto::Retry::Safe,
        };
        again.then(|| error.retry_after().unwrap_or_default().max(PAUSE))
    }

    /// The error as the caller gets it: what refuses a repeat says nothing about earlier attempts.
    fn told(&self, error: Error) -> Error {
        match &self.once {
            Once::Named { in_doubt: true, .. } if !is_first_answer(&error) => error.in_doubt(),
            _ => error,
        }
    }
}

/// Whether an operation is answered with this error only if no attempt was applied: what the server
/// remembers of it, or what it would have said to every attempt.
fn is_first_answer(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::Conflict
                | ErrorCode::WrongType
                | ErrorCode::InvalidArgument
                | ErrorCode::TooLarge
        )
    )
}

impl<Q: Write> Call<'_, Q> {
    /// Repeats it when the connection is lost before its answer, until its time is over, without
    /// applying it twice: what [`retry_writes`](crate::ClientBuilder::retry_writes) does for all
    /// writes.
    pub fn idempotent(mut self) -> Self {
        self.once = Once::Asked;
        self
    }
}

/// A server that drains answers what it no longer takes with SHUTTING_DOWN: not applied.
pub(crate) fn is_refused_by_drain(error: &Error, link: &Link) -> bool {
    error.code() == Some(ErrorCode::ShuttingDown) && !link.is_open()
}

/// What becomes of a request that ended without an answer, by the reason for which its connection
/// did.
pub(crate) fn fate_of(
    ended: Ended,
    sent: Sent,
    (request, named): (&impl Wire, Named),
    link: &Link,
) -> Fate {
    let fate = decide(ended, sent, request.opcode(), named);
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
                Stage::New => this.begin()?,
                Stage::Numbering(numbering, deadline) => {
                    let operation = ready!(numbering.as_mut().poll(cx))?;
                    let deadline = *deadline;
                    this.once = Once::Named {
                        operation,
                        in_doubt: false,
                    };
                    this.stage = Stage::Launching(Launch::elsewhere(this.router, deadline));
                }
                Stage::Launching(launch) => {
                    let operation = match &this.once {
                        Once::Named { operation, .. } => Some(operation.name()),
                        Once::AsSet | Once::Asked => None,
                    };
                    let launcher = Launcher {
                        router: this.router,
                        request: &this.request,
                        kind: Kind::Single,
                        timeout: this.timeout,
                        operation,
                    };
                    match ready!(launch.poll(&launcher, cx)) {
                        Ok(flight) => this.stage = Stage::Flying(flight),
                        Err(error) => return Poll::Ready(Err(this.told(error))),
                    }
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
                        return Poll::Ready(result.map_err(|error| this.told(error)));
                    }
                }
                Stage::Pausing(pause, deadline) => {
                    ready!(pause.as_mut().poll(cx));
                    let deadline = *deadline;
                    this.stage = Stage::Launching(Launch::elsewhere(this.router, deadline));
                }
            }
        }
    }
}
