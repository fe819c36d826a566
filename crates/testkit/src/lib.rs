//! What the tests of several crates share; never part of a product.
//!
//! Owns the functions that are fuzzed ([`fuzz`]).
#![forbid(unsafe_code)]

pub mod fuzz;
