//! BACKUP as a stream: a note of when it was taken, the entries, and how many they were.
//!
//! The stream is checked here: it ends well only when every entry came, as the server's count and
//! checksum say. It is a copy of one moment, so one that is lost begins again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use kv_proto::limits::STREAM_CREDIT_DEFAULT;
use kv_proto::{Extensions, Opcode};
use sha2::{Digest as _, Sha256};

use crate::call::is_refused_by_drain;
use crate::client::MultiplexedClient;
use crate::driver::millis;
use crate::error::{Error, ErrorKind, Retry};
use crate::launch::{Flight, Kind, Launch, Launcher};
use crate::link::Wakes;
use crate::link::streams::{StreamEnd, Taken};
use crate::reply::{ContentType, Item};
use crate::request::sealed::{Answer, Wire};

/// The only form of the first and the last item that there is.
const FORMAT: u64 = 1;

/// What a backup gives, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackupItem {
    /// First, once.
    Opening {
        /// When the store was as the entries say, in milliseconds since the Unix epoch.
        taken_at_ms: u64,
        /// The store's position: no entry has a later version.
        position: u64,
        /// About how many entries will come.
        entries_hint: u64,
    },
    /// Each entry once, in ascending order of keys.
    Entry(BackupEntry),
    /// Last, once: all of it came, and is what the server read.
    Closing {
        /// How many entries came.
        entries: u64,
        /// SHA-256 over them, see [`BackupEntry::cover`].
        checksum: [u8; 32],
    },
}

/// An entry of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupEntry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The entry's version.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None`: never.
    pub expires_at_ms: Option<u64>,
    /// What its writer said about the value.
    pub content_type: ContentType,
}

