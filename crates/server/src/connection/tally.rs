//! Counts of answered requests, gathered per wake-up so that the shared counters are touched once per
//! kind of answer and not once per request.

use kv_proto::{ErrorCode, Opcode};
use kv_service::{Code, Operation, Recorder};

use crate::labels;

/// The counts of one wake-up: almost always one kind, rarely more than a few.
#[derive(Default)]
pub(super) struct Tally {
    current: Option<(Operation, Code, u64)>,
    rest: Vec<(Operation, Code, u64)>,
}

impl Tally {
    /// Counts one answer. `missing` is NOTFOUND.
    #[inline]
    pub(super) fn count(&mut self, opcode: Opcode, code: Option<ErrorCode>, missing: bool) {
        let (operation, code) = (labels::operation(opcode), labels::code(code, missing));
        match &mut self.current {
            Some((op, last, count)) if *op == operation && *last == code => *count += 1,
            current => {
                if let Some(done) = current.replace((operation, code, 1)) {
                    self.rest.push(done);
                }
            }
        }
    }

    /// Adds everything to the metrics; the last kind of request and how many there were of all kinds.
    #[inline]
    pub(super) fn flush(&mut self, recorder: &Recorder) -> (Option<Operation>, u64) {
        let mut total = 0;
        for (operation, code, count) in self.rest.drain(..) {
            total += count;
            recorder.requests(operation, code, count);
        }
        let Some((operation, code, count)) = self.current.take() else {
            return (None, 0);
        };
        recorder.requests(operation, code, count);
        (Some(operation), total + count)
    }
}
