//! The table of requests in flight, indexed by request id.
//!
//! An id is a slot's index and the slot's generation: a reply to an earlier use of the slot is
//! recognised. A slot is given away again only after its final reply, so that at any time an id
//! means one request. The free list is first in, first out: generations wear as slowly as they can.
//!
//! Bounds: the table grows to the in-flight limit and keeps that size.

use std::collections::VecDeque;
use std::task::Waker;

use kv_proto::Opcode;

use super::streams::StreamState;
use crate::fate::{Ended, Sent};
use crate::reply::Reply;

/// How the 31 bits of a request id are shared out. The upper half of the ids belongs to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdSpace {
    index_bits: u32,
    generation_max: u32,
}

impl IdSpace {
    /// 65,536 slots, 32,767 generations of each.
    pub(crate) const DEFAULT: Self = Self {
        index_bits: 16,
        generation_max: 0x7fff,
    };

    /// As [`IdSpace::DEFAULT`] with fewer generations, to see them wrap.
    #[cfg(test)]
    pub(crate) const fn with_generations(generation_max: u32) -> Self {
        Self {
            index_bits: 16,
            generation_max,
        }
    }

    /// How many requests can be told apart at once.
    pub(crate) const fn slots_max(self) -> usize {
        1 << self.index_bits
    }
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    /// No answer came, and none will.
    Ended(Ended, Sent),
}

/// Who a slot's answer is for.
#[derive(Debug)]
pub(crate) enum Entry {
    Free,
    /// A call waits.
    Waiting(Waker),
    /// The answer is here and the caller was woken.
    Done(Outcome),
    /// The caller was told that its time is over and has not looked yet; the answer is still due.
    TimedOut,
    /// The caller is gone; the answer is still due and will be dropped.
    Orphan,
    /// A stream is open.
    Stream(Box<StreamState>),
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    pub(crate) opcode: Opcode,
    /// When the wait for it is over; of an orphan, when the connection counts as broken.
    pub(crate) deadline_ms: u64,
    pub(crate) entry: Entry,
}

#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    space: IdSpace,
}

impl Slots {
    pub(crate) const fn new(space: IdSpace) -> Self {
        Self {
            slots: Vec::new(),
            free: VecDeque::new(),
            space,
        }
    }

    /// How many are taken.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// How many of them have lost their caller.
    pub(crate) fn orphans(&mut self) -> usize {
        self.iter_mut()
            .filter(|(_, slot)| matches!(slot.entry, Entry::Orphan))
            .count()
    }

    /// Takes a slot and gives its request id, which is never 0. The caller has checked the in-flight
    /// limit, which is at most `slots_max`; past that, `None`.
    #[inline]
    pub(crate) fn insert(&mut self, opcode: Opcode, deadline_ms: u64, entry: Entry) -> Option<u32> {
        if let Some(index) = self.free.pop_front() {
            let slot = self.slots.get_mut(index as usize)?;
            slot.generation = if slot.generation >= self.space.generation_max {
                1
            } else {
                slot.generation.wrapping_add(1)
            };
            slot.opcode = opcode;
            slot.deadline_ms = deadline_ms;
            slot.entry = entry;
            return Some(slot.generation << self.space.index_bits | index);
        }
        if self.slots.len() >= self.space.slots_max() {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            generation: 1,
            opcode,
            deadline_ms,
            entry,
        });
        Some(1 << self.space.index_bits | index)
    }

    /// The slot of a request that is in flight.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Slot> {
        let (index, generation) = self.split(id);
        self.slots
            .get_mut(index as usize)
            .filter(|slot| slot.generation == generation && !matches!(slot.entry, Entry::Free))
    }

    /// Gives a slot back and says what was in it.
    #[inline]
    pub(crate) fn remove(&mut self, id: u32) -> Entry {
        let Some(slot) = self.get_mut(id) else {
            return Entry::Free;
        };
        let entry = std::mem::replace(&mut slot.entry, Entry::Free);
        self.free.push_back(self.split(id).0);
        entry
    }

    /// Every request in flight with its id.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        let bits = self.space.index_bits;
        self.slots
            .iter_mut()
            .enumerate()
            .filter(|(_, slot)| !matches!(slot.entry, Entry::Free))
            .filter_map(move |(index, slot)| {
                let index = u32::try_from(index).ok()?;
                Some((slot.generation << bits | index, slot))
            })
    }

    #[inline]
    const fn split(&self, id: u32) -> (u32, u32) {
        let mask = (1u32 << self.space.index_bits).wrapping_sub(1);
        (id & mask, id >> self.space.index_bits)
    }
}
