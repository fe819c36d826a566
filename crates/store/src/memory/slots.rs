//! The slots of a table: words in whole cache lines, which anybody may read at any time and only
//! the table that owns the entries writes, under its shard's lock.

use super::prefetch::{CACHE_LINE_BYTES, prefetch};
use super::word::{Word, home};
use crate::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};

const LINE_SLOTS: usize = CACHE_LINE_BYTES / size_of::<AtomicU64>();

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE_SLOTS]);

const _: () = assert!(size_of::<Line>() == CACHE_LINE_BYTES);

/// A fixed number of slots. Owns words, not the entries they lead to.
pub(super) struct Slots {
    lines: Box<[Line]>,
}

impl Slots {
    pub(super) fn none() -> Self {
        Self {
            lines: Box::default(),
        }
    }

    /// At least `wanted` empty slots.
    pub(super) fn empty(wanted: usize) -> Result<Self, StoreError> {
        let count = wanted.div_ceil(LINE_SLOTS);
        let mut lines = Vec::new();
        lines
            .try_reserve_exact(count)
            .map_err(|_| StoreError::OutOfMemory)?;
        lines.resize_with(count, Line::default);
        Ok(Self {
            lines: lines.into_boxed_slice(),
        })
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.lines.len() * LINE_SLOTS
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * CACHE_LINE_BYTES
    }

    /// The word at `at`; empty behind the end.
    #[inline]
    pub(super) fn load(&self, at: usize) -> Word {
        match self.slot(at) {
            // Relaxed: whoever follows the address holds the lock under which it was stored;
            // whoever does not only fetches ahead.
            Some(slot) => Word::from_bits(slot.load(Ordering::Relaxed)),
            None => Word::EMPTY,
        }
    }

    /// Only for the table that owns the entries, under its shard's lock.
    pub(super) fn store(&self, at: usize, word: Word) {
        if let Some(slot) = self.slot(at) {
            slot.store(word.bits(), Ordering::Relaxed);
        }
    }

    /// The slot behind `at`, around the end.
    #[inline]
    pub(super) fn after(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.len() { 0 } else { next }
    }

    /// Fetches the line where a search for `hash` begins.
    #[inline]
    pub(super) fn prefetch_home(&self, hash: u64) {
        if let Some(slot) = self.slot(home(hash, self.len())) {
            prefetch(std::ptr::from_ref(slot).addr());
        }
    }

    /// Fetches the entry that a search for `hash` will look at first, if there is one.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let mut at = home(hash, self.len());
        for _ in 0..self.len() {
            let word = self.load(at);
            if word == Word::EMPTY {
                return;
            }
            if word.may_be(hash) {
                self.prefetch_word(word);
                return;
            }
            at = self.after(at);
        }
    }

    /// Fetches the entry `word` leads to.
    #[inline]
    pub(super) fn prefetch_word(&self, word: Word) {
        if let Some(address) = word.address() {
            for line in 0..word.lines() {
                prefetch(address + line * CACHE_LINE_BYTES);
            }
        }
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<&AtomicU64> {
        self.lines.get(at / LINE_SLOTS)?.0.get(at % LINE_SLOTS)
    }
}
