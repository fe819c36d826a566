//! Many entries on their way to the server: so many at once, and how many of them are done in order.
//!
//! A write without a condition is repeated as often as its time allows, because it comes to the same;
//! one with a condition has an operation number. Two entries of one key are never under way at one
//! time, so that the later one stays.

pub(super) mod checkpoint;
pub(super) mod progress;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use kv_client::{ContentType, Error, ErrorCode, MultiplexedClient, Retry};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::error::CliError;

/// How long a server that has no room is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the values under way may take together; one may always go.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) ttl: Option<Duration>,
    pub(super) content_type: ContentType,
}

/// What happens to entries that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Keep,
}

/// What became of one record.
#[derive(Debug)]
pub(super) enum Fate {
    Stored,
    /// It exists, and was kept.
    Kept,
    /// The record's own fault: others can go on.
    Unusable(CliError),
    /// Others would fail in the same way.
    Failed(CliError),
}

/// One that ended.
pub(super) struct Ended {
    /// Its number in the input.
    pub(super) number: u64,
    pub(super) fate: Fate,
}

/// The records under way.
pub(super) struct Window {
    client: MultiplexedClient,
    existing: Existing,
    max: usize,
    tasks: JoinSet<(u64, Vec<u8>, Fate)>,
    /// Those under way, each with the bytes of its value.
    keys: HashMap<Vec<u8>, usize>,
    bytes: usize,
    order: Order,
}

impl Window {
    /// At most `max` at once; `first` is the number of the next record of the input.
    pub(super) fn new(client: MultiplexedClient, existing: Existing, max: u32, first: u64) -> Self {
        Self {
            client,
            existing,
            max: usize::try_from(max).unwrap_or(usize::MAX).max(1),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            bytes: 0,
            order: Order::new(first),
        }
    }

    /// Whether this one has to wait until others have ended.
    pub(super) fn blocks(&self, record: &Record) -> bool {
        let bytes = self.bytes.saturating_add(record.value.len());
        self.tasks.len() >= self.max
            || !self.tasks.is_empty() && bytes > BYTES_MAX
            || self.keys.contains_key(&record.key)
    }

    /// Sends the next record of the input; `mark` is what a checkpoint notes with it.
    pub(super) fn send(&mut self, record: Record, mark: u64) {
        let number = self.order.begin(mark);
        self.keys.insert(record.key.clone(), record.value.len());
        self.bytes = self.bytes.saturating_add(record.value.len());
        let (client, existing) = (self.client.clone(), self.existing);
        self.tasks.spawn(async move {
            let fate = store(&client, &record, existing).await;
            (number, record.key, fate)
        });
    }

    /// Counts the next one of the input as done: there is nothing to send for it.
    pub(super) fn skip(&mut self, mark: u64) {
        let number = self.order.begin(mark);
        self.order.end(number);
    }

    /// Waits for one to end; `None`: none is under way.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        let (number, key, fate) = match self.tasks.join_next().await? {
            Ok(ended) => ended,
            // A task that panicked has told so.
            Err(error) => {
                let error = CliError::from(std::io::Error::other(error));
                let fate = Fate::Failed(error);
                return Some(Ended { number: 0, fate });
            }
        };
        let bytes = self.keys.remove(&key).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(bytes);
        if matches!(fate, Fate::Stored | Fate::Kept) {
            self.order.end(number);
        }
        Some(Ended { number, fate })
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Takes a record that was unusable as done.
    pub(super) fn give_up(&mut self, number: u64) {
        self.order.end(number);
    }

    /// How many from the beginning of the input are done without a gap, and the mark of the last.
    pub(super) fn done(&self) -> (u64, u64) {
        (self.order.done, self.order.mark)
    }
}

/// Which numbers are done.
struct Order {
    /// All up to here are.
    done: u64,
    /// The mark of that one.
    mark: u64,
    /// Those behind it that have begun: their marks, and whether they are done.
    begun: VecDeque<(u64, bool)>,
}

impl Order {
    const fn new(first: u64) -> Self {
        Self {
            done: first.saturating_sub(1),
            mark: 0,
            begun: VecDeque::new(),
        }
    }

    fn begin(&mut self, mark: u64) -> u64 {
        self.begun.push_back((mark, false));
        let ahead = u64::try_from(self.begun.len()).unwrap_or(u64::MAX);
        self.done.saturating_add(ahead)
    }

    fn end(&mut self, number: u64) {
        let at = number.saturating_sub(self.done).saturating_sub(1);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some((_, done)) = self.begun.get_mut(at) {
            *done = true;
        }
        while let Some((mark, true)) = self.begun.front().copied() {
            self.begun.pop_front();
            self.done = self.done.saturating_add(1);
            self.mark = mark;
        }
    }
}

async fn store(client: &MultiplexedClient, record: &Record, existing: Existing) -> Fate {
    let begin = Instant::now();
    loop {
        let mut call = client
            .set(&record.key, &record.value)
            .content_type(record.content_type);
        if let Some(ttl) = record.ttl {
            call = call.ttl(ttl.saturating_sub(begin.elapsed()));
        }
        let done = match existing {
            Existing::Replace => call.await,
            Existing::Keep => call.if_absent().idempotent().await,
        };
        let Err(error) = done else {
            return Fate::Stored;
        };
        if !again(&error, existing) || begin.elapsed() >= PATIENCE {
            return fate_of(error, existing);
        }
        sleep(error.retry_after().unwrap_or(Duration::from_millis(20))).await;
    }
}

/// Whether it can be made again: not applied, or applied once more without a difference.
fn again(error: &Error, existing: Existing) -> bool {
    match error.retry() {
        Retry::Safe | Retry::AfterReconnect => error.code().is_some(),
        Retry::OutcomeUnknown => {
            existing == Existing::Replace && error.code() != Some(ErrorCode::DeadlineExceeded)
        }
        _ => false,
    }
}

fn fate_of(error: Error, existing: Existing) -> Fate {
    match error.code() {
        Some(ErrorCode::Conflict) if existing == Existing::Keep => Fate::Kept,
        Some(ErrorCode::TooLarge | ErrorCode::InvalidArgument) => Fate::Unusable(error.into()),
        _ if matches!(error.kind(), kv_client::ErrorKind::InvalidArgument(_)) => {
            Fate::Unusable(error.into())
        }
        _ => Fate::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_counts_from_the_beginning_and_without_a_gap() {
        let mut order = Order::new(11);
        let numbers: Vec<u64> = (0..4).map(|mark| order.begin(100 + mark)).collect();
        assert_eq!(numbers, [11, 12, 13, 14]);
        order.end(13);
        assert_eq!((order.done, order.mark), (10, 0));
        order.end(11);
        assert_eq!((order.done, order.mark), (11, 100));
        order.end(12);
        assert_eq!((order.done, order.mark), (13, 102));
        assert_eq!(order.begin(104), 15);
        order.end(14);
        order.end(15);
        assert_eq!((order.done, order.mark), (15, 104));
    }
}
