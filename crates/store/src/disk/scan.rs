//! Pages and captures in key order.

use super::overlay::Merged;
use super::store::Store;
use crate::{
    Capture, Entry, Now, OwnedRange, Page, PageLimits, ScanRange, ScannedPage, StoreError,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Entries of one page at most, whatever is asked for.
const PAGE_ITEMS_MAX: usize = 1_024;

/// Bytes of one page at most, beside its first entry.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Dirty keys looked at for one page beyond those it may show: deletions.
const SPARE_KEYS: usize = 4_096;

/// How long counting keys waits for a batch that is being carried.
const COUNT_PATIENCE: Duration = Duration::from_millis(20);

/// How long a capture waits for rounds that make it smaller.
const CAPTURE_PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// One page, and what it depends on.
    pub(super) fn page(
        &self,
        now: Now,
        range: &OwnedRange,
        limits: PageLimits,
    ) -> (ScannedPage, u64) {
        let mut items = Vec::new();
        let mut after = 0;
        let now = self.now_for(now, true);
        let end = self.fill(now, range, limits, &mut items, &mut after);
        let end = end.unwrap_or_else(Page::Failed);
        (ScannedPage { items, end }, after)
    }

    fn fill(
        &self,
        now: Now,
        range: &OwnedRange,
        limits: PageLimits,
        items: &mut Vec<(Bytes, crate::OwnedEntry)>,
        depends: &mut u64,
    ) -> Result<Page, StoreError> {
        let items_max = limits.items.clamp(1, PAGE_ITEMS_MAX);
        // The first entry always fits.
        let mut bytes_left = limits.bytes.clamp(1, PAGE_BYTES_MAX);
        let mut range = range.clone();
        loop {
            let moment = self.moment(now, range.as_range(), items_max + SPARE_KEYS)?;
            *depends = (*depends).max(moment.after);
            let end = moment.end.clone();
            let mut entries = moment.entries(range.as_range());
            while let Some((key, entry)) = entries.next()? {
                if items.len() >= items_max || bytes_left == 0 {
                    return Ok(Page::More);
                }
                bytes_left = bytes_left.saturating_sub(key.len() + entry.value.len());
                items.push((key, entry));
            }
            match end {
                None => return Ok(Page::Done),
                Some(_) if !items.is_empty() => return Ok(Page::More),
                // Nothing but deletions so far: go on behind them.
                end @ Some(_) => range.after = end,
            }
        }
    }

    /// The whole store as it is at some moment during the call, durable.
    pub(super) fn capture(self: &Arc<Self>, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        // What is carried before need not be copied while everybody waits: the second round has
        // only to take what came during the first.
        for _ in 0..2 {
            self.rounds.wait_for_one(CAPTURE_PATIENCE);
        }
        let moment = self.moment(now, ScanRange::default(), usize::MAX)?;
        self.staging.flush();
        if !self.progress.wait_durable(moment.after) {
            return Err(StoreError::Unavailable);
        }
        let keys = self.keys();
        Ok(Box::new(Captured {
            entries: moment.entries(ScanRange::default()),
            next: None,
            keys,
        }))
    }

    /// Entries there are, those included that have expired and were not yet removed.
    pub(super) fn keys(&self) -> u64 {
        // Not for long: the figure may be off by what is handed over at this moment.
        let _nobody_hands_over = self.handing_over.try_lock_for(COUNT_PATIENCE);
        self.base.keys().saturating_add_signed(self.dirt().keys)
    }
}

/// A [`Capture`] of the store.
struct Captured {
    entries: Merged,
    /// Read already, did not fit the last page.
    next: Option<(Bytes, crate::OwnedEntry)>,
    keys: u64,
}

impl Capture for Captured {
    fn page(&mut self, limits: PageLimits, visit: &mut dyn FnMut(&[u8], Entry<'_>)) -> Page {
        let mut items_left = limits.items.max(1);
        let mut bytes_left = limits.bytes;
        loop {
            let next = match self.next.take() {
                Some(next) => Ok(Some(next)),
                None => self.entries.next(),
            };
            let (key, entry) = match next {
                Ok(Some(next)) => next,
                Ok(None) => return Page::Done,
                Err(error) => return Page::Failed(error),
            };
            let first = items_left == limits.items.max(1);
            if items_left == 0 || (bytes_left == 0 && !first) {
                self.next = Some((key, entry));
                return Page::More;
            }
            items_left -= 1;
            bytes_left = bytes_left.saturating_sub(key.len() + entry.value.len());
            visit(&key, entry.as_entry());
        }
    }

    fn len_hint(&self) -> u64 {
        self.keys
    }
}
