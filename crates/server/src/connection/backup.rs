//! BACKUP: all entries as they are at one moment, read by a thread of its own and handed to the
//! connection page by page, as it has credit.
//!
//! Reading a capture may block, so no thread that serves connections does it. The thread works only
//! when a page is asked for and ends with the stream, so a backup that nobody reads holds its capture
//! and one page, and there are at most [`BACKUPS_MAX`] of them.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use bytes::Bytes;
use kv_service::{
    Capture, Entry, Now, OwnedEntry, Page, PageLimits, ScannedPage, Service, StoreError,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::request::Reject;
use super::streams::PageReport;
use crate::shared::Shared;
use kv_proto::ErrorCode;

/// Backups that are read at one time: each keeps what it captured from being given free.
pub(crate) const BACKUPS_MAX: usize = 2;

/// The form of the first and the last item, and of what the checksum covers.
const FORMAT: u64 = 1;

/// A page that is wanted.
struct Ask {
    limits: PageLimits,
    report: PageReport,
}

/// The connection's end of a backup. Dropped, the thread ends.
pub(super) struct Backup {
    asks: Sender<Ask>,
    /// The moment of the capture, from which remaining times count.
    pub(super) taken: Now,
}

impl Backup {
    /// Starts the thread; it captures the store when the first page is asked for.
    pub(super) fn start(shared: &Arc<Shared>, taken: Now) -> Result<Self, Reject> {
        let busy = |message: &str| Reject {
            code: ErrorCode::Overloaded,
            message: message.into(),
            retry_after_ms: 1_000,
        };
        let turn = Arc::clone(&shared.backups)
            .try_acquire_owned()
            .map_err(|_| busy("as many backups as the server makes at once are under way"))?;
        let (asks, wanted) = mpsc::channel();
        let service = Arc::clone(&shared.service);
        thread::Builder::new()
            .name("kv-backup".into())
            .spawn(move || read(&service, taken, &wanted, turn))
            .map_err(|_| busy("the server cannot start a thread for the backup"))?;
        Ok(Self { asks, taken })
    }

    /// Asks for a page, which comes through `report`. When the thread is gone, dropping it says so.
    pub(super) fn ask(&self, limits: PageLimits, report: PageReport) {
        drop(self.asks.send(Ask { limits, report }));
    }
}

/// What an engine that cannot be backed up is answered with.
pub(super) fn unsupported() -> Reject {
    Reject::new(
        ErrorCode::Unsupported,
        "this store's engine cannot be backed up while it serves; export (`kv-cli export`) reads its \
         entries one by one",
    )
}

fn read(service: &Service, taken: Now, wanted: &Receiver<Ask>, _turn: OwnedSemaphorePermit) {
    let mut copy = None;
    while let Ok(Ask { limits, report }) = wanted.recv() {
        let page = match &mut copy {
            Some(copy) => Copy::page(copy, limits),
            None => match service.capture(taken) {
                Ok(capture) => {
                    // Behind the capture: no entry in it has a later version.
                    let position = service.stats().version;
                    copy.insert(Copy::new(capture, taken, position)).opening()
                }
                Err(error) => ScannedPage {
                    items: Vec::new(),
                    end: Page::Failed(error),
                },
            },
        };
        let over = matches!(page.end, Page::Done | Page::Failed(_));
        report.send(page);
        if over {
            return;
        }
    }
}

/// A backup on its way.
struct Copy {
    capture: Box<dyn Capture>,
    taken: Now,
    position: u64,
    count: u64,
    digest: Sha256,
    /// All entries are out; the last item is due.
    read: bool,
}

impl Copy {
    fn new(capture: Box<dyn Capture>, taken: Now, position: u64) -> Self {
        Self {
            capture,
            taken,
            position,
            count: 0,
            digest: Sha256::new(),
            read: false,
        }
    }

    /// An item that is no entry: its key is empty.
    fn note(&self, value: Vec<u8>) -> (Bytes, OwnedEntry) {
        let note = OwnedEntry {
            value: value.into(),
            version: self.position,
            expires_at: None,
            content_type: 0,
        };
        (Bytes::new(), note)
    }

    /// The first item.
    fn opening(&self) -> ScannedPage {
        let mut value = Vec::with_capacity(24);
        for number in [FORMAT, self.taken.unix_ms(), self.capture.len_hint()] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        ScannedPage {
            items: vec![self.note(value)],
            end: Page::More,
        }
    }

    /// The next entries; behind them, where the page has a place left, the last item.
    fn page(&mut self, limits: PageLimits) -> ScannedPage {
        let mut items = Vec::new();
        if !self.read {
            let (digest, taken) = (&mut self.digest, self.taken);
            let end = self.capture.page(limits, &mut |key, entry| {
                let gone = |at: NonZeroU64| at.get() <= taken.unix_ms();
                if entry.expires_at.is_some_and(gone) {
                    return;
                }
                cover(digest, key, entry);
                items.push((Bytes::copy_from_slice(key), entry.to_owned_entry()));
            });
            let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
            self.count = self.count.saturating_add(count);
            match end {
                Page::Done => self.read = true,
                Page::More => return ScannedPage { items, end },
                // A capture blocks: it has nothing to put off.
                Page::NotNow => {
                    let end = Page::Failed(StoreError::Unavailable);
                    return ScannedPage { items, end };
                }
                Page::Failed(_) => return ScannedPage { items, end },
            }
        }
        if items.len() >= limits.items {
            let end = Page::More;
            return ScannedPage { items, end };
        }
        let mut value = Vec::with_capacity(40);
        value.extend_from_slice(&self.count.to_be_bytes());
        value.extend_from_slice(&self.digest.finalize_reset());
        items.push(self.note(value));
        ScannedPage {
            items,
            end: Page::Done,
        }
    }
}

/// Adds an entry to the checksum, in a form that no other entry has.
fn cover(digest: &mut Sha256, key: &[u8], entry: Entry<'_>) {
    let value = entry.value.as_slice();
    digest.update(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    digest.update(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(entry.version.to_be_bytes());
    let expires_at = entry.expires_at.map_or(0, NonZeroU64::get);
    digest.update(expires_at.to_be_bytes());
    digest.update([entry.content_type]);
    digest.update(key);
    digest.update(value);
}
