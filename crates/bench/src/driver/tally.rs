//! What a run came to: counts, errors by kind, latencies.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::protocol::{Answer, batch_answers};
use crate::workload::{Data, Request, Verb};

/// Replies that were not what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// The server said no.
    pub refused: u64,
    /// A key that was stored was not found.
    pub missing: u64,
    /// A value of another length or with other contents.
    pub wrong_value: u64,
    /// A reply of another kind, for another key, or to nothing.
    pub wrong_reply: u64,
}

impl Errors {
    /// All of them.
    #[must_use]
    pub(crate) const fn total(&self) -> u64 {
        self.refused + self.missing + self.wrong_value + self.wrong_reply
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Operations answered rightly while counting; those of a batch count one by one.
    pub operations: u64,
    /// How long was counted.
    pub elapsed: Duration,
    /// Latencies of requests.
    pub latencies: Latencies,
    /// Wrong replies, also before and after counting.
    pub errors: Errors,
    /// Requests without an answer at the end, and those of an open loop that could not be sent.
    pub unanswered: u64,
    /// Whether right answers count now.
    pub(crate) measuring: bool,
    key: Vec<u8>,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    /// Does not happen: the histogram's bounds are fixed.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            operations: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::new()?,
            errors: Errors::default(),
            unanswered: 0,
            measuring: false,
            key: Vec::new(),
        })
    }

    /// Operations per second.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.operations as f64 / seconds
        } else {
            0.0
        }
    }

    /// Adds what another one counted at the same time.
    ///
    /// # Errors
    /// Does not happen: all histograms have the same bounds.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.operations += other.operations;
        self.errors.refused += other.errors.refused;
        self.errors.missing += other.errors.missing;
        self.errors.wrong_value += other.errors.wrong_value;
        self.errors.wrong_reply += other.errors.wrong_reply;
        self.unanswered += other.unanswered;
        self.latencies.merge(&other.latencies)
    }

    /// Notes a reply to nothing.
    pub(super) const fn stray(&mut self) {
        self.errors.wrong_reply += 1;
    }

    /// Checks an answer against its request. A latency is noted for right answers only.
    #[inline]
    pub(crate) fn answered(
        &mut self,
        request: &Request,
        answer: &Answer<'_>,
        data: &Data,
        latency_ns: Option<u64>,
    ) {
        let right = if request.count == 1 {
            self.check(request.verb, request.first, answer, data)
        } else {
            self.check_batch(request, answer, data)
        };
        if right {
            if self.measuring {
                self.operations += u64::from(request.count);
            }
            if let Some(latency) = latency_ns {
                self.latencies.record_ns(latency);
            }
        }
    }

    #[inline]
    fn check(&mut self, verb: Verb, index: u64, answer: &Answer<'_>, data: &Data) -> bool {
        match (verb, answer) {
            (Verb::Get, Answer::Value { key, value }) => {
                if let Some(key) = key {
                    self.key.clear();
                    data.write_key(index, &mut self.key);
                    if self.key != *key {
                        self.errors.wrong_reply += 1;
                        return false;
                    }
                }
                let right = data.is_value(index, value);
                self.errors.wrong_value += u64::from(!right);
                right
            }
            (Verb::Set, Answer::Done) => true,
            (Verb::Set, Answer::Value { value: [], .. }) => true,
            (_, Answer::Compared(right)) => {
                self.errors.wrong_value += u64::from(!right);
                *right
            }
            (_, Answer::Refused) => {
                self.errors.refused += 1;
                false
            }
            (Verb::Get, Answer::Missing) => {
                self.errors.missing += 1;
                false
            }
            _ => {
                self.errors.wrong_reply += 1;
                false
            }
        }
    }

    fn check_batch(&mut self, request: &Request, answer: &Answer<'_>, data: &Data) -> bool {
        use kv_proto::Opcode;
        let value = match answer {
            Answer::Value { value, .. } => value,
            Answer::Compared(right) => {
                self.errors.wrong_value += u64::from(!right);
                return *right;
            }
            Answer::Done if request.verb == Verb::Set => return true,
            Answer::Refused => {
                self.errors.refused += 1;
                return false;
            }
            _ => {
                self.errors.wrong_reply += 1;
                return false;
            }
        };
        let Some(batch) = batch_answers(value) else {
            self.errors.wrong_reply += 1;
            return false;
        };
        if u32::try_from(batch.len()) != Ok(request.count) {
            self.errors.wrong_reply += 1;
            return false;
        }
        let mut right = true;
        for (nth, item) in (0..request.count).zip(batch.iter()) {
            let answer = match Opcode::try_from(item.opcode) {
                Ok(Opcode::Ok) => Answer::Value {
                    key: None,
                    value: item.value,
                },
                Ok(Opcode::NotFound) => Answer::Missing,
                _ => Answer::Refused,
            };
            right &= self.check(request.verb, data.member(request, nth), &answer, data);
        }
        right
    }
}
