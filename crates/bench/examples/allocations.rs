//! `kv-bench` with an allocator that counts: `cargo run --release -p kv-bench --example allocations --
//! client` tells the allocations of each call through the public client.
//!
//! An example and not a feature, because counting costs time that figures of speed must not contain.

use std::alloc::System;

use clap::Parser as _;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A reallocation counts like an allocation: the allocator is asked.
fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

fn main() -> anyhow::Result<()> {
    kv_bench::execute_counting(&kv_bench::Arguments::parse(), Some(allocations))
}
