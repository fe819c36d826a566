//! What clients saw: every operation with the moments at which it was begun and answered.
//!
//! Owns the record, made outside of the server by those who call it; [`linearizability`] judges it.
//! Moments are places in one list, so that an operation that was answered before another was begun
//! stands before it, whatever any clock says.
//!
//! [`linearizability`]: crate::linearizability

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// What was asked of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read number and version.
    Get,
    /// Write a number.
    Set(i64),
    /// Remove the entry.
    Del,
    /// Write a number if the entry has this version; 0: if there is none.
    Cas {
        /// The version asked for.
        version: u64,
        /// The number to write.
        number: i64,
    },
    /// Add to the number; an absent one counts as 0.
    Incr(i64),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of Get: number and version, or nothing.
    Entry(Option<(i64, u64)>),
    /// Of Set and of a Cas whose condition held: the new version.
    Written(u64),
    /// Of a Cas whose condition did not hold: the version that was there, 0 for none.
    Conflict(u64),
    /// Of Del: whether there was an entry.
    Deleted(bool),
    /// Of Incr: the sum.
    Sum(i64),
    /// It was certainly not applied.
    Refused,
    /// It may be applied until the server is gone, or never.
    Unknown,
}

/// Names an operation in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) usize);

/// One operation on one key.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who made it.
    pub client: usize,
    /// What was asked.
    pub ask: Ask,
    /// What came back; none while it is under way.
    pub answer: Option<Answer>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}: {:?} -> ", self.client, self.ask)?;
        match &self.answer {
            Some(answer) => write!(f, "{answer:?}"),
            None => f.write_str("(under way)"),
        }
    }
}

/// A moment in the life of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// From here on it may take effect.
    Begun(OpId),
    /// It took effect before this, as its answer says.
    Answered(OpId),
    /// It took effect before this, or never.
    Over(OpId),
}

/// The history of one key.
#[derive(Clone, Debug, Default)]
pub struct KeyHistory {
    /// By [`OpId`].
    pub operations: Vec<Operation>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

impl KeyHistory {
    /// Begins an operation.
    pub fn begin(&mut self, client: usize, ask: Ask) -> OpId {
        let id = OpId(self.operations.len());
        self.operations.push(Operation {
            client,
            ask,
            answer: None,
        });
        self.events.push(Event::Begun(id));
        id
    }

    /// Ends an operation. One with an unknown outcome stays open until [`gone`](Self::gone).
    pub fn end(&mut self, id: OpId, answer: Answer) {
        let Some(operation) = self.operations.get_mut(id.0) else {
            return;
        };
        operation.answer = Some(answer);
        if answer != Answer::Unknown {
            self.events.push(Event::Answered(id));
        }
    }

    /// The server that had all operations so far is gone: what is open takes no effect later.
    pub fn gone(&mut self) {
        let mut open = Vec::new();
        for event in &self.events {
            match event {
                Event::Begun(id) => open.push(*id),
                Event::Answered(id) | Event::Over(id) => open.retain(|other| other != id),
            }
        }
        for id in open {
            if let Some(operation) = self.operations.get_mut(id.0) {
                operation.answer = Some(Answer::Unknown);
            }
            self.events.push(Event::Over(id));
        }
    }

    /// The operation that an event is about.
    #[must_use]
    pub fn operation(&self, id: OpId) -> Option<&Operation> {
        self.operations.get(id.0)
    }
}

/// The histories of all keys, recorded by any number of tasks. Clones share one record.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<BTreeMap<Vec<u8>, KeyHistory>>>);

impl Recorder {
    /// Begins an operation on `key`: before it is sent.
    #[must_use]
    pub fn begin(&self, client: usize, key: &[u8], ask: Ask) -> OpId {
        let mut histories = self.0.lock();
        histories
            .entry(key.to_vec())
            .or_default()
            .begin(client, ask)
    }

    /// Ends an operation on `key`: after its answer came.
    pub fn end(&self, key: &[u8], id: OpId, answer: Answer) {
        if let Some(history) = self.0.lock().get_mut(key) {
            history.end(id, answer);
        }
    }

    /// The server is gone, and everybody who called it has noticed: what is open takes no effect
    /// later.
    pub fn gone(&self) {
        for history in self.0.lock().values_mut() {
            history.gone();
        }
    }

    /// What was recorded so far.
    #[must_use]
    pub fn histories(&self) -> BTreeMap<Vec<u8>, KeyHistory> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_when_the_server_goes_is_over_then() {
        let recorder = Recorder::default();
        let done = recorder.begin(0, b"k", Ask::Set(1));
        let lost = recorder.begin(1, b"k", Ask::Set(2));
        let silent = recorder.begin(2, b"k", Ask::Get);
        recorder.end(b"k", done, Answer::Written(1));
        recorder.end(b"k", lost, Answer::Unknown);
        recorder.gone();
        let history = recorder.histories().remove(&b"k"[..]).unwrap();
        assert_eq!(
            history.events[3..],
            [
                Event::Answered(done),
                Event::Over(lost),
                Event::Over(silent)
            ]
        );
        assert_eq!(history.operations[2].answer, Some(Answer::Unknown));
    }

    #[test]
    fn an_operation_prints_with_who_made_it() {
        let mut history = KeyHistory::default();
        let id = history.begin(3, Ask::Incr(2));
        assert!(history.operations[0].to_string().ends_with("(under way)"));
        history.end(id, Answer::Sum(2));
        assert_eq!(
            history.operations[0].to_string(),
            "client 3: Incr(2) -> Sum(2)"
        );
    }
}
