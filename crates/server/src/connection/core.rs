//! The state of an open session apart from its socket: what requests act on.

use std::sync::Arc;

use kv_proto::{Assembler, Capabilities, CutLimits, ErrorCode, Established, Opcode, Sealer};
use kv_service::{Door, Lease, Now, Permissions, Recorder, Share, Verdict};
use tokio::time::Instant;

use super::budget::CheapBudget;
use super::durability::Durability;
use super::egress::Egress;
use super::inflight::InFlight;
use super::peer::Peer;
use super::reply;
use super::request::{Meta, Reject};
use super::streams::Streams;
use super::tally::Tally;
use crate::shared::Shared;

/// Whether requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// Yes.
    Open,
    /// The server drains: new requests are answered SHUTTING_DOWN.
    Draining,
    /// The client said GOODBYE: nothing may follow.
    Ended,
}

/// Everything of a session but its socket, its input and its timer.
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) permissions: Permissions,
    pub(super) sealer: Sealer,
    pub(super) egress: Egress,
    pub(super) inflight: InFlight,
    pub(super) streams: Streams,
    pub(super) durability: Durability,
    pub(super) assembler: Assembler,
    pub(super) budget: CheapBudget,
    pub(super) tally: Tally,
    pub(super) recorder: Recorder,
    pub(super) share: Share,
    pub(super) lease: Option<Lease>,
    /// Requests in flight as the metrics know them.
    counted_in_flight: usize,
    /// Partial bytes as the process-wide bound knows them.
    counted_partial: usize,
    pub(super) intake: Intake,
    pub(super) version_1: bool,
    pub(super) lz4: bool,
    /// Nothing but the frame itself decides about a plain request.
    pub(super) calm: bool,
    /// How many requests may be gathered before they are executed.
    pub(super) room: usize,
    /// The highest request id seen, for GOAWAY.
    pub(super) last_request_id: u32,
    /// Time of this wake-up.
    pub(super) now: Now,
    pub(super) instant: Instant,
}

