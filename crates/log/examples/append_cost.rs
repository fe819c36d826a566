//! What a durable append costs: µs for append and sync of one group, by its size, in segments that
//! were prepared and in files that grow.
//!
//! `cargo run --release -p kv-log --example append_cost [DIRECTORY]`; the directory decides which
//! disk is measured.
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kv_log::{Group, Log, LogConfig};

const GROUPS: usize = 2_000;
/// The rounds of both kinds of files take turns, so that a slow minute of the disk hits both.
const ROUNDS: usize = 3;
const SIZES: [usize; 4] = [100, 1 << 10, 10 << 10, 100 << 10];

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    println!("{GROUPS} groups, median of {ROUNDS} rounds; µs for append + sync (append alone)");
    println!("{:>8}  {:>28}  {:>28}", "payload", "prepared", "growing");
    println!(
        "{:>8}  {:>28}  {:>28}",
        "bytes", "median    p99    (append)", "median    p99    (append)"
    );
    for size in SIZES {
        let mut prepared = Vec::new();
        let mut growing = Vec::new();
        for round in 0..ROUNDS {
            let dir = parent.join(format!("append_cost-{}-{size}-{round}", std::process::id()));
            prepared.push(measure(&dir, size, true)?);
            growing.push(measure(&dir, size, false)?);
        }
        println!(
            "{size:>8}  {}  {}",
            Cost::median(prepared),
            Cost::median(growing)
        );
    }
    Ok(())
}

/// Of one round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    median: Duration,
    p99: Duration,
    append: Duration,
}

impl Cost {
    /// The round in the middle.
    fn median(mut rounds: Vec<Self>) -> String {
        rounds.sort_unstable();
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        rounds
            .get(rounds.len() / 2)
            .map_or_else(String::new, |cost| {
                let (median, p99, append) =
                    (micros(cost.median), micros(cost.p99), micros(cost.append));
                format!("{median:>8.1} {p99:>8.1} {append:>10.1}")
            })
    }
}

fn measure(dir: &Path, size: usize, prepared: bool) -> Result<Cost, Box<dyn Error>> {
    let config = LogConfig::new([0; 16]);
    let (mut log, _) = Log::open(dir, config, 0, &mut |_| Ok(()))?;
    let caretaker = log.caretaker();
    let payload: Vec<u8> = (0..size).map(|index| index.to_be_bytes()[7]).collect();
    if prepared {
        // The first segment was begun without a spare: go to the next one.
        caretaker.prepare()?;
        append(
            &mut log,
            &vec![0; usize::try_from(config.segment_bytes)? - (8 << 10)],
        )?;
        append(&mut log, &[0; 8 << 10])?;
    }
    let mut total = Vec::with_capacity(GROUPS);
    let mut appends = Vec::with_capacity(GROUPS);
    for _ in 0..GROUPS {
        if prepared && caretaker.spare_count() == 0 {
            // Not measured: it is another thread's work.
            caretaker.prepare()?;
        }
        let start = Instant::now();
        append(&mut log, &payload)?;
        appends.push(start.elapsed());
        log.sync()?;
        total.push(start.elapsed());
    }
    drop(log);
    std::fs::remove_dir_all(dir)?;
    Ok(Cost {
        median: percentile(&mut total, 50),
        p99: percentile(&mut total, 99),
        append: percentile(&mut appends, 50),
    })
}

fn append(log: &mut Log, payload: &[u8]) -> std::io::Result<()> {
    let next = log.last() + 1;
    log.append(Group {
        first: next,
        last: next,
        time_ms: 0,
        payload,
    })
}

fn percentile(durations: &mut [Duration], percent: usize) -> Duration {
    durations.sort_unstable();
    let index = durations.len() * percent / 100;
    durations.get(index).copied().unwrap_or_default()
}