impl BackupEntry {
    /// Adds the entry to a backup's checksum: `key length u16 | value length u32 | version u64 |
    /// expiry u64, 0 for never | content type u8 | key | value`.
    pub fn cover(&self, add: &mut impl FnMut(&[u8])) {
        add(&u16::try_from(self.key.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes());
        add(&u32::try_from(self.value.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes());
        add(&self.version.to_be_bytes());
        add(&self.expires_at_ms.unwrap_or(0).to_be_bytes());
        add(&[self.content_type.number()]);
        add(&self.key);
        add(&self.value);
    }
}

/// A stream of all entries of the server as they were at one moment.
///
/// It begins when it is polled first, and ends after an error: it cannot be resumed, because another
/// backup is of another moment. Needs the permission `admin`, and an engine that can.
///
/// # Cancel safety
/// Dropping it tells the server to stop. Dropping [`next`](Self::next) loses no item.
#[must_use = "a stream does nothing until it is polled"]
pub struct Backup {
    client: MultiplexedClient,
    request: Request,
    stage: Stage,
    taken_at_ms: Option<u64>,
    entries: u64,
    digest: Sha256,
    closed: bool,
}

enum Stage {
    Launching(Launch),
    Flying(Flight),
    Over,
}

struct Request {
    window: u32,
}

impl Wire for Request {
    type Reply = ();

    fn opcode(&self) -> Opcode {
        Opcode::Backup
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        (self.window != STREAM_CREDIT_DEFAULT).then(|| Extensions {
            credit: Some(self.window),
            ..Extensions::default()
        })
    }

    fn decode(&mut self, _: Answer) -> Result<(), Error> {
        Ok(())
    }
}

impl Backup {
    pub(crate) fn new(client: MultiplexedClient) -> Self {
        Self {
            client,
            request: Request {
                window: STREAM_CREDIT_DEFAULT,
            },
            stage: Stage::Launching(Launch::Start),
            taken_at_ms: None,
            entries: 0,
            digest: Sha256::new(),
            closed: false,
        }
    }

    /// How many entries the server may send ahead. Default: 256, zero counts as 1. Memory: as many
    /// entries, each up to the server's limit of a value.
    pub fn window(mut self, entries: u32) -> Self {
        self.request.window = entries.max(1);
        self
    }

    /// The next item; `None` after the last one.
    ///
    /// # Errors
    /// As a call's, and `UnusableReply` when what came is not what the server says it sent. The stream
    /// is over after one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<BackupItem, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn take(&mut self, item: Item) -> Result<BackupItem, Error> {
        let Some(taken_at_ms) = self.taken_at_ms else {
            return self.open(&item);
        };
        if self.closed {
            return Err(Error::unusable("a backup that goes on behind its end"));
        }
        if item.key.is_empty() {
            return self.close(&item.value);
        }
        let entry = BackupEntry {
            key: item.key,
            value: item.value,
            version: item.meta.version,
            expires_at_ms: item.meta.ttl_ms.map(|ttl| taken_at_ms.saturating_add(ttl)),
            content_type: item.meta.content_type.into(),
        };
        entry.cover(&mut |bytes| self.digest.update(bytes));
        self.entries = self.entries.saturating_add(1);
        Ok(BackupItem::Entry(entry))
    }

    fn open(&mut self, item: &Item) -> Result<BackupItem, Error> {
        let mut numbers = item.value.chunks_exact(8);
        let mut number = || {
            let bytes = numbers.next()?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        match (item.key.is_empty(), number(), number(), number()) {
            (true, Some(FORMAT), Some(taken_at_ms), Some(entries_hint)) => {
                self.taken_at_ms = Some(taken_at_ms);
                Ok(BackupItem::Opening {
                    taken_at_ms,
                    position: item.meta.version,
                    entries_hint,
                })
            }
            _ => Err(Error::unusable("a backup of a form that is not known")),
        }
    }

    fn close(&mut self, value: &[u8]) -> Result<BackupItem, Error> {
        let damaged = || Error::unusable("the backup is not what its count and checksum say");
        let (count, checksum) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
        let entries = u64::from_be_bytes(*count);
        let computed: [u8; 32] = self.digest.finalize_reset().into();
        if entries != self.entries || checksum != computed {
            return Err(damaged());
        }
        self.closed = true;
        Ok(BackupItem::Closing {
            entries,
            checksum: computed,
        })
    }

    /// What the end of the stream means: an error, or the end.
    fn end(&self, end: StreamEnd, flight: &Flight) -> Option<Error> {
        let lost = || Error::new(ErrorKind::ConnectionLost, Retry::Safe);
        match end {
            // A server that drains may end the stream early: then there is no last item.
            StreamEnd::Complete | StreamEnd::Lost if self.closed => None,
            StreamEnd::Complete => Some(Error::unusable("a backup without its last item")),
            StreamEnd::TimedOut => Some(Error::new(ErrorKind::Timeout, Retry::Safe)),
            StreamEnd::Failed(error) if !is_refused_by_drain(&error, &flight.link) => Some(error),
            StreamEnd::Failed(_) | StreamEnd::Lost => Some(lost()),
        }
    }

    fn over(&mut self, error: Error) -> Poll<Option<Result<BackupItem, Error>>> {
        self.stage = Stage::Over;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Backup {
    type Item = Result<BackupItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Launching(launch) => {
                    let launcher = Launcher {
                        router: this.client.router(),
                        request: &this.request,
                        kind: Kind::Stream(this.request.window),
                        timeout: None,
                        operation: None,
                    };
                    match ready!(launch.poll(&launcher, cx)) {
                        Ok(flight) => this.stage = Stage::Flying(flight),
                        Err(error) => return this.over(error),
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
                    match taken {
                        Taken::Nothing => return Poll::Pending,
                        Taken::Item(item, _) => match this.take(item) {
                            Ok(item) => return Poll::Ready(Some(Ok(item))),
                            Err(error) => return this.over(error),
                        },
                        Taken::End(end) => {
                            flight.land();
                            let over = std::mem::replace(&mut this.stage, Stage::Over);
                            let Stage::Flying(flight) = over else {
                                return Poll::Ready(None);
                            };
                            return Poll::Ready(this.end(end, &flight).map(Err));
                        }
                    }
                }
                Stage::Over => return Poll::Ready(None),
            }
        }
    }
}
