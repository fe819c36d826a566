//! Pages in key order: each shard keeps its keys sorted, a page merges them.
//!
//! The first scan builds the indexes, some shards per call; until all stand, pages are empty and
//! unfinished. A page is collected with all shards locked, in ascending order.

use super::evict::TRIES;
use super::shard::{Call, Hindrance, Shard, Want};
use super::{Lock, MemoryEngine};
use crate::table::{Order, behind_prefix, is_due, key_bytes};
use crate::{Entry, Now, Page, PageLimits, ScanRange, StoreError};
use parking_lot::MutexGuard;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;

/// Entries of one page at most, whatever is asked for: all shards wait while it is collected.
const PAGE_ITEMS_MAX: usize = 1_024;

/// Bytes of one page at most, beside its first entry.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Expired entries one page passes over at most; it removes them, so that the next gets further.
const PAGE_EXPIRED_MAX: usize = 4_096;

/// Keys sorted in one call while the indexes are built (at least one shard's).
const BUILD_KEYS_PER_CALL: usize = 32 * 1024;

type Visit<'v> = &'v mut dyn FnMut(&[u8], Entry<'_>);

impl MemoryEngine {
    pub(super) fn scan_page(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: Visit<'_>,
    ) -> Page {
        match self.build_indexes(now) {
            Ok(true) => {}
            Ok(false) => return Page::More,
            Err(error) => return Page::Failed(error),
        }
        let mut shards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
        let mut expired = Vec::new();
        let page = {
            let mut collector = Collector {
                engine: self,
                now,
                shards: &shards,
                items_left: limits.items.clamp(1, PAGE_ITEMS_MAX),
                // The first entry always fits.
                bytes_left: limits.bytes.clamp(1, PAGE_BYTES_MAX),
                expired: &mut expired,
                visit,
            };
            if range.reverse {
                collector.descend(range)
            } else {
                collector.ascend(range)
            }
        };
        for (shard, hash, key) in expired {
            let call = Call {
                common: &self.common,
                shard,
                hash,
                now,
            };
            if let Some(locked) = shards.get_mut(shard) {
                // Looking for it removes it.
                locked.find_live(call, &key);
            }
        }
        page
    }

    /// Builds indexes that are missing, as many as one call may. Says whether all stand.
    fn build_indexes(&self, now: Now) -> Result<bool, StoreError> {
        if self.indexed.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(true);
        }
        let mut keys = 0;
        for locked in &self.shards {
            if keys >= BUILD_KEYS_PER_CALL {
                return Ok(false);
            }
            keys += self.build_index(now, locked)?;
        }
        // Release: whoever sees it finds an index in every shard.
        self.indexed
            .store(true, std::sync::atomic::Ordering::Release);
        Ok(true)
    }

    /// Builds the index of a shard that has none; how many keys it sorted.
    fn build_index(&self, now: Now, locked: &Lock) -> Result<usize, StoreError> {
        for _ in 0..TRIES {
            let mut shard = locked.lock();
            if shard.order.is_some() {
                return Ok(0);
            }
            let bytes = shard.table.iter().map(|entry| key_bytes(entry.key())).sum();
            let Err(hindrance) = self.common.reserve(Want::more(bytes)) else {
                let keys = shard.table.iter().map(|entry| entry.key().into()).collect();
                shard.order = Some(Order::of(keys));
                return Ok(shard.table.len());
            };
            drop(shard);
            match hindrance {
                Hindrance::NoRoom(want) => self.make_space(now, want, &|_| false)?,
                Hindrance::Error(error) => return Err(error),
            }
        }
        Err(StoreError::OutOfMemory)
    }
}

/// A page while it is collected.
struct Collector<'c, 'e> {
    engine: &'c MemoryEngine,
    now: Now,
    shards: &'c [MutexGuard<'e, Shard>],
    items_left: usize,
    bytes_left: usize,
    expired: &'c mut Vec<(usize, u64, Box<[u8]>)>,
    visit: Visit<'c>,
}

impl Collector<'_, '_> {
    fn ascend(&mut self, range: ScanRange<'_>) -> Page {
        let from = match range.after {
            Some(after) if after >= range.prefix => Bound::Excluded(after),
            _ => Bound::Included(range.prefix),
        };
        let shards = self.shards;
        let mut streams: Vec<_> = shards
            .iter()
            .map(|shard| {
                shard
                    .order
                    .iter()
                    .flat_map(move |order| order.upwards(from))
            })
            .collect();
        let mut heads = BinaryHeap::with_capacity(streams.len());
        for (number, stream) in streams.iter_mut().enumerate() {
            heads.extend(stream.next().map(|key| Reverse((key, number))));
        }
        while let Some(Reverse((key, number))) = heads.pop() {
            match self.take(range.prefix, key, number) {
                Some(page) => return page,
                None => {
                    let next = streams.get_mut(number).and_then(Iterator::next);
                    heads.extend(next.map(|key| Reverse((key, number))));
                }
            }
        }
        Page::Done
    }

    fn descend(&mut self, range: ScanRange<'_>) -> Page {
        let behind = behind_prefix(range.prefix);
        let from = match (range.after, behind.as_deref()) {
            (Some(after), Some(behind)) if after < behind => Bound::Excluded(after),
            (Some(after), None) => Bound::Excluded(after),
            (_, Some(behind)) => Bound::Excluded(behind),
            (None, None) => Bound::Unbounded,
        };
        let shards = self.shards;
        let mut streams: Vec<_> = shards
            .iter()
            .map(|shard| {
                shard
                    .order
                    .iter()
                    .flat_map(move |order| order.downwards(from))
            })
            .collect();
        let mut heads = BinaryHeap::with_capacity(streams.len());
        for (number, stream) in streams.iter_mut().enumerate() {
            heads.extend(stream.next().map(|key| (key, number)));
        }
        while let Some((key, number)) = heads.pop() {
            match self.take(range.prefix, key, number) {
                Some(page) => return page,
                None => {
                    let next = streams.get_mut(number).and_then(Iterator::next);
                    heads.extend(next.map(|key| (key, number)));
                }
            }
        }
        Page::Done
    }

    /// Shows the next entry, or says how the page ends in front of it.
    fn take(&mut self, prefix: &[u8], key: &[u8], number: usize) -> Option<Page> {
        if !key.starts_with(prefix) {
            return Some(Page::Done);
        }
        let hash = self.engine.common.seed.hash(key);
        let shard = self.shards.get(number)?;
        let entry = shard.table.get(shard.table.find(hash, key)?)?;
        if is_due(entry.expires_at(), self.now) {
            self.expired.push((number, hash, key.into()));
            return (self.expired.len() >= PAGE_EXPIRED_MAX).then_some(Page::More);
        }
        if self.items_left == 0 || self.bytes_left == 0 {
            return Some(Page::More);
        }
        self.items_left -= 1;
        self.bytes_left = self
            .bytes_left
            .saturating_sub(key.len() + entry.entry().value.len());
        (self.visit)(key, entry.entry());
        None
    }
}
