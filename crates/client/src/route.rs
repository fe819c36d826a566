//! Which connection calls go to, and making the next one when it is lost.
//!
//! Connections are made on demand: a client that makes no calls does not knock at a server that is
//! down. One supervisor task owns the drivers and dials; calls that need a connection wait for its
//! word. Delays grow exponentially, with jitter, while dialling fails or connections do not last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Retry};
use crate::link::Link;
use crate::link::state::WhenFull;
use crate::once::Numbers;

/// A driver, whatever its transport.
pub(crate) type BoxedDriver = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A connection to go on with.
pub(crate) type NextLink = Pin<Box<dyn Future<Output = Result<Arc<Link>, Error>> + Send>>;
/// A fresh connection and the driver that has to run for it.
pub(crate) type Dialing<'d> =
    Pin<Box<dyn Future<Output = Result<(Arc<Link>, BoxedDriver), Error>> + Send + 'd>>;

/// Makes connections.
pub(crate) trait Dial: Send + Sync + 'static {
    fn dial(&self) -> Dialing<'_>;
}

/// Where calls go.
#[derive(Clone)]
enum Route {
    Up(Arc<Link>),
    /// Dialling failed. The supervisor tries again while anyone waits, unless it is of no use.
    Down(Error),
    /// The client was closed.
    Closed,
    /// And the last of its connections is over.
    Ended,
}

/// What calls need to know of the client they belong to.
pub(crate) struct Router {
    route: watch::Sender<Route>,
    /// A call found no connection, or the client was closed.
    demand: Notify,
    settings: Settings,
    numbers: Numbers,
}

/// The part of the configuration that calls read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) request_timeout: Duration,
    pub(crate) when_full: WhenFull,
    /// `None`: a lost connection is the end of the client.
    pub(crate) backoff: Option<Backoff>,
    /// Writes get an operation number each, and are repeated under it.
    pub(crate) retry_writes: bool,
    /// Under which operations are numbered: random.
    pub(crate) client: [u8; 16],
}

impl Router {
    /// Starts with one connection. The supervisor runs in `tasks`.
    pub(crate) fn start(
        first: (Arc<Link>, BoxedDriver),
        dial: Box<dyn Dial>,
        settings: Settings,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let (link, driver) = first;
        let router = Arc::new(Self {
            route: watch::Sender::new(Route::Up(link)),
            demand: Notify::new(),
            settings,
            numbers: Numbers::new(settings.client),
        });
        tasks.spawn(supervise(Arc::clone(&router), dial, driver));
        router
    }

    #[inline]
    pub(crate) const fn when_full(&self) -> WhenFull {
        self.settings.when_full
    }

    #[inline]
    pub(crate) const fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    #[inline]
    pub(crate) const fn retries_writes(&self) -> bool {
        self.settings.retry_writes
    }

    pub(crate) const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    pub(crate) const fn reconnects(&self) -> bool {
        self.settings.backoff.is_some()
    }

