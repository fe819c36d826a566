//! `kv-cli` from outside: real processes, their output and their exit codes.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod backup;
mod bench;
mod bulk;
mod certs;
mod conditions;
mod doctor;
mod entries;
mod exit_codes;
mod formats;
mod prompt;
mod restore;
mod setup;
mod support;
