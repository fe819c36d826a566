//! One slow request in a hundred, and what it does to the others.

use std::path::Path;

use anyhow::Result;
use kv_comparisons::multiplex::{Latencies, Setup, Way};
use serde_json::{Value, json};

use super::plot::{Series, Words, lines};
use super::results::Results;
use super::{count, digits, time};

/// Enough for ten samples above the highest percentile.
const REQUESTS: usize = 20_000;
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];
/// Requests of one criterion iteration.
const RUN: usize = 5_000;

/// Measures every way after a warm-up.
pub(crate) fn measure() -> Vec<(Way, Latencies)> {
    Way::ALL
        .into_iter()
        .map(|way| {
            let mut setup = Setup::new(way);
            setup.run(RUN, &mut Latencies::new());
            let mut latencies = Latencies::new();
            setup.run(REQUESTS, &mut latencies);
            (way, latencies)
        })
        .collect()
}

fn table_head() -> Vec<String> {
    let mut head = vec!["one connection".to_owned(), "requests/s".to_owned()];
    head.push("against serial".to_owned());
    head.extend(PERCENTILES.map(|at| format!("p{at}")));
    head
}

/// Throughput from criterion, latencies of the fast requests from here.
pub(crate) fn table(results: &Results, latencies: &[(Way, Latencies)]) -> Result<String> {
    let rate = |way: Way| -> Result<f64> {
        Ok(RUN as f64 * 1e9 / results.median("multiplexing", way.name(), RUN)?)
    };
    let mut rows = Vec::new();
    for (way, latencies) in latencies {
        let mut row = vec![way.name().to_owned()];
        row.push(count(rate(*way)?.round() as usize));
        row.push(digits(rate(*way)? / rate(Way::Serial)?));
        row.extend(PERCENTILES.map(|at| time(latencies.fast.value_at_percentile(at) as f64 * 1e3)));
        rows.push(row);
    }
    Ok(super::table(&table_head(), &rows))
}

/// Latency over percentiles.
pub(crate) fn plot(path: &Path, latencies: &[(Way, Latencies)]) -> Result<()> {
    let series: Vec<_> = latencies
        .iter()
        .map(|(way, latencies)| Series {
            name: way.name().to_owned(),
            // One in so many is slower.
            points: (4..=40)
                .map(|step| {
                    let one_in = 10_f64.powf(f64::from(step) / 13.0);
                    let at = 100.0 * (1.0 - 1.0 / one_in);
                    (one_in, latencies.fast.value_at_percentile(at) as f64)
                })
                .collect(),
        })
        .collect();
    lines(
        path,
        &Words {
            title: "Latency of the 99 fast requests in 100, 5 ms for the other one",
            x: "one in so many is slower than this",
            y: "µs",
        },
        (2.0..1_200.0, 10.0..300_000.0),
        &series,
    )
}

pub(crate) fn json(latencies: &[(Way, Latencies)]) -> Vec<Value> {
    latencies
        .iter()
        .map(|(way, latencies)| {
            let of = |at: f64| latencies.fast.value_at_percentile(at);
            json!({
                "way": way.name(),
                "fast": {
                    "samples": latencies.fast.len(),
                    "p50": of(50.0), "p90": of(90.0), "p99": of(99.0), "p99.9": of(99.9),
                    "max": latencies.fast.max(),
                },
                "slow": {
                    "samples": latencies.slow.len(),
                    "p50": latencies.slow.value_at_percentile(50.0),
                    "max": latencies.slow.max(),
                },
            })
        })
        .collect()
}
