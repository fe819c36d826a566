//! A run: the key commands found in one walk over the input, executed together so that their look-ups
//! overlap, and answered straight into the output buffer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use kv_proto::ErrorCode;
use kv_service::{Batch, BatchOutcome, Now, Op, Outcome, Position, Sink};
use tokio::time::Instant;

use super::core::Core;
use super::durability::{Durability, answered, note};
use super::egress::Egress;
use super::inflight::{Added, Token, Work};
use super::mailbox::{Finished, Mailbox};
use super::reply;
use super::request::{Meta, Reject};
use super::tally::Tally;

/// Requests of one run: enough that a look-up's wait for memory is shared, little enough that a run
/// stays on the stack and short.
pub(super) const RUN_MAX: usize = 64;

/// Requests that wait to be executed together.
pub(super) struct Run<'b> {
    ops: ArrayVec<Op<'b>, RUN_MAX>,
    metas: ArrayVec<Meta, RUN_MAX>,
}

impl<'b> Run<'b> {
    pub(super) const fn new() -> Self {
        Self {
            ops: ArrayVec::new_const(),
            metas: ArrayVec::new_const(),
        }
    }

    /// Adds a request; the run must not be full.
    #[inline]
    pub(super) fn push(&mut self, op: Op<'b>, meta: Meta) {
        let added = self.ops.try_push(op).is_ok() && self.metas.try_push(meta).is_ok();
        debug_assert!(added, "a full run is executed first");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether a request of this run has the id.
    pub(super) fn contains(&self, request_id: u32) -> bool {
        self.metas.iter().any(|meta| meta.request_id == request_id)
    }

    /// Executes and answers everything, in order; what cannot be answered now is handed on.
    pub(super) fn execute(&mut self, core: &mut Core) {
        let mut at = 0;
        while let (Some(&op), Some(&meta)) = (self.ops.get(at), self.metas.get(at)) {
            let watched = core.durability.lags() || !core.inflight.is_empty();
            if watched && core.is_in_flight(meta.request_id) {
                // An earlier request of this run has the id, and waits.
                core.reject_cheap(meta, &Reject::id_in_flight());
                at += 1;
                continue;
            }
            if !core.inflight.is_empty() && core.inflight.blocks(op.key()) {
                core.wait(
                    meta,
                    Work::Single(Batch {
                        ops: vec![op.to_owned_op()],
                        atomic: false,
                        operation: None,
                    }),
                );
                at += 1;
                continue;
            }
            let rest = if watched {
                self.reach(at, core)
            } else {
                self.ops.len()
            };
            let (Some(ops), Some(metas)) = (self.ops.get(at..rest), self.metas.get(at..rest))
            else {
                break;
            };
            let done = core.run(ops, metas);
            at += done;
            if done < ops.len() {
                if let (Some(op), Some(&meta)) = (self.ops.get(at), self.metas.get(at)) {
                    let batch = Batch {
                        ops: vec![op.to_owned_op()],
                        atomic: false,
                        operation: None,
                    };
                    core.wait(meta, Work::Single(batch));
                }
                at += 1;
            }
        }
        self.ops.clear();
        self.metas.clear();
    }

    /// Up to where requests from `at` on can be executed together: in front of the next one that has
    /// to wait for earlier work on its key, or that has the id of an earlier one of this run, which
    /// may be in flight then.
    fn reach(&self, at: usize, core: &Core) -> usize {
        let quiet = core.inflight.is_empty();
        let mut highest = 0;
        for (index, (op, meta)) in self.ops.iter().zip(&self.metas).enumerate() {
            let id = meta.request_id;
            let mut earlier = self.metas.iter().take(index);
            let repeated = id <= highest && earlier.any(|meta| meta.request_id == id);
            highest = highest.max(id);
            let waits = || core.inflight.blocks(op.key()) || core.is_in_flight(id);
            if index > at && (repeated || !quiet && waits()) {
                return index;
            }
        }
        self.ops.len()
    }
}

/// Writes each outcome as the reply of its request.
struct Replies<'c> {
    egress: &'c mut Egress,
    durability: &'c mut Durability,
    tally: &'c mut Tally,
    metas: &'c [Meta],
    now: Now,
    instant: Instant,
    /// Requests answered so far, and where the output stood then.
    done: usize,
    mark: (usize, usize),
}

