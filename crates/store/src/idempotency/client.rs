//! What is known of one client: which of its numbers are forgotten, and where the answers of the
//! others are.
//!
//! Invariant: every place in `ring` is that of a record with a number above `forgotten` and not
//! above `highest`, at the number's place in the ring; `live` counts them.

/// Operations of one client that are remembered: the numbers from the highest downwards.
pub(crate) const WINDOW: u64 = 1_024;

/// The smallest ring.
const RING_MIN: usize = 4;

const NONE: u32 = u32::MAX;

pub(super) struct Client {
    pub(super) id: [u8; 16],
    /// Numbers up to here that have no record are not known to be new.
    pub(super) forgotten: Option<u64>,
    /// The highest number recorded, or forgotten.
    pub(super) highest: u64,
    /// When it last had something recorded, in milliseconds.
    pub(super) used_at: u64,
    /// Bytes charged for its records and its ring.
    pub(super) bytes: usize,
    pub(super) live: usize,
    /// Places of records, by the low bits of their numbers; of a power of two, or empty.
    ring: Vec<u32>,
}

impl Client {
    /// A client that shows up with `number`. Nothing can be said of numbers so far below.
    pub(super) const fn new(id: [u8; 16], number: u64) -> Self {
        Self {
            id,
            forgotten: number.checked_sub(WINDOW),
            highest: number,
            used_at: 0,
            bytes: 0,
            live: 0,
            ring: Vec::new(),
        }
    }

    pub(super) fn has_forgotten(&self, number: u64) -> bool {
        self.forgotten.is_some_and(|through| number <= through)
    }

    /// Where the record of `number` would be: whoever finds one there compares its number.
    pub(super) fn place(&self, number: u64) -> Option<u32> {
        let place = *self.ring.get(slot(number, self.ring.len())?)?;
        (place != NONE).then_some(place)
    }

    pub(super) const fn has_ring(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Empties the ring's place of `number`.
    pub(super) fn clear(&mut self, number: u64) {
        self.set(number, NONE);
        self.live = self.live.saturating_sub(1);
    }

    /// Notes that the record of `number` is at `place`. The ring's place must be empty.
    pub(super) fn note(&mut self, number: u64, place: u32) {
        self.set(number, place);
        self.live += 1;
    }

    pub(super) const fn ring_bytes(&self) -> usize {
        self.ring.len() * size_of::<u32>()
    }

    /// Doubles the ring; `number_at` tells the number of a record.
    pub(super) fn grow(&mut self, number_at: impl Fn(u32) -> Option<u64>) {
        let len = (self.ring.len() * 2).max(RING_MIN);
        let mut ring = Vec::with_capacity(len);
        ring.resize(len, NONE);
        let former = std::mem::replace(&mut self.ring, ring);
        for place in former {
            if let Some(number) = number_at(place) {
                self.set(number, place);
            }
        }
    }

    /// Gives the ring of a client without records back.
    pub(super) fn drop_ring(&mut self) {
        self.ring = Vec::new();
    }

    fn set(&mut self, number: u64, place: u32) {
        let slot = slot(number, self.ring.len());
        if let Some(at) = slot.and_then(|slot| self.ring.get_mut(slot)) {
            *at = place;
        }
    }
}

fn slot(number: u64, len: usize) -> Option<usize> {
    let mask = (len as u64).checked_sub(1)?;
    usize::try_from(number & mask).ok()
}
