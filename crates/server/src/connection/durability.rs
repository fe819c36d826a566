//! What may be shown: replies leave at once when nothing they depend on is still on its way to the
//! disk, and are held until then otherwise.
//!
//! Owns when a held reply leaves, as what, and who wakes the connection for it. A held request is in
//! flight: its id is taken, it counts towards the limit, and at the limit nothing more is read.

use std::task::Context;

use kv_proto::ErrorCode;
use kv_service::{Outcome, Position, Recorder, StoreError};
use tokio::time::Instant;

use super::core::Core;
use super::egress::Egress;
use super::held::{Answered, Body, Held, Note, Reply};
use super::reply::{self, FrameSink};
use super::request::{Meta, Reject};
use super::run::RUN_MAX;
use super::tally::Tally;

/// How far the store has come as this connection knows it, and what waits for the rest.
pub(super) struct Durability {
    /// What is durable for certain; at [`Position::END`] nothing is ever held.
    pub(super) through: Position,
    /// No request with a higher id than this is held: the usual request is told by one comparison.
    highest_id: u32,
    held: Option<Box<Held>>,
}

impl Durability {
    pub(super) const fn new(through: Position) -> Self {
        Self {
            through,
            highest_id: 0,
            held: None,
        }
    }

    /// Whether this engine's outcomes come before they are durable.
    #[inline]
    pub(super) fn lags(&self) -> bool {
        self.through != Position::END
    }

    /// How many replies are held.
    pub(super) fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_empty())
    }

    /// Bytes of output that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes())
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.held_bytes())
    }

    /// Whether the reply to this request is held.
    #[inline]
    pub(super) fn contains(&self, request_id: u32) -> bool {
        request_id <= self.highest_id
            && self
                .held
                .as_ref()
                .is_some_and(|held| held.contains(request_id))
    }

    /// When to look for deadlines that are over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|held| held.next_deadline())
    }

    /// Holds the reply that `write` writes: exactly one frame.
    #[inline]
    pub(super) fn hold(&mut self, note: Note, write: impl FnOnce(&mut dyn FrameSink) -> Answered) {
        let held = self.held.get_or_insert_with(Held::take);
        held.push(note, write);
        self.highest_id = held.highest_id();
    }
}

/// What an outcome says about its request.
pub(super) const fn answered(outcome: &Outcome<'_>, code: Option<ErrorCode>) -> Answered {
    Answered {
        code,
        missing: matches!(outcome, Outcome::Missing),
        applied: matches!(
            outcome,
            Outcome::Written { .. } | Outcome::Deleted { .. } | Outcome::Counted { .. }
        ),
    }
}

/// The note of a request that came at `since`.
#[inline]
pub(super) fn note(meta: Meta, after: Position, since: Instant) -> Note {
    let ms = |ms: u32| std::time::Duration::from_millis(u64::from(ms));
    Note {
        opcode: meta.opcode,
        request_id: meta.request_id,
        after,
        since,
        deadline: meta.deadline_ms.map(|deadline| since + ms(deadline)),
    }
}

impl Core {
    /// Asks the store how far it has come.
    pub(super) fn learn_durable(&mut self) {
        self.durability.through = self.shared.service.durable().through;
    }

    /// Sends the reply to a request that came at `since`, once everything up to `after` is durable.
    pub(super) fn answer(
        &mut self,
        meta: Meta,
        since: Instant,
        after: Position,
        write: impl FnOnce(&mut dyn FrameSink) -> Answered,
    ) {
        if after > self.durability.through {
            self.learn_durable();
        }
        if after > self.durability.through {
            let note = note(meta, after, since);
            return self.durability.hold(note, write);
        }
        let answered = write(&mut self.egress);
        self.tally
            .count(meta.opcode, answered.code, answered.missing);
    }

    /// How many requests may be executed before it is looked again whether there are too many in
    /// flight.
    pub(super) fn run_room(&self) -> usize {
        if !self.durability.lags() {
            return RUN_MAX;
        }
        let max = self.shared.config.limits.max_in_flight_per_connection.get();
        let left = max.saturating_sub(self.in_flight());
        // With nothing held there is nothing to wait for; who asks too much is told so.
        left.clamp(usize::from(self.durability.is_empty()), RUN_MAX)
    }

