//! What ended elsewhere comes back: replies of handed-on work, deadlines that are over.

use kv_proto::ErrorCode;
use kv_service::BatchOutcome;

use super::core::Core;
use super::idempotent;
use super::inflight::{Shape, Token};
use super::mailbox::Finished;
use super::reply;
use super::request::Reject;

impl Core {
    /// Answers the request that this work belonged to, and starts what waited behind it.
    pub(super) fn on_finished(&mut self, finished: Finished) {
        match finished {
            Finished::Page(token, page) => self.on_page(token, page),
            Finished::Ops(token, outcome) => self.on_ops(token, outcome),
        }
    }

    fn on_ops(&mut self, token: Token, outcome: Option<BatchOutcome>) {
        let Some((waiting, started)) = self.inflight.finish(token) else {
            return;
        };
        let meta = waiting.meta;
        // What is counted from here on took as long as this request did.
        self.count_round(self.instant);
        if waiting.cancelled {
            reply::end(&mut self.egress, meta.request_id);
        } else if !waiting.answered {
            match (outcome, waiting.shape) {
                (None, _) => self.handler_panicked(meta),
                (Some(outcome), Shape::Single) => self.on_single(meta, &outcome),
                (Some(outcome), Shape::Batch(items)) => self.on_batch_done(meta, &items, &outcome),
                (Some(outcome), Shape::Planned(plan)) => self.on_plan_done(meta, *plan, &outcome),
            }
        }
        self.count_round(waiting.since);
        for (token, batch) in started {
            self.start(token, batch);
        }
    }

    fn on_single(&mut self, meta: super::request::Meta, outcome: &BatchOutcome) {
        let first = match outcome {
            BatchOutcome::Done(outcomes) => outcomes.first(),
            BatchOutcome::Refused { outcome, .. } => Some(outcome),
            BatchOutcome::Failed(error) => {
                return self.reject(meta, &reply::store_error(*error));
            }
        };
        let Some(outcome) = first else {
            return self.handler_panicked(meta);
        };
        if !idempotent::fits(meta.opcode, outcome) {
            return self.reject(meta, &idempotent::number_used());
        }
        let outcome = outcome.as_outcome();
        let missing = matches!(outcome, kv_service::Outcome::Missing);
        let code = reply::outcome(&mut self.egress, meta, outcome, self.now);
        self.tally.count(meta.opcode, code, missing);
    }

    /// Takes a request that never started out of the table; what waited behind it may start.
    pub(super) fn finish_waiting(&mut self, token: Token) {
        if let Some((_, started)) = self.inflight.finish(token) {
            for (token, batch) in started {
                self.start(token, batch);
            }
        }
    }

    /// Answers DEADLINE_EXCEEDED where a deadline is over.
    pub(super) fn expire_requests(&mut self) {
        if !self.inflight.is_empty() {
            for (token, meta, parked) in self.inflight.expire(self.instant) {
                self.recorder.expired(1);
                let reject = Reject::new(
                    ErrorCode::DeadlineExceeded,
                    if parked {
                        "the request's deadline has passed; it was not applied"
                    } else {
                        "the request's deadline has passed; it may have been applied"
                    },
                );
                self.reject(meta, &reject);
                if parked {
                    self.finish_waiting(token);
                }
            }
        }
        if !self.streams.is_empty() {
            self.expire_streams();
        }
        self.expire_held();
    }
}
