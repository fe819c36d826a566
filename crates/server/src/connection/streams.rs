//! Streams: the pages of SCAN and BACKUP, sent item by item under credit, in turns.
//!
//! A scan holds its cursor and nothing else: the last key sent; a backup has a thread that reads. They
//! are advanced when they have credit and the output has room, one page at a time, so that other
//! requests go between.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use kv_proto::{
    ErrorCode, Extensions, FrameHead, Opcode, ProtocolViolation, limits::STREAM_CREDIT_DEFAULT,
};
use kv_service::{OwnedRange, Page, PageLimits, Pressure, ScannedPage, StoreError};
use tokio::time::Instant;

use super::backup::{self, Backup};
use super::core::{Core, Intake};
use super::inflight::Token;
use super::intake::Parts;
use super::mailbox::{Finished, Mailbox};
use super::reply;
use super::request::{Meta, Reject};

/// Items of one page: the work between two turns.
const PAGE_ITEMS: usize = 64;
/// Bytes of one page.
const PAGE_BYTES: usize = 64 * 1024;
/// Output beyond which streams wait: they can go on at any time, replies cannot be held back.
const ROOM_BYTES: usize = 256 * 1024;

/// Where a stream's items come from.
enum Source {
    /// The entries of a range, as they are when their page is read.
    Scan(OwnedRange),
    /// A copy of the store.
    Backup(Backup),
}

/// One open SCAN or BACKUP.
struct Stream {
    meta: Meta,
    source: Source,
    /// LIMIT: items still wanted.
    remaining: Option<u32>,
    credit: u32,
    deadline: Option<Instant>,
    /// A page that the engine could not give at once is on its way.
    pending: Option<Token>,
    /// It has its final answer, and waits for that page only.
    cancelled: bool,
}

/// The open streams of a connection, in the order of their turns.
#[derive(Default)]
pub(super) struct Streams {
    queue: VecDeque<Stream>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn contains(&self, request_id: u32) -> bool {
        self.queue.iter().any(|stream| stream.is_named(request_id))
    }

    /// Adds credit; for a stream that is over it came too late and means nothing.
    pub(super) fn grant(&mut self, request_id: u32, credit: u32) -> Result<(), ProtocolViolation> {
        let found = self
            .queue
            .iter_mut()
            .find(|stream| stream.is_named(request_id));
        if let Some(stream) = found {
            stream.credit = stream
                .credit
                .checked_add(credit)
                .ok_or(ProtocolViolation::CreditOverflow)?;
        }
        Ok(())
    }

    /// Ends a stream. Whether it was open and not cancelled; the caller sends END. One whose page is
    /// on its way keeps its place until the page is there.
    pub(super) fn cancel(&mut self, request_id: u32) -> bool {
        let Some(at) = self.queue.iter().position(|s| s.is_named(request_id)) else {
            return false;
        };
        match self.queue.get_mut(at) {
            Some(stream) if stream.pending.is_some() => {
                stream.cancelled = true;
                true
            }
            _ => self.queue.remove(at).is_some(),
        }
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let open = self.queue.iter().filter(|stream| !stream.cancelled);
        open.filter_map(|stream| stream.deadline).min()
    }
}

impl Stream {
    /// Whether it is the open stream with this id. One that has its final answer has none: the client
    /// may have used the id again.
    const fn is_named(&self, request_id: u32) -> bool {
        self.meta.request_id == request_id && !self.cancelled
    }

    const fn is_ready(&self) -> bool {
        self.credit > 0 && self.pending.is_none() && !self.cancelled
    }

    /// How many items the next page may have.
    fn page_items(&self) -> usize {
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        let wanted = self
            .remaining
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        PAGE_ITEMS.min(credit).min(wanted)
    }

    /// Takes note of items sent and the last key among them.
    fn sent(&mut self, items: u32, last: Option<Bytes>) {
        self.credit = self.credit.saturating_sub(items);
        self.remaining = self.remaining.map(|n| n.saturating_sub(items));
        if let (Source::Scan(range), Some(last)) = (&mut self.source, last) {
            range.after = Some(last);
        }
    }
}

