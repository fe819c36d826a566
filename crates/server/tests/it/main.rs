//! The real server, in this process, against clients that keep the rules and clients that do not.
//!
//! One binary, a module per concern. Every wait is for an event and under a deadline; ports are the
//! system's choice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: what fails here is a failed test"
)]

mod admission;
mod backup;
mod batches;
mod catalogue;
mod client;
mod commands;
mod drain;
mod flood;
mod handshake;
mod held;
mod idempotency;
mod limits;
mod many;
mod mitm;
mod panics;
mod retries;
mod slow;
mod streams;
mod support;
mod tamper;
mod tls;
mod values;
mod version_1;
