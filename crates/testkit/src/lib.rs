//! What the tests of several crates share; never part of a product.
//!
//! Owns the functions that are fuzzed ([`fuzz`]), certificates made at test time ([`certs`]), the
//! scripted server ([`peer`]) and client ([`raw`]), the man in the middle ([`proxy`]), engines that are
//! slow or broken ([`engine`]), seeded numbers ([`rng`]), the server as a
//! process ([`process`]) and waiting under a deadline ([`wait`]).
#![forbid(unsafe_code)]

pub mod certs;
pub mod engine;
pub mod fuzz;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod rng;
pub mod wait;
