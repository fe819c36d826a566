//! What the driver does to the link's state: gives answers to those who wait for them, ends what
//! is overdue, and closes the table when the connection is lost.

use kv_proto::{Answer, CloseReason, Opcode, ProtocolViolation};

use super::outbox::Frames;
use super::slots::{Entry, Outcome};
use super::state::{Phase, State};
use super::streams::StreamEnd;
use super::{Loss, Wakes};
use crate::error::Error;
use crate::fate::{Ended, Sent};
use crate::reply::{Item, Reply};

/// What arrived, owned and decoded.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(u32, Reply),
    Item(u32, Item),
    /// PONG with the id that a call's PING carried.
    Pong(u32),
    /// The server takes no more requests.
    Goaway,
    /// The server's last frame.
    Goodbye,
    /// ERR of the connection itself: why the server is about to close it.
    Farewell(Error),
}

impl State {
    /// Gives one arrival to whom it belongs.
    pub(crate) fn deliver(&mut self, incoming: Incoming, wakes: &mut Wakes) -> Result<(), Loss> {
        match incoming {
            Incoming::Reply(id, reply) => self.on_reply(id, reply, wakes)?,
            Incoming::Item(id, item) => self.on_item(id, item, wakes)?,
            Incoming::Pong(id) => {
                let waits = self
                    .slots
                    .get_mut(id)
                    .is_some_and(|slot| slot.opcode == Opcode::Ping);
                if waits {
                    self.settle(id, Reply::NotFound, wakes)?;
                }
            }
            Incoming::Goaway => {
                if matches!(self.phase, Phase::Open) {
                    self.phase = Phase::Draining;
                    self.queue.wake_all(wakes);
                }
            }
            Incoming::Goodbye => {
                return Err(match self.phase {
                    Phase::Gone => Loss::Local,
                    _ => Loss::Goodbye,
                });
            }
            Incoming::Farewell(error) => return Err(Loss::Server(error)),
        }
        Ok(())
    }

    /// The answer has to be one that the request can get: a table keyed by id alone would hand a
    /// wrong one on if either side had lost count.
    fn on_reply(&mut self, id: u32, reply: Reply, wakes: &mut Wakes) -> Result<(), CloseReason> {
        let slot = self.slots.get_mut(id).ok_or(ProtocolViolation::RequestId)?;
        let fits = match (slot.opcode.info().answer, &reply) {
            (_, Reply::Err(_)) => slot.opcode != Opcode::Ping,
            (Answer::Stream, Reply::End) => true,
            (Answer::Stream, Reply::Ok(..) | Reply::NotFound) => false,
            (_, Reply::Ok(..)) => slot.opcode != Opcode::Ping,
            (_, Reply::NotFound) => matches!(
                slot.opcode,
                Opcode::Get | Opcode::Del | Opcode::Touch | Opcode::Kill
            ),
            (_, Reply::End) => matches!(slot.entry, Entry::Orphan),
        };
        if !fits {
            return Err(ProtocolViolation::WrongDirection.into());
        }
        self.settle(id, reply, wakes)
    }

    #[inline]
    fn settle(&mut self, id: u32, reply: Reply, wakes: &mut Wakes) -> Result<(), CloseReason> {
        let draining = !matches!(self.phase, Phase::Open);
        let slot = self.slots.get_mut(id).ok_or(ProtocolViolation::RequestId)?;
        match &mut slot.entry {
            Entry::Waiting(_) => {
                let done = Entry::Done(Outcome::Reply(reply));
                if let Entry::Waiting(waker) = std::mem::replace(&mut slot.entry, done) {
                    wakes.add(Some(waker));
                }
            }
            // It came after all, before the caller looked.
            Entry::TimedOut => slot.entry = Entry::Done(Outcome::Reply(reply)),
            Entry::Orphan => self.release(id, wakes),
            Entry::Stream(stream) => {
                if stream.is_final() {
                    return Err(ProtocolViolation::RequestId.into());
                }
                // A server that drains ends its streams early: only the next connection knows
                // whether something is missing.
                let end = match reply {
                    Reply::Err(error) => StreamEnd::Failed(error),
                    _ if draining => StreamEnd::Lost,
                    _ => StreamEnd::Complete,
                };
                wakes.add(stream.finish(end));
            }
            Entry::Done(_) | Entry::Free => return Err(ProtocolViolation::RequestId.into()),
        }
        Ok(())
    }

