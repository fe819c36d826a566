//! The real client against a scripted server, through in-memory streams and loopback sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "tests: what fails here is a failed test"
)]

mod backup;
mod basic;
mod batch;
mod cancel;
mod drain;
mod hostile;
mod large;
mod lost;
mod once;
mod order;
mod stall;
mod streams;
mod support;
mod time;
#[cfg(feature = "tls")]
mod tls;