impl Core {
    /// SCAN: opens a stream.
    pub(super) fn open_scan(&mut self, meta: Meta, ext: &Extensions<'_>, parts: Parts<'_>) {
        if let Err(reject) = self.admit_stream(meta.request_id, ext.limit) {
            return self.reject_cheap(meta, &reject);
        }
        let after = (!parts.value.is_empty()).then(|| Bytes::copy_from_slice(parts.value));
        let range = OwnedRange {
            prefix: Bytes::copy_from_slice(parts.key),
            after,
            reverse: ext.reverse,
        };
        self.open_stream(meta, ext, Source::Scan(range));
    }

    /// BACKUP: opens a stream.
    pub(super) fn open_backup(&mut self, meta: Meta, ext: &Extensions<'_>) {
        if let Err(reject) = self.admit_stream(meta.request_id, None) {
            return self.reject_cheap(meta, &reject);
        }
        match Backup::start(&self.shared, self.now) {
            Ok(backup) => self.open_stream(meta, ext, Source::Backup(backup)),
            Err(reject) => self.reject(meta, &reject),
        }
    }

    fn open_stream(&mut self, meta: Meta, ext: &Extensions<'_>, source: Source) {
        let deadline = meta
            .deadline_ms
            .map(|ms| self.instant + std::time::Duration::from_millis(u64::from(ms)));
        self.streams.queue.push_back(Stream {
            meta,
            source,
            remaining: ext.limit,
            credit: ext.credit.unwrap_or(STREAM_CREDIT_DEFAULT),
            deadline,
            pending: None,
            cancelled: false,
        });
    }

    fn admit_stream(&self, request_id: u32, limit: Option<u32>) -> Result<(), Reject> {
        if limit == Some(0) {
            return Err(Reject::argument("LIMIT is 0"));
        }
        self.admit_waiting(request_id)?;
        let max = self.shared.config.limits.max_streams_per_connection.get();
        if self.streams.len() >= max {
            return Err(Reject {
                code: ErrorCode::TooManyInFlight,
                message: format!("at most {max} streams may be open on one connection"),
                retry_after_ms: 10,
            });
        }
        if self.shared.accountant.pressure() >= Pressure::RefuseStreams {
            return Err(Reject {
                code: ErrorCode::Overloaded,
                message: "the server is close to its memory limit and opens no streams".into(),
                retry_after_ms: 1_000,
            });
        }
        Ok(())
    }

    /// Advances each stream by at most one page. Whether anything was sent.
    pub(super) fn advance_streams(&mut self) -> bool {
        let mut progress = false;
        for _ in 0..self.streams.len() {
            if self.egress.waiting_bytes() >= ROOM_BYTES {
                break;
            }
            let Some(mut stream) = self.streams.queue.pop_front() else {
                break;
            };
            if !stream.is_ready() {
                self.streams.queue.push_back(stream);
                continue;
            }
            progress = true;
            if self.advance(&mut stream) {
                self.streams.queue.push_back(stream);
            }
        }
        progress
    }

    /// Sends one page; whether the stream stays open.
    fn advance(&mut self, stream: &mut Stream) -> bool {
        let limits = PageLimits {
            items: stream.page_items(),
            bytes: PAGE_BYTES,
        };
        let Source::Scan(range) = &stream.source else {
            self.request_page(stream, limits);
            return true;
        };
        let (egress, now, meta) = (&mut self.egress, self.now, stream.meta);
        let (mut items, mut last) = (0u32, None);
        let service = &self.shared.service;
        let page = catch_unwind(AssertUnwindSafe(|| {
            service.scan(now, range.as_range(), limits, &mut |key, entry| {
                let head = FrameHead::new(Opcode::Item, meta.request_id);
                reply::found(egress, head, key, entry, meta.wants_no_value(), now);
                items += 1;
                last = Some(Bytes::copy_from_slice(key));
            })
        }));
        stream.sent(items, last);
        match page {
            Ok(Page::More) if stream.remaining == Some(0) => self.end_stream(meta),
            Ok(Page::More) => true,
            Ok(Page::Done) => self.end_stream(meta),
            Ok(Page::Failed(error)) => {
                self.reject(meta, &reply::store_error(error));
                false
            }
            Ok(Page::NotNow) => {
                self.request_page(stream, limits);
                true
            }
            Err(_) => {
                self.handler_panicked(meta);
                false
            }
        }
    }

