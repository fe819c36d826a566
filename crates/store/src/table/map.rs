//! An open-addressing table that owns entries, in [`Slots`].
//!
//! Invariant: each address in `slots` was given up by one [`EntryBox`] and is in no other slot;
//! the table is its owner. `used` counts entries and removed marks, the slots that are not empty.

use super::entry::EntryBox;
use super::slots::{Slots, prefetch_word};
use super::word::Word;
use crate::StoreError;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 16;

/// How many entries ahead a rebuild fetches.
const REBUILD_AHEAD: usize = 16;

/// A hash table of entries.
pub(crate) struct Table {
    slots: Arc<Slots>,
    live: usize,
    used: usize,
    expiring: usize,
}

/// An entry lent by its table.
pub(crate) struct Lent<'t> {
    entry: ManuallyDrop<EntryBox>,
    table: PhantomData<&'t Table>,
}

impl Deref for Lent<'_> {
    type Target = EntryBox;

    #[inline]
    fn deref(&self) -> &EntryBox {
        &self.entry
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            slots: Arc::new(Slots::none()),
            live: 0,
            used: 0,
            expiring: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Entries that have an expiry.
    pub(crate) fn expiring(&self) -> usize {
        self.expiring
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Where the entry of `key` is, whose hash is `hash`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |word| self.lend(word).is_some_and(|entry| entry.key() == key);
        self.slots.find(hash, is_it)
    }

    /// The entry at `at`, if there is one.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<Lent<'_>> {
        self.lend(self.slots.load(at))
    }

    /// The entry at `at`, for changes that need no other room; whether it expires must stay.
    pub(crate) fn change<R>(&mut self, at: usize, f: impl FnOnce(&mut EntryBox) -> R) -> Option<R> {
        let mut lent = self.get(at)?;
        Some(f(&mut lent.entry))
    }

    /// Whether `more` entries can be inserted without a rebuild.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.used + more <= self.slots.len() / 16 * 13
    }

    /// Whether most of the table stands empty.
    pub(crate) fn is_sparse(&self) -> bool {
        self.slots.len() > 4 * SLOTS_MIN && self.live * 8 < self.slots.len()
    }

    /// Empty slots for all entries and `more`, at a load from which the table can grow by half.
    pub(crate) fn roomier(&self, more: usize) -> Result<Slots, StoreError> {
        let entries = self.live + more;
        Slots::empty((entries * 15 / 8).max(SLOTS_MIN))
    }

    /// Moves to `slots`, which [`Table::roomier`] made; returns the slots in use before.
    pub(crate) fn rebuild(&mut self, slots: Slots, hash: impl Fn(&[u8]) -> u64) -> Arc<Slots> {
        let old = &self.slots;
        for at in 0..old.len() {
            prefetch_word(old.load(at + REBUILD_AHEAD));
            let word = old.load(at);
            if let Some(entry) = self.lend(word) {
                let free = slots.free(hash(entry.key()));
                // Cannot be: `roomier` made more slots than there are entries.
                assert!(free.is_some(), "an entry would be lost");
                if let Some((free, _)) = free {
                    slots.store(free, word);
                }
            }
        }
        self.used = self.live;
        std::mem::replace(&mut self.slots, Arc::new(slots))
    }

    /// Inserts an entry whose key is not in the table.
    ///
    /// # Errors
    ///
    /// Gives the entry back when there is no room, which `has_room` excludes.
    pub(crate) fn insert(&mut self, hash: u64, entry: EntryBox) -> Result<(), EntryBox> {
        let Some((at, word)) = self.slots.free(hash) else {
            return Err(entry);
        };
        self.used += usize::from(word == Word::EMPTY);
        self.live += 1;
        self.put(at, hash, entry);
        Ok(())
    }

    /// Puts `entry` in the place of the one at `at`, which has the same key, and returns that.
    pub(crate) fn replace(&mut self, at: usize, hash: u64, entry: EntryBox) -> Option<EntryBox> {
        let old = self.take(at)?;
        self.put(at, hash, entry);
        Some(old)
    }

    /// Removes the entry at `at`. The others stay where they are.
    pub(crate) fn remove(&mut self, at: usize) -> Option<EntryBox> {
        let entry = self.take(at)?;
        self.live -= 1;
        // `take` has left a removed mark.
        if self.slots.ends_search(at) {
            self.slots.store(at, Word::EMPTY);
            self.used -= 1;
        }
        Some(entry)
    }

    /// The first slot from `from` that holds an entry which expires, looking at `count` slots.
    pub(crate) fn next_expiring(&self, from: usize, count: usize) -> Option<usize> {
        let end = from.saturating_add(count).min(self.slots.len());
        (from..end).find(|at| self.slots.load(*at).is_expiring())
    }

    /// Fetches the entry at `at` ahead, if there is one.
    #[inline]
    pub(crate) fn fetch(&self, at: usize) {
        prefetch_word(self.slots.load(at));
    }

    /// Every entry, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lent<'_>> {
        (0..self.slots.len()).filter_map(|at| self.get(at))
    }

    fn put(&mut self, at: usize, hash: u64, entry: EntryBox) {
        let expiring = entry.expires_at().is_some();
        self.expiring += usize::from(expiring);
        let bytes = entry.alloc_bytes();
        self.slots
            .store(at, Word::new(hash, entry.into_address(), bytes, expiring));
    }

    /// Takes the entry out of `at` and leaves a removed mark; the counts are the caller's.
    #[expect(unsafe_code, reason = "the table owns entries through words")]
    fn take(&mut self, at: usize) -> Option<EntryBox> {
        let word = self.slots.load(at);
        let address = word.address()?;
        self.slots.store(at, Word::REMOVED);
        self.expiring -= usize::from(word.is_expiring());
        // SAFETY: the table owned the entry at this address and has just forgotten it.
        Some(unsafe { EntryBox::from_address(address) })
    }

    #[inline]
    #[expect(unsafe_code, reason = "the table owns entries through words")]
    fn lend(&self, word: Word) -> Option<Lent<'_>> {
        let address = word.address()?;
        // SAFETY: words with an address come from this table's slots, which own the entry there;
        // it is never dropped through `Lent`, and not changed or taken while `self` is borrowed.
        let entry = ManuallyDrop::new(unsafe { EntryBox::from_address(address) });
        Some(Lent {
            entry,
            table: PhantomData,
        })
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for at in 0..self.slots.len() {
            drop(self.take(at));
        }
    }
}

#[cfg(test)]
mod tests;
