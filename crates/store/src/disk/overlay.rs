//! A moment of the store in key order: what is dirty in the table, over a snapshot of the base.
//!
//! Taken with all shards locked: what is not dirty then is in the base as it is, and the snapshot
//! has it.

use super::shard::{Shard, is_live};
use super::store::Store;
use crate::table::{Order, behind_prefix, key_bytes};
use crate::{Entry, Now, OwnedEntry, ScanRange, StoreError, Value};
use bytes::Bytes;
use kv_base::BaseSnapshot;
use parking_lot::MutexGuard;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::ops::Bound;
use std::vec::IntoIter;

/// A key's state in the table: `None` is no entry.
type State = (Bytes, Option<OwnedEntry>);

/// What was dirty in a range, in its order, and the base beneath.
pub(super) struct Moment {
    over: Vec<State>,
    snapshot: BaseSnapshot,
    /// The overlay ends here: what lies behind this key is not known.
    pub(super) end: Option<Bytes>,
    /// What is shown depends on writes up to here.
    pub(super) after: u64,
    pub(super) now: Now,
}

impl Store {
    /// The store in `range` as it is now, with `limit` dirty keys at most.
    pub(super) fn moment(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limit: usize,
    ) -> Result<Moment, StoreError> {
        self.build_indexes()?;
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
        let mut over = Vec::new();
        let mut end = None;
        let mut after = 0;
        let mut take = |key: &[u8], number: usize| {
            if !key.starts_with(range.prefix) {
                return false;
            }
            if over.len() >= limit {
                end = over.last().map(|(key, _): &State| Bytes::clone(key));
                return false;
            }
            let hash = self.common.seed.hash(key);
            let found = shards
                .get(number)
                .and_then(|shard| shard.table.get(shard.table.find(hash, key)?));
            if let Some(lent) = found {
                let entry = lent.entry();
                after = after.max(entry.version);
                let live = is_live(&lent, now).then(|| entry.to_owned_entry());
                over.push((Bytes::copy_from_slice(key), live));
            }
            true
        };
        if range.reverse {
            let behind = behind_prefix(range.prefix);
            let from = upper(range, behind.as_deref());
            walk(
                &shards,
                |order| order.downwards(from),
                |head| head,
                &mut take,
            );
        } else {
            walk(
                &shards,
                |order| order.upwards(lower(range)),
                Reverse,
                &mut take,
            );
        }
        let snapshot = self.base.snapshot();
        drop(shards);
        Ok(Moment {
            over,
            snapshot,
            end,
            after,
            now,
        })
    }

    /// Sees to it that every shard has the index of its dirty keys.
    fn build_indexes(&self) -> Result<(), StoreError> {
        // Acquire and release: whoever sees it set finds an index in every shard.
        if self.indexed.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(());
        }
        for locked in &self.shards {
            let mut shard = locked.lock();
            if shard.order.is_none() {
                let keys: Vec<Box<[u8]>> = shard.dirty_keys();
                let bytes = keys.iter().map(|key| key_bytes(key)).sum();
                self.common.budget.reserve(bytes)?;
                shard.order = Some(Order::of(keys));
            }
        }
        self.indexed
            .store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

/// Goes over the keys of all shards in order until `take` says no.
fn walk<'s, H, I>(
    shards: &'s [MutexGuard<'_, Shard>],
    stream: impl Fn(&'s Order) -> I,
    head: impl Fn((&'s [u8], usize)) -> H,
    take: &mut impl FnMut(&[u8], usize) -> bool,
) where
    H: Ord + Head<'s>,
    I: Iterator<Item = &'s [u8]>,
{
    let mut streams: Vec<_> = shards
        .iter()
        .map(|shard| shard.order.as_ref().map(&stream))
        .collect();
    let mut heads = BinaryHeap::with_capacity(streams.len());
    let mut pull = |heads: &mut BinaryHeap<H>, number: usize| {
        let stream = streams.get_mut(number).and_then(Option::as_mut);
        heads.extend(
            stream
                .and_then(Iterator::next)
                .map(|key| head((key, number))),
        );
    };
    for number in 0..shards.len() {
        pull(&mut heads, number);
    }
    while let Some(next) = heads.pop() {
        let (key, number) = next.parts();
        if !take(key, number) {
            return;
        }
        pull(&mut heads, number);
    }
}

/// The head of a stream, ordered as the walk goes.
trait Head<'s> {
    fn parts(self) -> (&'s [u8], usize);
}

impl<'s> Head<'s> for (&'s [u8], usize) {
    fn parts(self) -> (&'s [u8], usize) {
        self
    }
}

impl<'s> Head<'s> for Reverse<(&'s [u8], usize)> {
    fn parts(self) -> (&'s [u8], usize) {
        self.0
    }
}

fn lower(range: ScanRange<'_>) -> Bound<&[u8]> {
    match range.after {
        Some(after) if after >= range.prefix => Bound::Excluded(after),
        _ => Bound::Included(range.prefix),
    }
}

/// `behind` is the first key behind all with the prefix.
fn upper<'r>(range: ScanRange<'r>, behind: Option<&'r [u8]>) -> Bound<&'r [u8]> {
    match (range.after, behind) {
        (Some(after), Some(behind)) if after < behind => Bound::Excluded(after),
        (Some(after), None) => Bound::Excluded(after),
        (_, Some(behind)) => Bound::Excluded(behind),
        (None, None) => Bound::Unbounded,
    }
}

impl Moment {
    /// The live entries in `range`, which is the one the moment was taken of, in order.
    pub(super) fn entries(self, range: ScanRange<'_>) -> Merged {
        let base = self
            .snapshot
            .range(range.prefix, range.after, range.reverse);
        Merged {
            over: self.over.into_iter().peekable(),
            base: base.peekable(),
            reverse: range.reverse,
            now: self.now,
            end: self.end,
        }
    }
}

/// The two streams of a [`Moment`] as one.
pub(super) struct Merged {
    over: Peekable<IntoIter<State>>,
    base: Peekable<kv_base::Range>,
    reverse: bool,
    now: Now,
    end: Option<Bytes>,
}

impl Merged {
    /// The next live entry. `Ok(None)` at the end of what is known.
    pub(super) fn next(&mut self) -> Result<Option<(Bytes, OwnedEntry)>, StoreError> {
        loop {
            let order = match (self.over.peek(), self.base.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((over, _)), Some(Ok((base, _)))) if self.reverse => base.cmp(over),
                (Some((over, _)), Some(Ok((base, _)))) => over.cmp(base),
                (Some(_), Some(Err(_))) => Ordering::Greater,
            };
            if order == Ordering::Equal {
                self.base.next();
            }
            if order != Ordering::Greater {
                if let Some((key, Some(entry))) = self.over.next() {
                    return Ok(Some((key, entry)));
                }
                continue;
            }
            let Some(next) = self.base.next() else {
                continue;
            };
            let (key, stored) = next.map_err(|_| StoreError::Corrupt)?;
            if self.is_behind_end(&key) {
                return Ok(None);
            }
            let due = stored
                .expires_at
                .is_some_and(|at| at.get() <= self.now.unix_ms());
            if !due {
                let entry = Entry {
                    value: Value::Shared(&stored.value),
                    version: stored.version,
                    expires_at: stored.expires_at,
                    content_type: stored.content_type,
                };
                return Ok(Some((key, entry.to_owned_entry())));
            }
        }
    }

    fn is_behind_end(&self, key: &[u8]) -> bool {
        match &self.end {
            None => false,
            Some(end) if self.reverse => key < end,
            Some(end) => key > end,
        }
    }
}