    /// The connection that calls go to, which may have ended by now.
    #[inline]
    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        match &*self.route.borrow() {
            Route::Up(link) => Some(Arc::clone(link)),
            Route::Down(_) | Route::Closed | Route::Ended => None,
        }
    }

    /// Waits for a connection that takes calls.
    pub(crate) fn next_link(self: &Arc<Self>, deadline: Instant) -> NextLink {
        let router = Arc::clone(self);
        Box::pin(async move {
            match timeout_at(deadline, router.wait_for_link()).await {
                Ok(result) => result,
                Err(_) => Err(match &*router.route.borrow() {
                    Route::Down(error) => error.clone(),
                    _ => Error::new(ErrorKind::Timeout, Retry::Safe),
                }),
            }
        })
    }

    async fn wait_for_link(&self) -> Result<Arc<Link>, Error> {
        // The supervisor counts the receivers to learn whether anyone waits.
        let mut route = self.route.subscribe();
        let mut first = true;
        loop {
            match &*route.borrow_and_update() {
                Route::Up(link) if link.is_open() => return Ok(Arc::clone(link)),
                Route::Up(_) if !self.reconnects() => {
                    return Err(Error::new(ErrorKind::ConnectionLost, Retry::Safe));
                }
                Route::Down(error) if !first && is_final(error) => return Err(error.clone()),
                Route::Closed | Route::Ended => return Err(Error::closed()),
                Route::Up(_) | Route::Down(_) => {}
            }
            first = false;
            self.demand.notify_one();
            if route.changed().await.is_err() {
                return Err(Error::closed());
            }
        }
    }

    /// Takes no more calls and lets the connections end in order.
    pub(crate) fn close(&self) {
        let before = self.route.send_replace(Route::Closed);
        match before {
            Route::Up(link) => link.leave(),
            Route::Ended => {
                self.route.send_replace(Route::Ended);
            }
            Route::Down(_) | Route::Closed => {}
        }
        self.demand.notify_one();
    }

    /// Waits until the last connection is over.
    pub(crate) async fn ended(&self) {
        let mut route = self.route.subscribe();
        // The sender lives as long as `self`.
        let _ = route.wait_for(|route| matches!(route, Route::Ended)).await;
    }

    fn is_closed(&self) -> bool {
        matches!(*self.route.borrow(), Route::Closed | Route::Ended)
    }

    fn needs_link(&self) -> bool {
        match &*self.route.borrow() {
            Route::Up(link) => !link.is_open(),
            Route::Down(_) => true,
            Route::Closed | Route::Ended => false,
        }
    }

    /// Publishes what dialling came to, unless the client was closed meanwhile.
    fn publish(&self, next: Route) -> bool {
        self.route.send_if_modified(|route| {
            let open = !matches!(route, Route::Closed | Route::Ended);
            if open {
                *route = next;
            }
            open
        })
    }
}

/// Whether trying again is of no use: the server or the configuration has to change first.
fn is_final(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Connect(_)
            | ErrorKind::ConnectionLost
            | ErrorKind::Timeout
            | ErrorKind::Refused(_)
    )
}

/// Owns the drivers; dials when calls need it.
async fn supervise(router: Arc<Router>, dial: Box<dyn Dial>, first: BoxedDriver) {
    let mut drivers = JoinSet::new();
    drivers.spawn(first);
    let mut dialled = Instant::now();
    let mut attempt = 0;
    while !router.is_closed() {
        tokio::select! {
            () = router.demand.notified() => {}
            Some(_) = drivers.join_next(), if !drivers.is_empty() => {
                // Whoever waits on a lost connection asks for the next by itself.
                continue;
            }
        }
        let Some(backoff) = router.settings.backoff.filter(|_| router.needs_link()) else {
            continue;
        };
        if dialled.elapsed() >= backoff.stable_after() {
            attempt = 0;
        }
        wait_or_close(&router, &mut drivers, backoff.delay(attempt)).await;
        if router.is_closed() {
            break;
        }
        attempt = attempt.saturating_add(1);
        let result = dial.dial().await;
        dialled = Instant::now();
        match result {
            Ok((link, driver)) => {
                drivers.spawn(driver);
                if !router.publish(Route::Up(Arc::clone(&link))) {
                    link.leave();
                }
            }
            Err(error) => {
                tracing::debug!(%error, attempt, "dialling failed");
                let last = is_final(&error);
                router.publish(Route::Down(error));
                if !last && router.route.receiver_count() > 0 {
                    router.demand.notify_one();
                }
            }
        }
    }
    while drivers.join_next().await.is_some() {}
    router.route.send_replace(Route::Ended);
}

/// Waits before dialling; drivers that end meanwhile are reaped, and closing the client ends it.
async fn wait_or_close(router: &Router, drivers: &mut JoinSet<()>, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    let mut route = router.route.subscribe();
    let pause = sleep(delay);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return,
            _ = route.wait_for(|route| matches!(route, Route::Closed)) => return,
            Some(_) = drivers.join_next(), if !drivers.is_empty() => {}
        }
    }
}
