//! What one slot of a table holds, in 64 bits:
//!
//! ```text
//!  63            48 47                           4  3        2     0
//! +----------------+------------------------------+----------+-------+
//! | fragment       | address / 16                 | expiring | lines |
//! +----------------+------------------------------+----------+-------+
//! ```
//!
//! The fragment (16 bits of the hash) spares reading entries of other keys, `lines` says how
//! many cache lines to fetch ahead, `expiring` lets the sweeper pass over the entries that do
//! not expire without reading them. An address of 0 is no entry.

/// Entries lie at multiples of this, which frees the low bits.
pub(crate) const ENTRY_ALIGN: usize = 16;

/// Addresses are below this: user space ends at 2^47 on x86-64 and 2^48 on AArch64, unless a
/// program asks for more.
pub(crate) const ADDRESS_END: u64 = 1 << 48;

const ADDRESS_MASK: u64 = (ADDRESS_END - 1) & !(ENTRY_ALIGN as u64 - 1);
const FRAGMENT_MASK: u64 = !(ADDRESS_END - 1);
const EXPIRING: u64 = 1 << 3;
const LINES_MAX: u64 = 8;

const _: () = assert!(usize::BITS == 64, "slots hold 48-bit addresses");

/// One slot's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(u64);

impl Word {
    /// Nothing has been here since the table was built: a search ends.
    pub(crate) const EMPTY: Self = Self(0);
    /// An entry was removed: a search goes on.
    pub(crate) const REMOVED: Self = Self(1);

    /// A slot for the entry at `address`, of `bytes` bytes.
    pub(crate) fn new(hash: u64, address: usize, bytes: usize, expiring: bool) -> Self {
        debug_assert!(address as u64 & !ADDRESS_MASK == 0 && address != 0);
        let lines = ((bytes / 64) as u64).min(LINES_MAX - 1);
        let expiring = if expiring { EXPIRING } else { 0 };
        Self(fragment(hash) | (address as u64 & ADDRESS_MASK) | expiring | lines)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Where the entry lies, if there is one.
    #[inline]
    pub(crate) fn address(self) -> Option<usize> {
        match self.0 & ADDRESS_MASK {
            0 => None,
            address => Some(to_index(address)),
        }
    }

    /// Whether there is an entry whose hash may be `hash`.
    #[inline]
    pub(crate) const fn may_be(self, hash: u64) -> bool {
        self.0 & FRAGMENT_MASK == fragment(hash) && self.0 & ADDRESS_MASK != 0
    }

    /// Whether the entry has an expiry.
    pub(crate) const fn is_expiring(self) -> bool {
        self.0 & EXPIRING != 0
    }

    /// How many cache lines the entry takes, about, and 8 at most.
    #[inline]
    pub(crate) fn lines(self) -> usize {
        to_index(self.0 & (LINES_MAX - 1)) + 1
    }
}

#[inline]
const fn fragment(hash: u64) -> u64 {
    hash << 48
}

/// Where a search for `hash` begins in a table of `slots` slots, from other bits of it than the
/// fragment's and the shard's.
#[inline]
pub(crate) fn home(hash: u64, slots: usize) -> usize {
    let fraction = (hash >> 16) & 0xffff_ffff;
    to_index((fraction * slots as u64) >> 32)
}

/// Which of `shards` (a power of two) keeps `hash`.
#[inline]
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    to_index(hash >> 48) & (shards - 1)
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits, asserted above"
)]
const fn to_index(number: u64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_removed_slots_match_no_hash() {
        for hash in [0, 1, u64::MAX] {
            assert!(!Word::EMPTY.may_be(hash));
            assert!(!Word::REMOVED.may_be(hash));
        }
        assert_eq!(Word::EMPTY.address(), None);
        assert_eq!(Word::REMOVED.address(), None);
    }

    proptest! {
        #[test]
        fn a_word_gives_back_what_was_put_in(
            hash: u64, other: u64, place in 1_usize..1 << 43, bytes in 16_usize..2_000, expiring: bool
        ) {
            let word = Word::new(hash, place * ENTRY_ALIGN, bytes, expiring);
            prop_assert_eq!(word.address(), Some(place * ENTRY_ALIGN));
            prop_assert!(word.may_be(hash));
            prop_assert_eq!(word.may_be(other), other & 0xffff == hash & 0xffff);
            prop_assert_eq!(word.is_expiring(), expiring);
            prop_assert!((1..=8).contains(&word.lines()));
            prop_assert_eq!(Word::from_bits(word.bits()), word);
        }

        #[test]
        fn homes_and_shards_are_within_bounds(hash: u64, slots in 1_usize..1 << 32, bits in 0_u32..12) {
            prop_assert!(home(hash, slots) < slots);
            prop_assert!(shard_of(hash, 1 << bits) < 1 << bits);
        }
    }
}
