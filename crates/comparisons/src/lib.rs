//! What kv does beside what people know: typed values and other formats, values with and without
//! compression, frames under every suite and under TLS, one connection used in three ways.
//!
//! Owns what is measured; the files in `benches` measure it, and the program writes the tables and
//! plots of `docs/benchmarks/comparisons.md` from what they found. Nothing here is part of a product.

pub mod formats;
pub mod multiplex;
pub mod payload;
pub mod protection;
pub mod record;

/// Lengths of the lists that formats are compared with.
pub const ELEMENTS: [usize; 3] = [100, 1_000, 10_000];
/// Lengths of the values that are compressed.
pub const VALUE_BYTES: [usize; 4] = [64, 1_024, 10_240, 102_400];
