//! One connection on which one request in a hundred is slow, used in different ways.
//!
//! Requests go over loopback TCP, each signed and verified (suite 1). The first three ways share one
//! client and one responder, which differ in how many requests are under way and in which order they
//! are answered; the last one is the real server and the real client, with an engine that is slow.

mod delay;
mod driver;
mod real;
mod responder;

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

/// What a slow request waits for.
pub const DELAY: Duration = Duration::from_millis(5);
/// One request in so many is slow.
pub const ONE_IN: usize = 100;
/// Requests under way, where more than one is.
pub const WINDOW: usize = 32;
/// Keys that begin with this are slow.
const SLOW: &[u8] = b"slow:";
/// Keys there are.
const KEYS: usize = 10_000;

/// How the connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One request at a time.
    Serial,
    /// Many requests, executed and answered in the order in which they came.
    InOrder,
    /// Many requests, each answered when it is done.
    Multiplexed,
    /// The same with kv's own server and client.
    Kv,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Serial, Self::InOrder, Self::Multiplexed, Self::Kv];

    /// As in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::InOrder => "pipelined in order",
            Self::Multiplexed => "multiplexed",
            Self::Kv => "kv-server and kv-client",
        }
    }

    const fn window(self) -> usize {
        match self {
            Self::Serial => 1,
            Self::InOrder | Self::Multiplexed | Self::Kv => WINDOW,
        }
    }
}

/// How long every request took, in microseconds, from being written into the output buffer to being
/// verified and read.
pub struct Latencies {
    /// The ninety-nine in a hundred that were not slow themselves.
    pub fast: Histogram<u64>,
    /// The others.
    pub slow: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    ///
    /// # Panics
    /// Never: three digits are allowed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fast: Histogram::new(3).unwrap(),
            slow: Histogram::new(3).unwrap(),
        }
    }

    fn record(&mut self, index: usize, took: Duration) {
        let of = if is_slow(index) {
            &mut self.slow
        } else {
            &mut self.fast
        };
        of.record(took.as_micros() as u64).unwrap();
    }

    fn add(&mut self, other: &Self) {
        self.fast.add(&other.fast).unwrap();
        self.slow.add(&other.slow).unwrap();
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection used in one way.
pub struct Setup {
    runtime: Runtime,
    kind: Kind,
}

enum Kind {
    Driven(Box<driver::Driver>, usize),
    Real(real::Real),
}

impl Setup {
    /// Starts both ends.
    ///
    /// # Panics
    /// If loopback cannot be used.
    #[must_use]
    pub fn new(way: Way) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let kind = runtime.block_on(async {
            match way {
                Way::Kv => Kind::Real(real::Real::start().await),
                way => {
                    let order = match way {
                        Way::Multiplexed => responder::Order::AsDone,
                        _ => responder::Order::AsSent,
                    };
                    let driver = driver::Driver::connect(responder::Responder::start(order).await);
                    Kind::Driven(Box::new(driver.await), way.window())
                }
            }
        });
        Self { runtime, kind }
    }

    /// Sends so many requests and waits for all answers.
    ///
    /// # Panics
    /// If an answer is missing or wrong.
    pub fn run(&mut self, requests: usize, latencies: &mut Latencies) {
        match &mut self.kind {
            Kind::Driven(driver, window) => self
                .runtime
                .block_on(driver.run(requests, *window, latencies)),
            Kind::Real(real) => self.runtime.block_on(real.run(requests, WINDOW, latencies)),
        }
    }
}

/// In the middle of each hundred, so that a run neither begins nor ends with one.
const fn is_slow(index: usize) -> bool {
    index % ONE_IN == ONE_IN / 2
}

/// Sixteen bytes. Requests that are under way together have different keys: kv answers those on one key
/// in their order.
fn key(index: usize) -> Vec<u8> {
    let name = if is_slow(index) { "slow" } else { "fast" };
    format!("{name}:{:011}", index % KEYS).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_answers_all_and_only_one_spares_the_fast() {
        for way in Way::ALL {
            let mut latencies = Latencies::new();
            Setup::new(way).run(200, &mut latencies);
            assert_eq!(latencies.fast.len(), 198, "{way:?}");
            assert_eq!(latencies.slow.len(), 2, "{way:?}");
            assert!(latencies.slow.min() >= 4_900, "{way:?}");
            let stalled = latencies.fast.max() >= 4_900;
            if way == Way::InOrder {
                assert!(stalled, "the fast wait behind the slow");
            }
        }
    }
}
