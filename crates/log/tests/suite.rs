//! The log from outside: what it gives back after closing, damage, crashes and power cuts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[path = "suite/support.rs"]
mod support;

#[path = "suite/round_trip.rs"]
mod round_trip;
