//! The slots of a table: words in whole cache lines, which anybody may read at any time and only
//! the table that owns the entries writes, under its shard's lock.
//!
//! A search begins at the hash's home and goes round the home's cache line; only when that has no
//! empty slot does it go on to the next line. A look-up waits for one line of slots, seldom more.

use super::prefetch::{CACHE_LINE_BYTES, prefetch};
use super::word::{Word, home};
use crate::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};

const LINE_SLOTS: usize = CACHE_LINE_BYTES / size_of::<AtomicU64>();

/// Lines allocated together. Tables of all shards are made of pieces of this one size, so that
/// those given back by one that has grown serve the next: in one piece each, they would leave
/// twice their size behind in the allocator.
const SEGMENT_LINES: usize = 256;

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE_SLOTS]);

const _: () = assert!(size_of::<Line>() == CACHE_LINE_BYTES);

/// A fixed number of slots. Owns words, not the entries they lead to.
pub(crate) struct Slots {
    /// All of [`SEGMENT_LINES`], unless there is only one.
    segments: Box<[Box<[Line]>]>,
    lines: usize,
}

impl Slots {
    pub(crate) fn none() -> Self {
        Self {
            segments: Box::default(),
            lines: 0,
        }
    }

    /// At least `wanted` empty slots.
    pub(crate) fn empty(wanted: usize) -> Result<Self, StoreError> {
        let mut lines = wanted.div_ceil(LINE_SLOTS);
        if lines > SEGMENT_LINES {
            lines = lines.next_multiple_of(SEGMENT_LINES);
        }
        let segments: Result<Box<_>, _> = (0..lines.div_ceil(SEGMENT_LINES))
            .map(|_| segment(lines.min(SEGMENT_LINES)))
            .collect();
        Ok(Self {
            segments: segments?,
            lines,
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.lines * LINE_SLOTS
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines * CACHE_LINE_BYTES
    }

    /// The word at `at`; empty behind the end.
    #[inline]
    pub(crate) fn load(&self, at: usize) -> Word {
        self.slot(at).map_or(Word::EMPTY, load)
    }

    /// Only for the table that owns the entries, under its shard's lock.
    pub(crate) fn store(&self, at: usize, word: Word) {
        if let Some(slot) = self.slot(at) {
            // Relaxed: see `load`.
            slot.store(word.bits(), Ordering::Relaxed);
        }
    }

    /// The place of the first word on `hash`'s way that may be of `hash` and passes `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Word) -> bool) -> Option<usize> {
        let home = home(hash, self.len());
        let mut number = home / LINE_SLOTS;
        for _ in 0..self.lines {
            let line = self.line(number)?;
            let mut has_empty = false;
            for step in 0..LINE_SLOTS {
                let place = (home + step) % LINE_SLOTS;
                let word = line.0.get(place).map_or(Word::EMPTY, load);
                if word.may_be(hash) && is_it(word) {
                    return Some(number * LINE_SLOTS + place);
                }
                has_empty |= word == Word::EMPTY;
            }
            if has_empty {
                return None;
            }
            number = self.line_after(number);
        }
        None
    }

    /// The first slot on `hash`'s way that holds no entry, and what it holds.
    pub(crate) fn free(&self, hash: u64) -> Option<(usize, Word)> {
        let home = home(hash, self.len());
        let mut number = home / LINE_SLOTS;
        for _ in 0..self.lines {
            let line = self.line(number)?;
            for step in 0..LINE_SLOTS {
                let place = (home + step) % LINE_SLOTS;
                let word = line.0.get(place).map_or(Word::EMPTY, load);
                if word.address().is_none() {
                    return Some((number * LINE_SLOTS + place, word));
                }
            }
            number = self.line_after(number);
        }
        None
    }

    /// Whether the line of `at` has an empty slot. No search goes through such a line to another,
    /// and none has since the line was new: a slot in it can become empty again.
    pub(crate) fn ends_search(&self, at: usize) -> bool {
        self.line(at / LINE_SLOTS)
            .is_some_and(|line| line.0.iter().any(|slot| load(slot) == Word::EMPTY))
    }

    /// Fetches the line where a search for `hash` begins.
    #[inline]
    pub(crate) fn prefetch_home(&self, hash: u64) {
        if let Some(line) = self.line(home(hash, self.len()) / LINE_SLOTS) {
            prefetch(std::ptr::from_ref(line).addr());
        }
    }

    /// Fetches the entry that a search for `hash` will look at first, if there is one.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        self.find(hash, |word| {
            prefetch_word(word);
            true
        });
    }

    #[inline]
    fn line(&self, number: usize) -> Option<&Line> {
        self.segments
            .get(number / SEGMENT_LINES)?
            .get(number % SEGMENT_LINES)
    }

    #[inline]
    fn line_after(&self, number: usize) -> usize {
        let next = number + 1;
        if next == self.lines { 0 } else { next }
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<&AtomicU64> {
        self.line(at / LINE_SLOTS)?.0.get(at % LINE_SLOTS)
    }
}

/// Fetches the entry `word` leads to.
#[inline]
pub(crate) fn prefetch_word(word: Word) {
    if let Some(address) = word.address() {
        for line in 0..word.lines() {
            prefetch(address + line * CACHE_LINE_BYTES);
        }
    }
}

#[inline]
fn load(slot: &AtomicU64) -> Word {
    // Relaxed: whoever follows the address holds the lock under which it was stored; whoever does
    // not only fetches ahead.
    Word::from_bits(slot.load(Ordering::Relaxed))
}

fn segment(lines: usize) -> Result<Box<[Line]>, StoreError> {
    let mut segment = Vec::new();
    segment
        .try_reserve_exact(lines)
        .map_err(|_| StoreError::OutOfMemory)?;
    segment.resize_with(lines, Line::default);
    Ok(segment.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_of_every_segment_is_its_own() {
        for wanted in [
            1,
            8,
            9,
            SEGMENT_LINES * LINE_SLOTS,
            SEGMENT_LINES * LINE_SLOTS + 1,
            9_999,
        ] {
            let slots = Slots::empty(wanted).unwrap();
            assert!(slots.len() >= wanted && slots.bytes() == slots.len() * 8);
            for at in 0..slots.len() {
                assert_eq!(slots.load(at), Word::EMPTY);
                slots.store(at, Word::from_bits(at as u64 + 100));
            }
            for at in 0..slots.len() {
                assert_eq!(slots.load(at), Word::from_bits(at as u64 + 100));
            }
            slots.store(slots.len(), Word::REMOVED);
            assert_eq!(slots.load(slots.len()), Word::EMPTY);
        }
    }

    #[test]
    fn searching_nothing_or_a_full_table_ends() {
        assert_eq!(Slots::none().find(7, |_| true), None);
        assert_eq!(Slots::none().free(7), None);
        let slots = Slots::empty(64).unwrap();
        for at in 0..slots.len() {
            slots.store(at, Word::new(at as u64, 16 * (at + 1), 16, false));
            assert_eq!(slots.ends_search(at), at % LINE_SLOTS != LINE_SLOTS - 1);
        }
        assert_eq!(slots.free(7), None);
        assert_eq!(slots.find(1_000, |_| true), None);
        let mut seen = 0;
        assert_eq!(
            slots.find(7, |_| {
                seen += 1;
                false
            }),
            None
        );
        assert_eq!(seen, 1, "one word has the fragment");
    }
}