impl Core {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: Arc<Peer>,
        permissions: Permissions,
        established: Session0,
    ) -> Self {
        let Session0 {
            sealer,
            limits,
            capabilities,
            version_1,
        } = established;
        let instant = Instant::now();
        let lz4 = capabilities.contains(Capabilities::LZ4);
        let cut = CutLimits::of_session(&limits);
        let budget = CheapBudget::new(
            shared.config.limits.cheap_frame_budget.get(),
            shared.config.limits.cheap_frame_cost.get(),
            instant,
        );
        Self {
            egress: Egress::new(cut, sealer.must_copy_values(), version_1, lz4),
            assembler: Assembler::new(shared.assembler_limits),
            now: shared.service.now(),
            inflight: InFlight::default(),
            streams: Streams::default(),
            durability: Durability::new(shared.service.durable().through),
            tally: Tally::default(),
            recorder: shared.metrics.recorder(Door::Native),
            share: shared.share(&peer),
            lease: shared.accountant.reserve(0),
            counted_in_flight: 0,
            counted_partial: 0,
            intake: Intake::Open,
            calm: false,
            room: 0,
            last_request_id: 0,
            shared,
            peer,
            permissions,
            sealer,
            budget,
            version_1,
            lz4,
            instant,
        }
    }

    /// Reads the clocks, once per wake-up.
    pub(super) fn tick(&mut self) {
        self.instant = Instant::now();
        self.now = self.shared.service.now();
    }

    /// Milliseconds for the assembler, which knows no clock.
    pub(super) fn monotonic_ms(&self) -> u64 {
        let since = self.instant.saturating_duration_since(self.peer.since);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Answers ERR and counts it.
    pub(super) fn reject(&mut self, meta: Meta, reject: &Reject) {
        reply::error(&mut self.egress, meta.request_id, reject);
        self.tally.count(meta.opcode, Some(reject.code), false);
    }

    /// ERR for a frame that brought nothing: it draws from the cheap-frame budget.
    pub(super) fn reject_cheap(&mut self, meta: Meta, reject: &Reject) {
        self.budget.charge();
        self.reject(meta, reject);
    }

    /// Whether a further request may wait on this connection.
    pub(super) fn admit_waiting(&self, request_id: u32) -> Result<(), Reject> {
        if self.is_in_flight(request_id) {
            return Err(Reject::id_in_flight());
        }
        let max = self.shared.config.limits.max_in_flight_per_connection.get();
        if self.in_flight() >= max {
            return Err(Reject {
                code: ErrorCode::TooManyInFlight,
                message: format!("at most {max} requests may be in flight on one connection"),
                retry_after_ms: 10,
            });
        }
        Ok(())
    }

    /// Whether an earlier request with this id has no final answer yet.
    pub(super) fn is_in_flight(&self, request_id: u32) -> bool {
        self.inflight.contains(request_id)
            || self.streams.contains(request_id)
            || self.assembler.contains(request_id)
            || self.durability.contains(request_id)
    }

    /// How many requests have no final answer yet.
    pub(super) fn in_flight(&self) -> usize {
        self.inflight.len() + self.streams.len() + self.durability.len()
    }

    /// Whether nothing is under way and nothing waits to leave.
    pub(super) fn is_settled(&self) -> bool {
        self.inflight.is_empty()
            && self.streams.is_empty()
            && self.durability.is_empty()
            && self.egress.is_idle()
    }

    /// Whether so much waits here that nothing further is read: output the peer does not take, or
    /// requests that are under way.
    pub(super) fn is_backed_up(&self) -> bool {
        let limits = &self.shared.config.limits;
        self.waiting_output() >= limits.output_soft_bytes.get()
            || self.inflight.bytes() >= limits.max_partial_bytes_per_connection.get()
            || self.is_full()
    }

    /// Bytes of output that wait: for the peer to take them, or to become durable.
    pub(super) fn waiting_output(&self) -> usize {
        let held = self.durability.bytes();
        self.egress.waiting_bytes().saturating_add(held)
    }

    /// Memory this connection holds, for the accountant.
    pub(super) fn held_bytes(&self) -> usize {
        self.assembler
            .retained_bytes()
            .saturating_add(self.egress.held_bytes())
            .saturating_add(self.inflight.bytes())
            .saturating_add(self.durability.held_bytes())
    }

    /// Takes so many requests from the rate limits: how many may go on, and why the others may not.
    pub(super) fn take_rate(&self, wanted: u32) -> (u32, Option<Reject>) {
        let now = self.shared.since_start(self.instant);
        match self.share.take(now, wanted) {
            Verdict::Allowed => (wanted, None),
            Verdict::Limited {
                allowed,
                retry_after_ms,
                scope,
            } => {
                self.shared.metrics.rate_limited(scope);
                let reject = Reject {
                    code: ErrorCode::RateLimited,
                    message: "over the rate limit".into(),
                    retry_after_ms,
                };
                (allowed, Some(reject))
            }
        }
    }

    /// Whether the process may hold this much more in unfinished messages.
    pub(super) fn allows_partial(&mut self, growth: usize) -> bool {
        self.count_partial();
        self.shared.partial_bytes().saturating_add(growth)
            <= self.shared.config.limits.max_partial_bytes.get()
    }

    /// Tells the process-wide bound what this connection holds in unfinished messages.
    pub(super) fn count_partial(&mut self) {
        let retained = self.assembler.retained_bytes();
        self.shared
            .change_partial_bytes(self.counted_partial, retained);
        self.counted_partial = retained;
    }

    /// Tells the metrics of what was answered since the last time, which began at `since`.
    pub(super) fn count_round(&mut self, since: Instant) {
        let (last, answered) = self.tally.flush(&self.recorder);
        if let Some(operation) = last {
            let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.recorder.durations(operation, nanos, answered);
        }
    }

    /// Brings the metrics up to date, once per round.
    pub(super) fn finish_round(&mut self) {
        self.count_round(self.instant);
        let in_flight = self.in_flight();
        if in_flight != self.counted_in_flight {
            let change = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            self.recorder
                .in_flight(change(in_flight) - change(self.counted_in_flight));
            self.counted_in_flight = in_flight;
        }
    }

    /// Accounts for the memory the connection holds; whether there is room for it.
    pub(super) fn account(&mut self, input_bytes: usize) -> bool {
        if self.counted_partial != 0 || !self.assembler.is_empty() {
            self.count_partial();
        }
        let held = self.held_bytes().saturating_add(input_bytes);
        let in_flight = self.in_flight();
        self.peer.note_holding(held, in_flight);
        match &mut self.lease {
            Some(lease) if lease.bytes() == held => true,
            Some(lease) => lease.resize(held),
            lease @ None => {
                *lease = self.shared.accountant.reserve(held);
                lease.is_some()
            }
        }
    }

    /// Counts a success.
    pub(super) fn count_ok(&mut self, opcode: Opcode) {
        self.tally.count(opcode, None, false);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shared.change_partial_bytes(self.counted_partial, 0);
        let in_flight = i64::try_from(self.counted_in_flight).unwrap_or(i64::MAX);
        self.recorder.in_flight(-in_flight);
    }
}

/// What a handshake gives to the session's core.
pub(super) struct Session0 {
    pub(super) sealer: Sealer,
    pub(super) limits: kv_proto::limits::SessionLimits,
    pub(super) capabilities: Capabilities,
    pub(super) version_1: bool,
}

impl Session0 {
    /// A version-1 connection.
    pub(super) const fn version_1(sealer: Sealer, limits: kv_proto::limits::SessionLimits) -> Self {
        Self {
            sealer,
            limits,
            capabilities: Capabilities::NONE,
            version_1: true,
        }
    }

    /// Splits the receiving half off.
    pub(super) fn of(established: Established) -> (Self, kv_proto::Opener) {
        let this = Self {
            sealer: established.sealer,
            limits: established.limits,
            capabilities: established.capabilities,
            version_1: false,
        };
        (this, established.opener)
    }
}
