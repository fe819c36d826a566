//! Turns what the benchmarks found into `docs/benchmarks/comparisons.{md,json}` and its plots.
//!
//! Reads criterion's estimates, computes sizes, measures latencies itself (criterion knows times of
//! runs only), and replaces the marked blocks of the document. The words around them are people's.

mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use report::compression::Compression;
use report::document::Document;
use report::machine::Machine;
use report::results::Results;
use report::{formats, latency, protection};

fn main() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks");
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let results = Results::read(&target.join("criterion"))
        .context("run the benchmarks first: cargo xtask bench --comparisons")?;
    let machine = Machine::read()?;
    let compression = Compression::new(&results)?;
    let latencies = latency::measure();

    let mut document = Document::open(docs.join("comparisons.md"))?;
    document.replace("machine", &machine.text(&results))?;
    document.replace("formats", &formats::tables(&results)?)?;
    document.replace("compression", &compression.tables())?;
    document.replace("multiplexing", &latency::table(&results, &latencies)?)?;
    document.replace("protection", &protection::tables(&results)?)?;
    document.write()?;

    formats::plots(&docs, &results)?;
    compression.plot(&docs.join("compression.svg"))?;
    latency::plot(&docs.join("multiplexing.svg"), &latencies)?;
    protection::plot(&docs.join("protection.svg"), &results)?;

    let json = serde_json::json!({
        "machine": machine.json(),
        "nanoseconds": results.json(),
        "bytes": formats::sizes_json(),
        "compression": compression.json(),
        "latency_us": latency::json(&latencies),
    });
    let text = serde_json::to_string_pretty(&json)? + "\n";
    std::fs::write(docs.join("comparisons.json"), text)?;
    println!("wrote {}", docs.join("comparisons.*").display());
    Ok(())
}
