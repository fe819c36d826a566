//! The queue of callers that wait for room, in the order in which they came.
//!
//! A place is a number. Places below `head` have been granted: room is reserved for their holder.
//! Leaving the queue is safe at every moment: a place that is given up is skipped, a grant that is
//! given up goes to the next.

use std::collections::VecDeque;
use std::task::Waker;

use super::Wakes;

/// A caller's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

#[derive(Debug)]
enum Parked {
    Waiting {
        waker: Waker,
        deadline_ms: u64,
    },
    /// Woken because its time is over.
    Expired,
    /// Given up.
    Gone,
}

/// What a holder finds at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Granted,
    Waiting,
    Expired,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    head: u64,
    parked: VecDeque<Parked>,
}

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.parked
            .iter()
            .filter(|parked| matches!(parked, Parked::Waiting { .. }))
            .count()
    }

    pub(crate) fn join(&mut self, waker: &Waker, deadline_ms: u64) -> Place {
        let place = Place(self.head.wrapping_add(self.parked.len() as u64));
        self.parked.push_back(Parked::Waiting {
            waker: waker.clone(),
            deadline_ms,
        });
        place
    }

    /// Where the holder of `place` stands; its waker is renewed while it waits.
    pub(crate) fn look(&mut self, place: Place, now: &Waker) -> Standing {
        match self.entry(place) {
            None => Standing::Granted,
            Some(Parked::Waiting { waker, .. }) => {
                waker.clone_from(now);
                Standing::Waiting
            }
            Some(Parked::Expired | Parked::Gone) => Standing::Expired,
        }
    }

    /// Gives a place up. True: it had been granted, and the reservation is the caller's to return.
    pub(crate) fn give_up(&mut self, place: Place) -> bool {
        match self.entry(place) {
            None => true,
            Some(parked) => {
                *parked = Parked::Gone;
                self.trim();
                false
            }
        }
    }

    /// Grants the first place that is still wanted.
    pub(crate) fn grant(&mut self, wakes: &mut Wakes) -> bool {
        while let Some(parked) = self.parked.pop_front() {
            self.head = self.head.wrapping_add(1);
            if let Parked::Waiting { waker, .. } = parked {
                wakes.add(Some(waker));
                return true;
            }
            if let Parked::Expired = parked {
                // Its holder was woken and will find a grant, which it may use.
                return true;
            }
        }
        false
    }

    /// Wakes those whose time is over; the earliest time of the others.
    pub(crate) fn expire(&mut self, now_ms: u64, wakes: &mut Wakes) -> u64 {
        let mut earliest = u64::MAX;
        for parked in &mut self.parked {
            let Parked::Waiting { deadline_ms, .. } = parked else {
                continue;
            };
            if *deadline_ms > now_ms {
                earliest = earliest.min(*deadline_ms);
            } else if let Parked::Waiting { waker, .. } = std::mem::replace(parked, Parked::Expired)
            {
                wakes.add(Some(waker));
            }
        }
        earliest
    }

    /// Wakes everyone; they stay where they are and see for themselves why.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes) {
        for parked in &self.parked {
            if let Parked::Waiting { waker, .. } = parked {
                wakes.add(Some(waker.clone()));
            }
        }
    }

    fn entry(&mut self, place: Place) -> Option<&mut Parked> {
        let offset = place.0.checked_sub(self.head)?;
        self.parked.get_mut(usize::try_from(offset).ok()?)
    }

    /// Lets go of places at either end that nobody holds any more.
    fn trim(&mut self) {
        while let Some(Parked::Gone) = self.parked.front() {
            self.parked.pop_front();
            self.head = self.head.wrapping_add(1);
        }
        while let Some(Parked::Gone) = self.parked.back() {
            self.parked.pop_back();
        }
    }
}
