//! What a look-up and an overwrite cost among a million entries of a 16-byte key and a 64-byte
//! value, for runs of several lengths, and what an entry takes of the process's memory.
//!
//! `cargo run --release -p kv-store --example lookup_cost [RUN-LENGTH]...`

#![expect(clippy::print_stdout, reason = "a measurement is printed")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement may stop"
)]

use kv_store::{
    Condition, Engine, Expiry, MemoryConfig, MemoryEngine, Now, Op, Outcome, Sink, Value,
};
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENTRIES: usize = 1_000_000;
const ROUNDS: usize = 2_000_000;
const NOW: Now = Now::from_unix_ms(1_000_000_000_000);

type Key = [u8; 16];

fn main() {
    let keys: Vec<Key> = (0..ENTRIES as u64).map(key).collect();
    let order = random_order();
    let engine = MemoryEngine::new(MemoryConfig::default());
    let before = resident_bytes();
    let filled = fill(&engine, &keys);
    let per_entry = |bytes: u64| bytes as f64 / ENTRIES as f64;
    println!("fill in runs of 64: {filled:.0} ns per entry");
    println!(
        "resident: {:.1} bytes per entry",
        per_entry(resident_bytes() - before)
    );
    println!(
        "accounted: {:.1} bytes per entry",
        per_entry(engine.stats().memory_bytes)
    );
    let asked: Vec<usize> = std::env::args()
        .skip(1)
        .map(|run| run.parse().unwrap())
        .collect();
    let runs = if asked.is_empty() {
        vec![1, 4, 16, 64, 256]
    } else {
        asked
    };
    for run in runs {
        let mut get: Vec<_> = (0..5)
            .map(|_| measure(&engine, &keys, &order, run, get))
            .collect();
        let mut set: Vec<_> = (0..5)
            .map(|_| measure(&engine, &keys, &order, run, set))
            .collect();
        get.sort_by(f64::total_cmp);
        set.sort_by(f64::total_cmp);
        println!(
            "runs of {run:3}: GET {:6.1} ns, SET {:6.1} ns (medians of 5)",
            get[2], set[2]
        );
    }
}

fn get(key: &Key) -> Op<'_> {
    Op::Get { key }
}

fn set(key: &Key) -> Op<'_> {
    Op::Set {
        key,
        value: Value::Inline(&[9; 64]),
        content_type: 0,
        expiry: Expiry::Never,
        condition: Condition::Always,
        previous: false,
    }
}

/// Copies values out, as a server does.
struct Reply {
    bytes: [u8; 64],
    answered: usize,
}

impl Sink for Reply {
    fn outcome(&mut self, _: usize, outcome: Outcome<'_>, _: kv_store::Position) {
        match outcome {
            Outcome::Found(entry) => self.bytes.copy_from_slice(entry.value.as_slice()),
            Outcome::Written { .. } => {}
            other => assert_eq!(other, Outcome::Missing, "found or written"),
        }
        self.answered += 1;
    }
}

/// Nanoseconds per operation.
fn measure(
    engine: &dyn Engine,
    keys: &[Key],
    order: &[u32],
    run: usize,
    op: fn(&Key) -> Op<'_>,
) -> f64 {
    let mut reply = Reply {
        bytes: [0; 64],
        answered: 0,
    };
    let mut ops = Vec::with_capacity(run);
    // The keys of a run lie side by side, as they do in a read buffer.
    let wanted: Vec<Key> = order.iter().map(|place| keys[*place as usize]).collect();
    let start = Instant::now();
    for chunk in wanted.chunks(run) {
        ops.clear();
        ops.extend(chunk.iter().map(op));
        engine.run(NOW, &ops, &mut reply);
        black_box(&reply.bytes);
    }
    assert_eq!(reply.answered, order.len());
    start.elapsed().as_nanos() as f64 / order.len() as f64
}

fn fill(engine: &dyn Engine, keys: &[Key]) -> f64 {
    let mut reply = Reply {
        bytes: [0; 64],
        answered: 0,
    };
    let start = Instant::now();
    for chunk in keys.chunks(64) {
        let ops: Vec<_> = chunk.iter().map(set).collect();
        engine.run(NOW, &ops, &mut reply);
    }
    start.elapsed().as_nanos() as f64 / keys.len() as f64
}

fn key(number: u64) -> Key {
    let text = format!("key:{number:012}");
    text.as_bytes().try_into().unwrap()
}

/// Places of entries, by a generator that is good enough to defeat every predictor.
fn random_order() -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from((state >> 20) % ENTRIES as u64).unwrap()
    };
    (0..ROUNDS).map(|_| next()).collect()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4096
}