impl Sink for Replies<'_> {
    #[inline]
    fn outcome(&mut self, index: usize, outcome: Outcome<'_>, after: Position) {
        let Some(&meta) = self.metas.get(index) else {
            return;
        };
        if after > self.durability.through {
            return self.hold(index, meta, outcome, after);
        }
        let missing = matches!(outcome, Outcome::Missing);
        let code = reply::outcome(self.egress, meta, outcome, self.now);
        self.tally.count(meta.opcode, code, missing);
        self.done = index + 1;
        self.mark = self.egress.out.mark();
    }
}

impl Replies<'_> {
    /// As `outcome`, of what is not durable yet.
    #[inline(never)]
    fn hold(&mut self, index: usize, meta: Meta, outcome: Outcome<'_>, after: Position) {
        let now = self.now;
        self.durability
            .hold(note(meta, after, self.instant), |out| {
                answered(&outcome, reply::outcome(out, meta, outcome, now))
            });
        self.done = index + 1;
    }
}

impl Core {
    /// Executes what can be answered at once; returns how many requests were answered.
    fn run(&mut self, ops: &[Op<'_>], metas: &[Meta]) -> usize {
        if self.durability.lags() {
            self.learn_durable();
        }
        let mark = self.egress.out.mark();
        let mut sink = Replies {
            egress: &mut self.egress,
            durability: &mut self.durability,
            tally: &mut self.tally,
            metas,
            now: self.now,
            instant: self.instant,
            done: 0,
            mark,
        };
        let service = &self.shared.service;
        // A fault of the engine ends one request, not the connection.
        let ran = catch_unwind(AssertUnwindSafe(|| service.run(self.now, ops, &mut sink)));
        let (done, mark) = (sink.done, sink.mark);
        match ran {
            Ok(executed) => executed,
            Err(_) => {
                self.egress.out.truncate(mark);
                if let Some(meta) = metas.get(done) {
                    self.handler_panicked(*meta);
                }
                done + 1
            }
        }
    }

    /// Answers a request whose handler panicked.
    pub(super) fn handler_panicked(&mut self, meta: Meta) {
        self.shared.metrics.panicked();
        tracing::error!(
            conn_id = self.peer.id,
            request_id = meta.request_id,
            op = meta.opcode.name(),
            "a request handler panicked; the request was answered INTERNAL"
        );
        self.reject(
            meta,
            &Reject::new(ErrorCode::Internal, "the server failed on this request"),
        );
    }

    /// Takes a request that cannot be answered now into the in-flight table, and starts it unless
    /// earlier work on one of its keys is under way.
    pub(super) fn wait(&mut self, meta: Meta, work: Work) {
        if let Err(reject) = self.admit_waiting(meta.request_id) {
            return self.reject(meta, &reject);
        }
        let deadline = meta
            .deadline_ms
            .map(|ms| self.instant + Duration::from_millis(u64::from(ms)));
        if let Added::Start(token, batch) = self.inflight.add(meta, work, self.instant, deadline) {
            self.start(token, batch);
        }
    }

    /// Hands work to the engine; its end comes back through the mailbox, exactly once.
    pub(super) fn start(&mut self, token: Token, batch: Batch) {
        let report = Report {
            mailbox: Some(Arc::clone(&self.peer.mailbox)),
            token,
        };
        let service = &self.shared.service;
        let submitted = catch_unwind(AssertUnwindSafe(|| {
            service.submit(
                self.now,
                batch,
                Box::new(move |outcome| report.send(outcome)),
            );
        }));
        if submitted.is_err() {
            self.shared.metrics.panicked();
        }
    }
}

/// Tells the connection how handed-on work ended; dropped unsent, it says that it is not known.
struct Report {
    mailbox: Option<Arc<Mailbox>>,
    token: Token,
}

impl Report {
    fn send(mut self, outcome: BatchOutcome) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.finished(Finished::Ops(self.token, Some(outcome)));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.finished(Finished::Ops(self.token, None));
        }
    }
}
