//! Figures of the server: counters, gauges and histograms, and their exposition.
//!
//! Owns the numbers and their names. Reads no clock and no file: durations and the state of the
//! process are passed in. Recording is a few relaxed additions on counters found by index; sums are
//! taken at a scrape. Invariant: no peer can make the number of label sets grow without bound.

mod exposition;
mod histogram;
mod labels;
mod libraries;
mod shard;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

pub use exposition::{BuildInfo, CertificateTimes, Exposition, ProcessSample, Scrape, StoreSample};
pub use histogram::Durations;
pub use labels::{
    AuthResult, Certificate, Closure, Code, Door, FrameRejection, Listener, Mechanism, Operation,
    RateScope, Rejection, Success, TlsResult,
};
pub use libraries::LibraryGuard;

use histogram::Histogram;
use libraries::Libraries;
use shard::Shard;

/// More shards than this cost memory and save nothing.
const SHARDS_MAX: usize = 16;

/// Counters that are touched once per connection or less often.
type Counters<const N: usize> = [AtomicU64; N];

fn counters<const N: usize>() -> Counters<N> {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn bump(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn read(counters: &[AtomicU64], index: usize) -> u64 {
    counters
        .get(index)
        .map_or(0, |counter| counter.load(Ordering::Relaxed))
}

/// All figures of one server. Share it in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Arc<Shard>]>,
    next_shard: AtomicUsize,
    connections: [AtomicI64; Listener::COUNT],
    accepted: Counters<{ Listener::COUNT }>,
    rejected: [Counters<{ Rejection::COUNT }>; Listener::COUNT],
    closed: [Counters<{ Closure::COUNT }>; Listener::COUNT],
    frames_rejected: Counters<{ FrameRejection::COUNT }>,
    auth: [Counters<{ AuthResult::COUNT }>; Mechanism::COUNT],
    rate_limited: Counters<{ RateScope::COUNT }>,
    tls_handshakes: Counters<{ TlsResult::COUNT }>,
    tls_durations: Histogram,
    tls_reloads: Counters<{ Success::COUNT }>,
    panics: AtomicU64,
    libraries: Arc<Libraries>,
}

impl Metrics {
    /// Counters for `parallelism` threads, with at most `library_names_max` client libraries told
    /// apart.
    #[must_use]
    pub fn new(parallelism: usize, library_names_max: usize) -> Self {
        let shards = parallelism.clamp(1, SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Arc::new(Shard::new())).collect(),
            next_shard: AtomicUsize::new(0),
            connections: std::array::from_fn(|_| AtomicI64::new(0)),
            accepted: counters(),
            rejected: std::array::from_fn(|_| counters()),
            closed: std::array::from_fn(|_| counters()),
            frames_rejected: counters(),
            auth: std::array::from_fn(|_| counters()),
            rate_limited: counters(),
            tls_handshakes: counters(),
            tls_durations: Histogram::new(),
            tls_reloads: counters(),
            panics: AtomicU64::new(0),
            libraries: Arc::new(Libraries::new(library_names_max)),
        }
    }

    /// A handle for one connection. Connections are spread over the shards.
    #[must_use]
    pub fn recorder(&self, door: Door) -> Recorder {
        let turn = self.next_shard.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.shards.len()).unwrap_or(0);
        // There is at least one shard; an empty one would only lose counts.
        let shard = self
            .shards
            .get(index)
            .map_or_else(|| Arc::new(Shard::new()), Arc::clone);
        Recorder { shard, door }
    }

    /// A connection was accepted. It is open until [`closed`](Self::closed).
    pub fn accepted(&self, listener: Listener) {
        bump(&self.accepted, listener.index());
        if let Some(open) = self.connections.get(listener.index()) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An accepted connection ended.
    pub fn closed(&self, listener: Listener, closure: Closure) {
        if let Some(by_reason) = self.closed.get(listener.index()) {
            bump(by_reason, closure.index());
        }
        if let Some(open) = self.connections.get(listener.index()) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A connection was refused; it never counted as accepted.
    pub fn rejected(&self, listener: Listener, rejection: Rejection) {
        if let Some(by_reason) = self.rejected.get(listener.index()) {
            bump(by_reason, rejection.index());
        }
    }

    /// Open connections.
    #[must_use]
    pub fn open_connections(&self, listener: Listener) -> u64 {
        let open = self.connections.get(listener.index());
        open.map_or(0, |open| {
            u64::try_from(open.load(Ordering::Relaxed)).unwrap_or(0)
        })
    }

    /// A frame was refused.
    pub fn frame_rejected(&self, reason: FrameRejection) {
        bump(&self.frames_rejected, reason.index());
    }

    /// A peer tried to prove who it is.
    pub fn auth_attempt(&self, mechanism: Mechanism, result: AuthResult) {
        if let Some(by_result) = self.auth.get(mechanism.index()) {
            bump(by_result, result.index());
        }
    }

    /// A request was refused for coming too soon.
    pub fn rate_limited(&self, scope: RateScope) {
        bump(&self.rate_limited, scope.index());
    }

    /// A TLS handshake ended after `nanos`.
    pub fn tls_handshake(&self, result: TlsResult, nanos: u64) {
        bump(&self.tls_handshakes, result.index());
        self.tls_durations.record(nanos, 1);
    }

    /// Certificates were read again.
    pub fn tls_reload(&self, result: Success) {
        bump(&self.tls_reloads, result.index());
    }

    /// A task of the server panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// A session of this client library began; it lasts until the guard is dropped.
    #[must_use]
    pub fn library(&self, library: &str, version: &str) -> LibraryGuard {
        self.libraries.enter(library, version)
    }

    /// Requests so far of one operation and code, over all connections.
    #[must_use]
    pub fn requests(&self, door: Door, operation: Operation, code: Code) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.requests(door, operation, code))
            .sum()
    }

    /// All requests so far.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        let mut total = 0;
        for door in Door::ALL {
            for operation in Operation::ALL {
                total += Code::ALL
                    .iter()
                    .map(|c| self.requests(*door, *operation, *c))
                    .sum::<u64>();
            }
        }
        total
    }

    /// The durations recorded so far of one operation.
    #[must_use]
    pub fn durations(&self, door: Door, operation: Operation) -> Durations {
        let mut sum = Durations::empty();
        for shard in &self.shards {
            shard.add_durations(door, operation, &mut sum);
        }
        sum
    }

    /// Requests without an answer now.
    #[must_use]
    pub fn in_flight(&self, door: Door) -> u64 {
        let parts = self
            .shards
            .iter()
            .filter_map(|shard| shard.in_flight.get(door.index()));
        let sum: i64 = parts.map(|part| part.load(Ordering::Relaxed)).sum();
        u64::try_from(sum).unwrap_or(0)
    }

    fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards
            .iter()
            .map(|shard| counter(shard).load(Ordering::Relaxed))
            .sum()
    }

    /// Bytes received by and sent to clients of the data listeners.
    #[must_use]
    pub fn network_bytes(&self) -> (u64, u64) {
        (
            self.sum(|shard| &shard.received_bytes),
            self.sum(|shard| &shard.sent_bytes),
        )
    }
}

