//! What the tests of several crates share; never part of a product.
//!
//! Owns the functions that are fuzzed ([`fuzz`]), certificates made at test time ([`certs`]) and the
//! scripted server ([`peer`]).
#![forbid(unsafe_code)]

pub mod certs;
pub mod fuzz;
pub mod peer;
