//! The program as operators see it: signals, exit codes, file descriptors, many idle connections.
//!
//! The real binary, a configuration of its own and a port that the system chose. Standard error is read
//! all the time; every wait is for a line of it, an answer or the end of the process.
#![expect(
    clippy::unwrap_used,
    reason = "tests: what fails here is a failed test"
)]

mod descriptors;
mod exits;
mod program;
mod signals;
mod storage;
