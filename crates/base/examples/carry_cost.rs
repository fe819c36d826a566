//! What the carrier pays per entry, what a round's end costs, and what reads cost.
//!
//! `cargo run --release -p kv-base --example carry_cost [KEYS]`; the files go to the directory
//! named by `TMPDIR`. Each line gives wall time and processor time per key, fjall's flushes and
//! compactions included: it waits until they are done.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement: it prints, and ends at the first surprise"
)]

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use kv_base::{Base, BaseConfig, Carry, StoredRef};

const BATCH: usize = 1_024;
const VALUE: [u8; 64] = [7; 64];

/// How the keys of a pass come, and what the caller says of them.
struct Pass {
    name: &'static str,
    sorted: bool,
    existed: Option<bool>,
    expires_at: u64,
}

fn main() {
    let count: u64 = std::env::args()
        .nth(1)
        .map_or(1_000_000, |count| count.parse().unwrap());
    let room = tempfile::tempdir().unwrap();
    println!("{count} keys of 16 bytes, values of 64 bytes, batches of {BATCH}");
    for sorted in std::env::args()
        .nth(2)
        .map_or(vec![false, true], |mode| vec![mode == "sorted"])
    {
        passes(&room.path().join(format!("base-{sorted}")), count, sorted);
    }
    for batch in [1, 16, 256] {
        commits(&room.path().join(format!("raw-{batch}")), batch);
    }
}

fn passes(dir: &Path, count: u64, sorted: bool) {
    let order = if sorted { "in order" } else { "any order" };
    println!("\n{order}");
    let base = open(dir);
    println!("  RSS after open {} MiB", rss_mib());
    let pass = |name, existed, expires_at| Pass {
        name,
        sorted,
        existed,
        expires_at,
    };
    let mut version = 1;
    for pass in [
        pass("new, hint", Some(false), 0),
        pass("again, hint", Some(true), 0),
        pass("again, no hint", None, 0),
        pass("expiring, no hint", None, 1 << 40),
        pass("expiring again", Some(true), 1 << 41),
    ] {
        run(&base, count, &pass, &mut version);
    }
    settle(&base);
    let all = keys(count, sorted);
    let mut ends = Duration::ZERO;
    let rounds: Vec<_> = all.chunks(BATCH).take(200).collect();
    for first in &rounds {
        carry(&base, first, None, 0, version);
        version += BATCH as u64;
        let begun = Instant::now();
        base.finish_round(version).unwrap();
        ends += begun.elapsed();
    }
    println!(
        "  finish_round after each batch: {:.0} us",
        ends.as_secs_f64() * 1e6 / rounds.len() as f64
    );
    let stats = base.stats();
    println!("  {stats:?}\n  RSS {} MiB", rss_mib());
    drop(base);
    reads(dir, count);
}

fn run(base: &Base, count: u64, pass: &Pass, version: &mut u64) {
    let keys = keys(count, pass.sorted);
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    for batch in keys.chunks(BATCH) {
        carry(base, batch, pass.existed, pass.expires_at, *version);
        *version += batch.len() as u64;
    }
    let carried = wall.elapsed();
    let round = Instant::now();
    base.finish_round(*version).unwrap();
    let round = round.elapsed();
    settle(base);
    let per_key = |seconds: f64| seconds * 1e6 / keys.len() as f64;
    println!(
        "  {:<18} {:.2} us/key wall ({:.0} k/s), settled {:.2} us/key, processor {:.2} us/key, \
         finish_round {} us, disk {} MiB, RSS {} MiB",
        pass.name,
        per_key(carried.as_secs_f64()),
        keys.len() as f64 / carried.as_secs_f64() / 1e3,
        per_key(wall.elapsed().as_secs_f64()),
        per_key(cpu_seconds() - cpu),
        round.as_micros(),
        base.disk_bytes() >> 20,
        rss_mib(),
    );
}

fn carry(base: &Base, keys: &[[u8; 16]], existed: Option<bool>, expires_at: u64, version: u64) {
    let mut items = keys.iter().zip(version..).map(|(key, version)| Carry::Put {
        key,
        entry: StoredRef {
            value: &VALUE,
            version,
            expires_at: NonZeroU64::new(expires_at),
            content_type: 0,
        },
        existed,
    });
    base.carry(&mut items).unwrap();
}

fn reads(dir: &Path, count: u64) {
    let start = Instant::now();
    let base = open(dir);
    println!(
        "  reopened in {} ms, {} batches replayed, RSS {} MiB",
        start.elapsed().as_millis(),
        base.stats().replayed_batches,
        rss_mib()
    );
    let keys = keys(count, false);
    let some = &keys[..keys.len().min(200_000)];
    for name in ["hit, first time", "hit, again"] {
        timed(name, some.len(), || {
            assert!(some.iter().all(|key| base.get(key).unwrap().is_some()));
        });
    }
    timed("miss", some.len(), || {
        assert!(
            some.iter()
                .all(|key| base.get(&key[1..]).unwrap().is_none())
        );
    });
    timed("contains, miss", some.len(), || {
        assert!(some.iter().all(|key| !base.contains(&key[1..]).unwrap()));
    });
    let mut seen = 0;
    timed("scan", keys.len(), || {
        seen = base.snapshot().range(b"", None, false).count();
    });
    println!("  {seen} entries seen, RSS {} MiB", rss_mib());
}

fn timed(name: &str, count: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!(
        "  {name:<18} {:.2} us",
        start.elapsed().as_secs_f64() * 1e6 / count as f64
    );
}

/// fjall alone: commits with an fdatasync each, the figure that asked for a log in front.
fn commits(dir: &Path, batch: usize) {
    let db = Database::builder(dir).open().unwrap();
    let kv = db.keyspace("kv", KeyspaceCreateOptions::default).unwrap();
    let keys = keys(400_000, false);
    let start = Instant::now();
    let mut done = 0;
    for batch_keys in keys.chunks(batch) {
        let mut write = db.batch().durability(Some(PersistMode::SyncData));
        for key in batch_keys {
            write.insert(&kv, key, VALUE);
        }
        write.commit().unwrap();
        done += batch_keys.len();
        if start.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    println!(
        "fjall alone, SyncData, batches of {batch}: {:.0} k/s",
        done as f64 / start.elapsed().as_secs_f64() / 1e3
    );
}

fn open(dir: &Path) -> Base {
    let config = BaseConfig {
        cache_bytes: 64 << 20,
        store_id: [1; 16],
    };
    Base::open(dir, config).unwrap()
}

/// Waits until no flush and no compaction is left.
fn settle(base: &Base) {
    let mut quiet = 0;
    let mut finished = 0;
    while quiet < 5 {
        std::thread::park_timeout(Duration::from_millis(10));
        let stats = base.stats();
        let idle = stats.sealed_buffers == 0
            && stats.compactions_running == 0
            && stats.compactions_finished == finished;
        finished = stats.compactions_finished;
        quiet = if idle { quiet + 1 } else { 0 };
    }
}

fn keys(count: u64, sorted: bool) -> Vec<[u8; 16]> {
    let mut keys: Vec<[u8; 16]> = (0..count)
        .map(|index| {
            let mut key = *b"key:............";
            let digits = mix(index).to_be_bytes();
            key[4..12].copy_from_slice(&digits);
            key[12..].copy_from_slice(&digits[..4]);
            key
        })
        .collect();
    if sorted {
        keys.sort_unstable();
    }
    keys
}

/// A bijection that scatters (splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn rss_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

/// Processor time of all threads; the kernel counts in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / 100.0
}
