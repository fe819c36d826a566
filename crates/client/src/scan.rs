//! SCAN as a stream of entries, with credit given back as items are taken.
//!
//! A connection that is lost, or whose server drains, does not end the stream: it goes on after the
//! last key on the next connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use kv_proto::limits::STREAM_CREDIT_DEFAULT;
use kv_proto::{Extensions, Opcode, returns};
use tokio::time::Instant;

use crate::call::{fate_of, is_refused_by_drain};
use crate::client::MultiplexedClient;
use crate::driver::millis;
use crate::error::{Error, ErrorKind, Retry};
use crate::fate::{Ended, Fate, Named, Sent};
use crate::launch::{Flight, Kind, Launch, Launcher};
use crate::link::Wakes;
use crate::link::streams::{StreamEnd, Taken};
use crate::reply::{ContentType, Item};
use crate::request::sealed::{Answer, Wire};

/// One entry that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanItem {
    /// The key.
    pub key: Bytes,
    /// The value; empty with [`Scan::keys_only`].
    pub value: Bytes,
    /// Bytes of the value, also where it was left out.
    pub value_len: usize,
    /// The entry's version.
    pub version: u64,
    /// What remains of its time to live; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// What its writer said about the value.
    pub content_type: ContentType,
}

/// A stream of the entries below a prefix, in key order.
///
/// It begins when it is polled first, and ends after an error. At most a window of items is held here;
/// the server waits until they are taken. A key that is present throughout comes exactly once, also
/// when the connection is lost and made again in between.
///
/// # Cancel safety
/// Dropping it tells the server to stop; what still comes is dropped here. Dropping
/// [`next`](Self::next) loses no item.
#[must_use = "a stream does nothing until it is polled"]
pub struct Scan {
    client: MultiplexedClient,
    request: Request,
    window: u32,
    stage: Stage,
    /// Set when the connection was lost, until an item comes.
    deadline: Option<Instant>,
}

enum Stage {
    Launching(Launch),
    Flying(Flight),
    Over,
}

struct Request {
    prefix: Box<[u8]>,
    /// The last key that came.
    cursor: Bytes,
    /// How many more are wanted.
    left: Option<u32>,
    order: Order,
    parts: Parts,
    window: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    KeysOnly,
}

impl Wire for Request {
    type Reply = ();

    fn opcode(&self) -> Opcode {
        Opcode::Scan
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        let ext = Extensions {
            limit: self.left,
            reverse: self.order == Order::Descending,
            returns: (self.parts == Parts::KeysOnly).then_some(returns::NO_VALUE),
            credit: Some(self.window).filter(|&window| window != STREAM_CREDIT_DEFAULT),
            ..Extensions::default()
        };
        (ext != Extensions::default()).then_some(ext)
    }

    fn key(&self) -> &[u8] {
        &self.prefix
    }

    fn value(&self) -> &[u8] {
        &self.cursor
    }

    fn check(&self) -> Result<(), Error> {
        if self.prefix.len() > kv_proto::limits::KEY_BYTES_MAX {
            return Err(Error::invalid("a prefix of more than 65,535 bytes"));
        }
        Ok(())
    }

    fn decode(&mut self, _: Answer) -> Result<(), Error> {
        Ok(())
    }
}

impl Scan {
    pub(crate) fn new(client: MultiplexedClient, prefix: &[u8]) -> Self {
        Self {
            client,
            request: Request {
                prefix: prefix.into(),
                cursor: Bytes::new(),
                left: None,
                order: Order::Ascending,
                parts: Parts::All,
                window: STREAM_CREDIT_DEFAULT,
            },
            window: STREAM_CREDIT_DEFAULT,
            stage: Stage::Launching(Launch::Start),
            deadline: None,
        }
    }

    /// Ends after this many items.
    pub fn limit(mut self, items: u32) -> Self {
        self.request.left = Some(items);
        self
    }

    /// Gives the entries in descending key order.
    pub fn reverse(mut self) -> Self {
        self.request.order = Order::Descending;
        self
    }

