//! The state behind the link's mutex, and what callers do to it.

use std::task::Waker;

use kv_proto::{FrameHead, Opcode};
use tokio::time::Instant;

use super::outbox::{Body, Large, Outbox};
use super::queue::{Place, Queue, Standing};
use super::slots::{Entry, Outcome, Slots};
use super::streams::{StreamEnd, StreamState, Taken};
use super::{Bounds, Loss, Wakes};
use crate::fate::{Ended, Sent};

/// How far the connection is.
///
/// ```text
/// Open --GOAWAY--> Draining --nothing in flight--> Leaving --outbox empty--> Gone --> Closed
///   \----------------- close() ---------------------^                                  ^
///    \------------------ lost, from every phase ---------------------------------------/
/// ```
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Takes calls.
    Open,
    /// The server takes no more requests and answers those in flight.
    Draining,
    /// Takes no more calls; GOODBYE follows what is in the outbox.
    Leaving,
    /// GOODBYE is on its way: nothing may be sent any more, answers still come.
    Gone,
    /// Over.
    Closed(Loss),
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) outbox: Outbox,
    pub(crate) slots: Slots,
    pub(crate) queue: Queue,
    /// Places that were granted and not used yet.
    pub(crate) granted: usize,
    /// The driver, while it sleeps. Absent: it runs, or is about to.
    pub(crate) driver: Option<Waker>,
    pub(crate) epoch: Instant,
    /// Time as of the last wake-up of the driver, in milliseconds since `epoch`.
    pub(crate) now_ms: u64,
    /// No deadline in the table or the queue is before this.
    pub(crate) earliest_ms: u64,
    pub(crate) bounds: Bounds,
}

/// Whether a call may put its request on the connection now.
pub(crate) enum Admission {
    /// Yes.
    Room,
    /// It has this place in the queue.
    Wait(Place),
    /// The queue's time limit passed.
    Expired,
    /// Too many in flight, and the caller does not want to wait.
    Full,
    /// The connection takes no more calls.
    Elsewhere,
}

/// What a caller does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    FailFast,
}

/// What a waiting call finds.
pub(crate) enum Look {
    Pending,
    Done(Outcome),
}

impl State {
    /// Reads the clock where nobody has since the driver went to sleep.
    #[inline]
    pub(crate) fn fresh_now(&mut self) -> u64 {
        if self.driver.is_some() {
            self.read_clock();
        }
        self.now_ms
    }

    pub(crate) fn read_clock(&mut self) {
        let elapsed = Instant::now().saturating_duration_since(self.epoch);
        self.now_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.outbox.counted.saturating_add(self.granted) < self.bounds.outbound_max
            && self.slots.live().saturating_add(self.granted) < self.bounds.in_flight_max
    }