    fn on_item(&mut self, id: u32, item: Item, wakes: &mut Wakes) -> Result<(), CloseReason> {
        let slot = self.slots.get_mut(id).ok_or(ProtocolViolation::RequestId)?;
        match &mut slot.entry {
            Entry::Stream(stream) if !stream.is_final() => {
                // Silence counts from the last sign of life.
                slot.deadline_ms = u64::MAX;
                wakes.add(stream.accept(item)?);
                Ok(())
            }
            Entry::Orphan if slot.opcode.info().answer == Answer::Stream => Ok(()),
            _ => Err(ProtocolViolation::RequestId.into()),
        }
    }

    /// Ends what is overdue. An orphan that stays unanswered means that the connection is broken.
    pub(crate) fn sweep(&mut self, wakes: &mut Wakes) -> Result<(), Loss> {
        let now = self.now_ms;
        let mut earliest = self.queue.expire(now, wakes);
        for (_, slot) in self.slots.iter_mut() {
            if slot.deadline_ms > now {
                earliest = earliest.min(slot.deadline_ms);
                continue;
            }
            match &mut slot.entry {
                Entry::Waiting(_) => {
                    if let Entry::Waiting(waker) =
                        std::mem::replace(&mut slot.entry, Entry::TimedOut)
                    {
                        wakes.add(Some(waker));
                    }
                }
                Entry::Stream(stream) if stream.is_awaited() => {
                    wakes.add(stream.finish(StreamEnd::TimedOut));
                }
                Entry::Orphan => return Err(Loss::Transport),
                Entry::Free | Entry::Done(_) | Entry::TimedOut | Entry::Stream(_) => {}
            }
        }
        self.earliest_ms = earliest;
        Ok(())
    }

    /// Ends every request: `in_hand` is what the driver had taken, of which the first `written`
    /// bytes left.
    pub(crate) fn close(
        &mut self,
        loss: Loss,
        in_hand: &Frames,
        written: usize,
        wakes: &mut Wakes,
    ) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.phase = Phase::Closed(loss);
        self.end_requests(wakes);
        let taken = in_hand.marks.iter().filter(|mark| mark.end > written);
        let waiting = self.outbox.frames.marks.iter();
        let ids = taken
            .chain(waiting)
            .filter(|mark| mark.counted)
            .map(|mark| mark.id);
        let large = self.outbox.large.iter().map(|large| large.head.request_id);
        for id in ids.chain(large) {
            if let Some(slot) = self.slots.get_mut(id)
                && let Entry::Done(Outcome::Ended(Ended::Lost, sent)) = &mut slot.entry
            {
                *sent = Sent::No;
            }
        }
        self.outbox = super::Outbox::default();
        self.queue.wake_all(wakes);
        self.earliest_ms = u64::MAX;
        self.driver = None;
    }

    fn end_requests(&mut self, wakes: &mut Wakes) {
        let mut orphans = Vec::new();
        for (id, slot) in self.slots.iter_mut() {
            match &mut slot.entry {
                Entry::Waiting(_) | Entry::TimedOut => {
                    let ended = Entry::Done(Outcome::Ended(Ended::Lost, Sent::Maybe));
                    if let Entry::Waiting(waker) = std::mem::replace(&mut slot.entry, ended) {
                        wakes.add(Some(waker));
                    }
                }
                Entry::Stream(stream) => wakes.add(stream.finish(StreamEnd::Lost)),
                Entry::Orphan => orphans.push(id),
                Entry::Free | Entry::Done(_) => {}
            }
        }
        for id in orphans {
            self.slots.remove(id);
        }
    }
}

impl From<CloseReason> for Loss {
    fn from(reason: CloseReason) -> Self {
        Self::Protocol(reason)
    }
}