    /// Whether so many requests are in flight, held ones among them, that none is read.
    pub(super) fn is_full(&self) -> bool {
        !self.durability.is_empty() && self.run_room() == 0
    }

    /// Sends what has become durable.
    pub(super) fn release_held(&mut self) {
        let durability = &mut self.durability;
        let Some(held) = durability.held.as_mut().filter(|held| !held.is_empty()) else {
            return;
        };
        let durable = self.shared.service.durable();
        durability.through = durable.through;
        let ready = durable.failed || held.first().is_some_and(|first| first <= durable.through);
        if !ready {
            return;
        }
        let mut release = Release {
            egress: &mut self.egress,
            recorder: &self.recorder,
            tally: Tally::default(),
            since: None,
            now: Instant::now(),
        };
        held.release(durable.through, |reply, body| release.send(reply, &body));
        if durable.failed {
            held.release(Position::END, |reply, _| release.fail(reply));
        }
        release.flush();
        durability.highest_id = held.highest_id();
    }

    /// Asks to be woken when something held may leave. Whether something may already.
    pub(super) fn await_durable(&mut self, cx: &Context<'_>) -> bool {
        let Some(held) = &mut self.durability.held else {
            return false;
        };
        let Some(first) = held.first() else {
            if let Some(empty) = self.durability.held.take() {
                Held::give(empty);
            }
            return false;
        };
        let shared = &self.shared;
        held.place
            .get_or_insert_with(|| shared.wakes.place(&shared.service))
            .arm(cx.waker(), first);
        let durable = shared.service.durable();
        durable.failed || first <= durable.through
    }

    /// CANCEL of a request that is done but for its reply: END takes the reply's place. Whether there
    /// is such a one.
    pub(super) fn cancel_held(&mut self, request_id: u32) -> bool {
        let held = self.durability.held.as_mut();
        held.is_some_and(|held| held.cancel(request_id))
    }

    /// Answers DEADLINE_EXCEEDED where a deadline is over, in place of the reply.
    pub(super) fn expire_held(&mut self) {
        let Some(held) = &mut self.durability.held else {
            return;
        };
        let over = held.expire(self.instant);
        self.durability.highest_id = held.highest_id();
        for (note, answered) in over {
            self.recorder.expired(1);
            let reject = if answered.applied {
                Reject::new(
                    ErrorCode::DeadlineExceeded,
                    "the request's deadline has passed; it may have been applied",
                )
            } else {
                Reject::deadline()
            };
            self.reject(Meta::bare(note.opcode, note.request_id), &reject);
        }
    }
}

/// Held replies on their way out.
struct Release<'c> {
    egress: &'c mut Egress,
    recorder: &'c Recorder,
    /// Those that began at `since`.
    tally: Tally,
    since: Option<Instant>,
    now: Instant,
}

impl Release<'_> {
    #[inline]
    fn send(&mut self, reply: &Reply, body: &Body<'_>) {
        if reply.cancelled {
            return reply::end(self.egress, reply.note.request_id);
        }
        let Body {
            head,
            ext,
            key,
            value,
        } = *body;
        self.egress.frame(head, ext, key, value);
        self.count(reply, reply.answered.code);
    }

    /// What will never be durable is not shown.
    fn fail(&mut self, reply: &Reply) {
        let request_id = reply.note.request_id;
        if reply.cancelled {
            return reply::end(self.egress, request_id);
        }
        let reject = if reply.answered.applied {
            reply::store_error(StoreError::OutcomeUnknown)
        } else {
            Reject {
                retry_after_ms: 1_000,
                ..reply::store_error(StoreError::Unavailable)
            }
        };
        reply::error(self.egress, request_id, &reject);
        self.count(reply, Some(reject.code));
    }

    fn count(&mut self, reply: &Reply, code: Option<ErrorCode>) {
        if self.since != Some(reply.note.since) {
            self.flush();
            self.since = Some(reply.note.since);
        }
        let missing = code.is_none() && reply.answered.missing;
        self.tally.count(reply.note.opcode, code, missing);
    }

    /// Tells the metrics, with the time that the replies took, their waiting included.
    fn flush(&mut self) {
        let (last, answered) = self.tally.flush(self.recorder);
        if let (Some(operation), Some(since)) = (last, self.since) {
            let took = self.now.saturating_duration_since(since);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.recorder.durations(operation, nanos, answered);
        }
    }
}