    /// First come, first served: room for a newcomer only when nobody waits.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        place: Option<Place>,
        when_full: WhenFull,
        deadline_ms: u64,
        waker: &Waker,
    ) -> Admission {
        if !matches!(self.phase, Phase::Open) {
            return Admission::Elsewhere;
        }
        match place {
            None if self.queue.is_empty() && self.has_room() => Admission::Room,
            None => self.enqueue(when_full, deadline_ms, waker),
            Some(place) => match self.queue.look(place, waker) {
                Standing::Granted => {
                    self.granted = self.granted.saturating_sub(1);
                    Admission::Room
                }
                Standing::Waiting => Admission::Wait(place),
                Standing::Expired => Admission::Expired,
            },
        }
    }

    fn enqueue(&mut self, when_full: WhenFull, deadline_ms: u64, waker: &Waker) -> Admission {
        let full = self.slots.live().saturating_add(self.granted) >= self.bounds.in_flight_max;
        if full && when_full == WhenFull::FailFast {
            return Admission::Full;
        }
        self.earliest_ms = self.earliest_ms.min(deadline_ms);
        Admission::Wait(self.queue.join(waker, deadline_ms))
    }

    /// Gives up a place in the queue, granted or not.
    pub(crate) fn leave_queue(&mut self, place: Place, wakes: &mut Wakes) {
        if self.queue.give_up(place) {
            self.granted = self.granted.saturating_sub(1);
        }
        self.grant(wakes);
    }

    /// Grants places while there is room.
    #[inline]
    pub(crate) fn grant(&mut self, wakes: &mut Wakes) {
        while !self.queue.is_empty() && self.has_room() && self.queue.grant(wakes) {
            self.granted = self.granted.saturating_add(1);
        }
    }

    /// Puts an admitted request on the connection. `None` only if the in-flight limit is above what
    /// ids can tell apart, which the configuration excludes.
    #[inline]
    pub(crate) fn push(
        &mut self,
        request: Push<'_>,
        entry: Entry,
        deadline_ms: u64,
    ) -> Option<u32> {
        let opcode = request.head.opcode;
        let id = self.slots.insert(opcode, deadline_ms, entry)?;
        let head = FrameHead {
            request_id: id,
            ..request.head
        };
        match request.large {
            Some(mut large) => {
                large.head = head;
                self.outbox.push_large(large);
            }
            // PING has no id on the wire: its payload says what it answers.
            None if opcode == Opcode::Ping => {
                let head = FrameHead {
                    request_id: 0,
                    ..head
                };
                self.outbox
                    .push_request(head, id, Body::of_value(&id.to_be_bytes()));
            }
            None => self.outbox.push_request(head, id, request.body),
        }
        self.earliest_ms = self.earliest_ms.min(deadline_ms);
        Some(id)
    }

    /// What has become of a request. Its slot is given back with the answer.
    #[inline]
    pub(crate) fn look(&mut self, id: u32, now: &Waker, wakes: &mut Wakes) -> Look {
        let Some(slot) = self.slots.get_mut(id) else {
            return Look::Done(Outcome::Ended(Ended::Lost, Sent::Maybe));
        };
        match &mut slot.entry {
            Entry::Waiting(waker) => {
                if !waker.will_wake(now) {
                    waker.clone_from(now);
                }
                Look::Pending
            }
            Entry::TimedOut => {
                self.abandon(id, wakes);
                Look::Done(Outcome::Ended(Ended::TimedOut, Sent::Maybe))
            }
            Entry::Done(_) => {
                let entry = self.slots.remove(id);
                self.after_release(wakes);
                match entry {
                    Entry::Done(outcome) => Look::Done(outcome),
                    _ => Look::Done(Outcome::Ended(Ended::Lost, Sent::Maybe)),
                }
            }
            Entry::Free | Entry::Orphan | Entry::Stream(_) => {
                Look::Done(Outcome::Ended(Ended::Lost, Sent::Maybe))
            }
        }
    }

    /// The caller of this request is gone: its slot becomes an orphan until the answer, and CANCEL
    /// asks for that soon. An answer that is here already is dropped with its slot.
    pub(crate) fn abandon(&mut self, id: u32, wakes: &mut Wakes) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let opcode = slot.opcode;
        match &slot.entry {
            Entry::Free | Entry::Orphan => return,
            Entry::Done(_) => return self.release(id, wakes),
            Entry::Stream(stream) if stream.is_final() => return self.release(id, wakes),
            Entry::Waiting(_) | Entry::TimedOut | Entry::Stream(_) => {}
        }
        // A large message of which nothing left was never sent.
        if self.outbox.remove_large(id) == Some(false) {
            return self.release(id, wakes);
        }
        let deadline_ms = self.fresh_now().saturating_add(self.bounds.orphan_ms);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.entry = Entry::Orphan;
            slot.deadline_ms = deadline_ms;
        }
        self.earliest_ms = self.earliest_ms.min(deadline_ms);
        if opcode != Opcode::Ping && self.may_send() {
            self.outbox.push_control(Opcode::Cancel, id, &[]);
        }
        self.grant(wakes);
        wakes.add(self.driver.take());
    }

    /// Gives a slot back whose request is over.
    pub(crate) fn release(&mut self, id: u32, wakes: &mut Wakes) {
        self.slots.remove(id);
        self.after_release(wakes);
    }

    #[inline]
    fn after_release(&mut self, wakes: &mut Wakes) {
        self.grant(wakes);
        if matches!(self.phase, Phase::Draining) && self.slots.live() == 0 {
            wakes.add(self.driver.take());
        }
    }

    /// The next item of a stream, granting credit as items are taken.
    pub(crate) fn take_item(
        &mut self,
        id: u32,
        stall_ms: u64,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Taken {
        let deadline_ms = self.fresh_now().saturating_add(stall_ms);
        let may_send = self.may_send();
        let Some(slot) = self.slots.get_mut(id) else {
            return Taken::End(StreamEnd::Lost);
        };
        let Entry::Stream(stream) = &mut slot.entry else {
            return Taken::End(StreamEnd::Lost);
        };
        let taken = stream.take(waker);
        match &taken {
            Taken::Item(_, credit) if *credit > 0 && may_send => {
                self.outbox
                    .push_control(Opcode::Credit, id, &credit.to_be_bytes());
                wakes.add(self.driver.take());
            }
            Taken::Item(..) => {}
            Taken::End(StreamEnd::TimedOut) => self.abandon(id, wakes),
            Taken::End(_) => self.release(id, wakes),
            Taken::Nothing => {
                slot.deadline_ms = deadline_ms;
                if deadline_ms < self.earliest_ms {
                    self.earliest_ms = deadline_ms;
                    wakes.add(self.driver.take());
                }
            }
        }
        taken
    }

    /// Frames that take a place of the outbound bound.
    pub(crate) const fn outbound_frames(&self) -> usize {
        self.outbox.counted
    }

    /// Whether frames may still be put into the outbox.
    pub(crate) const fn may_send(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining | Phase::Leaving)
    }
}

/// A request on its way into the outbox.
pub(crate) struct Push<'a> {
    /// Its id is filled in.
    pub(crate) head: FrameHead,
    pub(crate) body: Body<'a>,
    /// In place of `body`, for a message of several frames.
    pub(crate) large: Option<Large>,
}

/// A stream's entry.
pub(crate) fn stream_entry(window: u32) -> Entry {
    Entry::Stream(Box::new(StreamState::new(window)))
}