    fn end_stream(&mut self, meta: Meta) -> bool {
        reply::end(&mut self.egress, meta.request_id);
        self.count_ok(meta.opcode);
        false
    }

    fn request_page(&mut self, stream: &mut Stream, limits: PageLimits) {
        let token = self.inflight.token();
        stream.pending = Some(token);
        let report = PageReport {
            mailbox: Some(Arc::clone(&self.peer.mailbox)),
            token,
        };
        let range = match &stream.source {
            Source::Scan(range) => range.clone(),
            Source::Backup(backup) => return backup.ask(limits, report),
        };
        let (service, now) = (&self.shared.service, self.now);
        let asked = catch_unwind(AssertUnwindSafe(|| {
            service.submit_scan(now, range, limits, Box::new(move |page| report.send(page)));
        }));
        if asked.is_err() {
            self.shared.metrics.panicked();
        }
    }

    /// A page that the engine could not give at once has come.
    pub(super) fn on_page(&mut self, token: Token, page: Option<ScannedPage>) {
        let Some(at) = self
            .streams
            .queue
            .iter()
            .position(|s| s.pending == Some(token))
        else {
            return;
        };
        let Some(mut stream) = self.streams.queue.remove(at) else {
            return;
        };
        stream.pending = None;
        if stream.cancelled {
            return;
        }
        let meta = stream.meta;
        let Some(page) = page else {
            return self.handler_panicked(meta);
        };
        let now = match &stream.source {
            Source::Scan(_) => self.now,
            Source::Backup(backup) => backup.taken,
        };
        let (mut items, mut last) = (0u32, None);
        for (key, entry) in &page.items {
            let head = FrameHead::new(Opcode::Item, meta.request_id);
            let no_value = meta.wants_no_value();
            reply::found(&mut self.egress, head, key, entry.as_entry(), no_value, now);
            items += 1;
            last = Some(key.clone());
        }
        stream.sent(items, last);
        match page.end {
            Page::More | Page::NotNow if stream.remaining != Some(0) => {
                self.streams.queue.push_back(stream);
            }
            Page::Failed(StoreError::Unsupported) if matches!(stream.source, Source::Backup(_)) => {
                self.reject(meta, &backup::unsupported());
            }
            Page::Failed(error) => self.reject(meta, &reply::store_error(error)),
            Page::More | Page::NotNow | Page::Done => {
                self.end_stream(meta);
            }
        }
    }

    /// Ends all streams with END: the client said GOODBYE, so it grants no more credit [P-11.6].
    pub(super) fn end_streams(&mut self) {
        let mut open = Vec::new();
        for stream in &mut self.streams.queue {
            if !std::mem::replace(&mut stream.cancelled, true) {
                open.push(stream.meta);
            }
        }
        self.streams.queue.retain(|stream| stream.pending.is_some());
        for meta in open {
            self.end_stream(meta);
        }
    }

    /// Ends the streams whose deadline is over, and all of them when the server drains: a scan can be
    /// resumed elsewhere from its last key, a backup begins again.
    pub(super) fn expire_streams(&mut self) {
        let draining = self.intake == Intake::Draining;
        let now = self.instant;
        let mut over = Vec::new();
        for stream in &mut self.streams.queue {
            let late = stream.deadline.is_some_and(|deadline| deadline <= now);
            if !stream.cancelled && (late || draining) {
                stream.cancelled = true;
                over.push((stream.meta, late));
            }
        }
        self.streams
            .queue
            .retain(|stream| !stream.cancelled || stream.pending.is_some());
        for (meta, late) in over {
            let reject = if late {
                Reject::deadline()
            } else {
                Reject {
                    code: ErrorCode::ShuttingDown,
                    message: "the server is shutting down; a scan can be resumed from its last key"
                        .into(),
                    retry_after_ms: 1_000,
                }
            };
            self.reject(meta, &reject);
        }
    }
}

/// Brings a page back to the connection; dropped unsent, it says that there is none.
pub(super) struct PageReport {
    mailbox: Option<Arc<Mailbox>>,
    token: Token,
}

impl PageReport {
    pub(super) fn send(mut self, page: ScannedPage) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.finished(Finished::Page(self.token, Some(page)));
        }
    }
}

impl Drop for PageReport {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.finished(Finished::Page(self.token, None));
        }
    }
}