    /// Leaves the values out.
    pub fn keys_only(mut self) -> Self {
        self.request.parts = Parts::KeysOnly;
        self
    }

    /// Begins behind this key, which is left out itself.
    pub fn after(mut self, key: impl AsRef<[u8]>) -> Self {
        self.request.cursor = Bytes::copy_from_slice(key.as_ref());
        self
    }

    /// How many items the server may send ahead. Default: 256, zero counts as 1. Memory: as many
    /// items, each up to the server's limit of a value.
    pub fn window(mut self, items: u32) -> Self {
        self.window = items.max(1);
        self.request.window = self.window;
        self
    }

    /// The next entry; `None` when there are no more.
    ///
    /// # Errors
    /// As a call's; the stream is over after one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ScanItem, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn take(&mut self, item: Item) -> ScanItem {
        self.deadline = None;
        self.request.cursor = item.key.clone();
        if let Some(left) = &mut self.request.left {
            *left = left.saturating_sub(1);
        }
        let sent = item
            .meta
            .value_len
            .and_then(|len| usize::try_from(len).ok());
        ScanItem {
            value_len: sent.unwrap_or(item.value.len()),
            key: item.key,
            value: item.value,
            version: item.meta.version,
            ttl: item.meta.ttl(),
            content_type: item.meta.content_type.into(),
        }
    }

    /// What the end of one flight means for the stream: an error, its end, or another flight.
    fn end(&mut self, end: StreamEnd, flight: &Flight) -> Option<Error> {
        let fate = match end {
            StreamEnd::Complete => return None,
            StreamEnd::TimedOut => Fate::Fail(ErrorKind::Timeout, Retry::Safe),
            StreamEnd::Failed(error) if !is_refused_by_drain(&error, &flight.link) => {
                return Some(error);
            }
            StreamEnd::Failed(_) | StreamEnd::Lost => fate_of(
                Ended::Lost,
                Sent::Maybe,
                (&self.request, Named::No),
                &flight.link,
            ),
        };
        match fate {
            Fate::Fail(kind, retry) => Some(Error::new(kind, retry)),
            // All that were asked for came before the connection went.
            Fate::Again if self.request.left == Some(0) => None,
            Fate::Again if !self.client.router().reconnects() => {
                Some(Error::new(ErrorKind::ConnectionLost, Retry::Safe))
            }
            Fate::Again => {
                let now = Instant::now();
                let timeout = self.client.router().request_timeout();
                let deadline = *self
                    .deadline
                    .get_or_insert(now.checked_add(timeout).unwrap_or(now));
                let launch = Launch::elsewhere(self.client.router(), deadline);
                self.stage = Stage::Launching(launch);
                None
            }
        }
    }
}

impl Stream for Scan {
    type Item = Result<ScanItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Launching(launch) => {
                    if this.request.left == Some(0) {
                        this.stage = Stage::Over;
                        continue;
                    }
                    let launcher = Launcher {
                        router: this.client.router(),
                        request: &this.request,
                        kind: Kind::Stream(this.window),
                        timeout: None,
                        operation: None,
                    };
                    match ready!(launch.poll(&launcher, cx)) {
                        Ok(flight) => this.stage = Stage::Flying(flight),
                        Err(error) => {
                            this.stage = Stage::Over;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                Stage::Flying(flight) => {
                    let stall_ms = millis(this.client.router().request_timeout());
                    let mut wakes = Wakes::default();
                    let taken =
                        flight
                            .link
                            .lock()
                            .take_item(flight.id, stall_ms, cx.waker(), &mut wakes);
                    wakes.wake();
                    let end = match taken {
                        Taken::Nothing => return Poll::Pending,
                        Taken::Item(item, _) => return Poll::Ready(Some(Ok(this.take(item)))),
                        Taken::End(end) => end,
                    };
                    flight.land();
                    let Stage::Flying(flight) = std::mem::replace(&mut this.stage, Stage::Over)
                    else {
                        return Poll::Ready(None);
                    };
                    if let Some(error) = this.end(end, &flight) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Stage::Over => return Poll::Ready(None),
            }
        }
    }
}
