//! What was answered to operations that clients named, so that a repeat has no second effect.
//!
//! Owns the answers, no clock and no lock: an engine calls [`Windows::check`] and
//! [`Windows::record`] under the lock under which it applies the operation, with its own time,
//! which never goes back.
//!
//! A client numbers its operations upwards. Of each client the answers of its highest
//! [`WINDOW`] numbers are kept, each for [`KEPT_MS`], in all within a bound of bytes; what goes
//! first is what was answered first. Whenever an answer goes, its number and all below it are
//! *forgotten*. So a number has
//!
//! * an answer: it is a repeat;
//! * none, and is not forgotten: it has never been applied (it may arrive out of order), and is
//!   new;
//! * none, and is forgotten: nobody can tell, and it is expired. It is never applied.
//!
//! Invariant: for every client in `clients`, each number that was ever recorded has a record or
//! is forgotten. So no operation is applied twice as long as its client is known at all.
//!
//! What is known of a client without answers is some 200 bytes. A client is lost whole, and its
//! numbers are new again (but for those further below its next one than a window reaches), only
//! when it has recorded nothing for [`CLIENT_KEPT_MS`], or when so many other clients have since
//! that they fill a quarter of the bound: with the default of 64 MiB, more than 70,000.

mod chain;
mod client;
mod codec;
mod dump;
mod room;

pub(crate) use client::WINDOW;
pub(crate) use codec::{decode_outcome, encode_outcome};

use crate::{BatchOutcome, Blame, Now, OperationId, OwnedOutcome, Position, StoreError};
use chain::Chain;
use client::Client;
use std::collections::{HashMap, HashSet};

/// How long an answer is kept, in milliseconds: 24 hours.
pub(crate) const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long a client that records nothing is known, in milliseconds: 7 days.
pub(crate) const CLIENT_KEPT_MS: u64 = 7 * KEPT_MS;

/// What all answers and clients together may take, unless told otherwise.
pub(crate) const WINDOWS_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// About what an allocation takes beside what was asked for.
const ALLOCATION_BYTES: usize = 16;

/// What an answer takes beside its bytes.
const RECORD_BYTES: usize =
    size_of::<Record>() + Chain::<Record>::OVERHEAD_BYTES + ALLOCATION_BYTES;

/// What a client takes beside records and ring; twice its entry in the map, which may be half
/// empty, and its entry among the changed.
const CLIENT_BYTES: usize =
    size_of::<Client>() + Chain::<Client>::OVERHEAD_BYTES + 4 * 24 + ALLOCATION_BYTES;

const _: () = assert!(
    WINDOWS_BYTES_DEFAULT / 4 / CLIENT_BYTES > 70_000,
    "as documented"
);

/// Answers too old that one recording removes at most: more than it adds.
const AGED_PER_RECORD: usize = 4;

/// An answer as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored(Box<[u8]>);

impl Stored {
    /// The answer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when these are the bytes of no answer; they came from a disk then.
    pub(crate) fn outcome(&self) -> Result<BatchOutcome, StoreError> {
        decode_outcome(&self.0)
    }
}

/// What to do with an operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'w> {
    /// Apply and record it.
    New,
    /// Answer this again, once everything up to the position is durable.
    Repeat(&'w Stored, Position),
    /// Answer [`StoreError::OperationExpired`].
    Expired,
}

struct Record {
    client: u32,
    number: u64,
    /// When it was recorded, in milliseconds.
    at: u64,
    position: Position,
    stored: Stored,
}

/// The windows of all clients.
pub(crate) struct Windows {
    bytes_max: usize,
    /// Charged for records and rings.
    bytes: usize,
    clients: HashMap<[u8; 16], u32>,
    /// The one first that has recorded nothing for longest.
    heads: Chain<Client>,
    /// The oldest first.
    records: Chain<Record>,
    /// Clients to be dumped again, if anybody dumps them.
    changed: Option<HashSet<[u8; 16]>>,
    /// Whether both chains are in order; loading puts them out of it.
    in_order: bool,
}

/// Whether `outcome` has to be recorded: not, when it says that nothing was changed because the
/// engine could not. The same operation may succeed later.
pub(crate) fn is_final(outcome: &BatchOutcome) -> bool {
    let applied_nothing = |outcome: &OwnedOutcome| matches!(outcome, OwnedOutcome::Failed(error) if error.blame() != Blame::Unknown);
    match outcome {
        BatchOutcome::Done(outcomes) => !outcomes.iter().all(applied_nothing),
        BatchOutcome::Refused { outcome, .. } => !applied_nothing(outcome),
        BatchOutcome::Failed(error) => error.blame() == Blame::Unknown,
    }
}

impl Windows {
    /// No client is known. Takes no memory before the first is.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            clients: HashMap::new(),
            heads: Chain::new(),
            records: Chain::new(),
            changed: None,
            in_order: true,
        }
    }

    /// Bytes taken, never more than the bound, unless that is too small for one client.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.heads.len() * CLIENT_BYTES
    }

    /// What to do with an operation that arrives at `now`.
    pub(crate) fn check(&self, now: Now, id: OperationId) -> Verdict<'_> {
        let client = self.clients.get(&id.client);
        let Some(client) = client.and_then(|place| self.heads.get(*place)) else {
            return Verdict::New;
        };
        match self.find(client, id.number).map(|(_, record)| record) {
            Some(record) if is_past(record.at, KEPT_MS, now) => Verdict::Expired,
            Some(record) => Verdict::Repeat(&record.stored, record.position),
            None if client.has_forgotten(id.number) => Verdict::Expired,
            None => Verdict::New,
        }
    }

    /// Keeps the answer of an operation that was new and whose outcome [`is_final`].
    pub(crate) fn record(
        &mut self,
        now: Now,
        id: OperationId,
        outcome: &BatchOutcome,
        position: Position,
    ) {
        let mut bytes = Vec::new();
        encode_outcome(outcome, &mut bytes);
        self.record_encoded(now, id, &bytes, position);
    }

    /// Keeps an answer in the form [`encode_outcome`] gave it. A second answer of one number, as
    /// when a log is replayed over what was loaded, takes the place of the first.
    pub(crate) fn record_encoded(
        &mut self,
        now: Now,
        id: OperationId,
        bytes: &[u8],
        position: Position,
    ) {
        self.restore_order();
        let Some(client) = self.client_for(id) else {
            return;
        };
        self.heads.move_last(client);
        if let Some(head) = self.heads.get_mut(client) {
            head.used_at = now.unix_ms();
            head.highest = head.highest.max(id.number);
        }
        self.mark_changed(id.client);
        if let Some(below) = id.number.checked_sub(WINDOW) {
            self.forget_through(client, below);
        }
        let record = Record {
            client,
            number: id.number,
            at: now.unix_ms(),
            position,
            stored: Stored(bytes.into()),
        };
        self.keep(record);
        self.shed(now, client);
    }

    /// The place of a client, which is known from now on.
    fn client_for(&mut self, id: OperationId) -> Option<u32> {
        if let Some(place) = self.clients.get(&id.client) {
            return Some(*place);
        }
        let place = self.heads.push(Client::new(id.client, id.number))?;
        self.clients.insert(id.client, place);
        Some(place)
    }
}

/// Whether something of the time `at` is older than `kept_ms`.
const fn is_past(at: u64, kept_ms: u64, now: Now) -> bool {
    now.unix_ms().saturating_sub(at) >= kept_ms
}

#[cfg(test)]
mod tests;
