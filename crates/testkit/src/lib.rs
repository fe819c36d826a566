//! What the tests of several crates share; never part of a product.
//!
//! Owns the functions that are fuzzed ([`fuzz`]) and certificates made at test time ([`certs`]).
#![forbid(unsafe_code)]

pub mod certs;
pub mod fuzz;