/// The counters of one connection's shard. Cheap to clone; every method is one relaxed addition or
/// two.
#[derive(Clone, Debug)]
pub struct Recorder {
    shard: Arc<Shard>,
    door: Door,
}

impl Recorder {
    /// `n` requests ended with this code. Gather equal ones of one wake-up in one call.
    #[inline]
    pub fn requests(&self, operation: Operation, code: Code, n: u64) {
        self.shard.count(self.door, operation, code, n);
    }

    /// `n` requests took `nanos` each.
    #[inline]
    pub fn durations(&self, operation: Operation, nanos: u64, n: u64) {
        self.shard.record(self.door, operation, nanos, n);
    }

    /// Requests that began (positive) or got their answer (negative).
    #[inline]
    pub fn in_flight(&self, change: i64) {
        if let Some(in_flight) = self.shard.in_flight.get(self.door.index()) {
            in_flight.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Bytes that arrived.
    #[inline]
    pub fn received(&self, bytes: u64) {
        self.shard
            .received_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were given to the kernel.
    #[inline]
    pub fn sent(&self, bytes: u64) {
        self.shard.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `n` requests were cancelled by their client.
    pub fn cancelled(&self, n: u64) {
        self.shard.cancelled.fetch_add(n, Ordering::Relaxed);
    }

    /// `n` requests passed their deadline.
    pub fn expired(&self, n: u64) {
        self.shard.expired.fetch_add(n, Ordering::Relaxed);
    }

    /// A peer was not read from any longer because it does not take its output.
    pub fn stalled(&self) {
        self.shard.stalls.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
