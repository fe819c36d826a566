//! What the tests of several crates share; never part of a product.
//!
//! Owns the functions that are fuzzed ([`fuzz`]), certificates made at test time ([`certs`]), the
//! scripted server ([`peer`]) and client ([`raw`]), the man in the middle ([`proxy`]), engines that are
//! slow or broken ([`engine`]), seeded numbers ([`rng`]), the server as a
//! process ([`process`]), waiting under a deadline ([`wait`]), what a server owes after a crash
//! ([`ledger`]), what its clients saw and whether that can be ([`history`], [`linearizability`]), and
//! crashes: disks without power or room ([`powercut`]), failing calls and damaged files ([`faults`]).
#![forbid(unsafe_code)]

pub mod certs;
pub mod engine;
pub mod faults;
pub mod fuzz;
pub mod history;
pub mod ledger;
pub mod linearizability;
pub mod peer;
pub mod powercut;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod rng;
pub mod wait;
