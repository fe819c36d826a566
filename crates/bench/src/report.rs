//! Result files as a page: Markdown with tables, and plots beside it.
//!
//! Does not measure. Invariant: a loss stands in the same tables as a win, and is marked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::driver::Load;
use crate::results::{Record, Results};
use crate::table::{optional, rate};

mod plot;

const OURS: &str = "kv";
const FLOOR: &str = "floor";

/// Reads result files and writes `report.md` and its plots into a directory.
///
/// # Errors
/// When a file cannot be read, is not a result file, or the directory cannot be written.
pub(crate) fn write(files: &[impl AsRef<Path>], directory: &Path) -> Result<()> {
    ensure!(!files.is_empty(), "there is nothing to report");
    std::fs::create_dir_all(directory)
        .with_context(|| format!("making {}", directory.display()))?;
    let mut text = String::from("# Measurements\n");
    let mut kinds = Vec::new();
    for file in files {
        let file = file.as_ref();
        let json =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let mut results: Results = serde_json::from_str(&json)
            .with_context(|| format!("{} is not a result file", file.display()))?;
        // Several files of one kind have sections and plots of their own.
        kinds.push(results.kind.clone());
        let nth = kinds.iter().filter(|kind| **kind == results.kind).count();
        if nth > 1 {
            results.kind = format!("{}-{nth}", results.kind);
        }
        let plots = plot::all(&results, directory)?;
        section(&mut text, &results, &plots);
    }
    let page = directory.join("report.md");
    std::fs::write(&page, text).with_context(|| format!("writing {}", page.display()))
}

fn section(text: &mut String, results: &Results, plots: &[(String, String)]) {
    line(text, &format!("\n## {}\n", results.kind));
    machine(text, results);
    if !results.records.is_empty() {
        throughput(text, &results.records);
        latencies(text, &results.records);
    }
    figures(text, results);
    for (file, title) in plots {
        line(text, &format!("![{title}]({file})\n"));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn machine(text: &mut String, results: &Results) {
    let machine = &results.machine;
    line(
        text,
        &format!(
            "{}, Linux {}; {}. kv-bench {}.\n",
            machine.processor, machine.kernel, machine.pinning, machine.version
        ),
    );
    for system in &machine.systems {
        line(text, &format!("- {system}"));
    }
    for note in &machine.notes {
        line(text, &format!("- {note}"));
    }
    let runs = results.records.iter().map(|record| record.runs.len()).max();
    let seconds = results.records.first().map(|record| record.median.seconds);
    if let Some((runs, seconds)) = runs.zip(seconds) {
        let others = results
            .records
            .iter()
            .filter_map(|record| record.median.others_busy)
            .reduce(f64::max);
        line(
            text,
            &format!(
                "\nMedians of {runs} runs of {seconds:.1} s. Everything else on the machine used at \
                 most {} % of a processor meanwhile.\n",
                optional(others.map(|share| share * 100.0), 0)
            ),
        );
    }
}

/// The names of shapes in the order they were measured, each with its records by system.
fn by_shape(records: &[Record]) -> Vec<(&str, BTreeMap<&str, &Record>)> {
    let mut shapes: Vec<(&str, BTreeMap<&str, &Record>)> = Vec::new();
    for record in records {
        let name = record.name.as_str();
        let at = shapes.iter().position(|(known, _)| *known == name);
        let place = match at.and_then(|at| shapes.get_mut(at)) {
            Some(place) => place,
            None => {
                shapes.push((name, BTreeMap::new()));
                let Some(place) = shapes.last_mut() else {
                    continue;
                };
                place
            }
        };
        place.1.insert(&record.system, record);
    }
    shapes
}

/// Systems in the order they were measured.
fn systems(records: &[Record]) -> Vec<&str> {
    let mut systems = Vec::new();
    for record in records {
        if !systems.contains(&record.system.as_str()) {
            systems.push(record.system.as_str());
        }
    }
    systems
}

/// Operations per second of every system, and how we stand to the best of the others.
fn throughput(text: &mut String, records: &[Record]) {
    let systems = systems(records);
    let rivals: Vec<&str> = systems
        .iter()
        .copied()
        .filter(|&system| system != OURS && system != FLOOR)
        .collect();
    line(text, "### Operations per second\n");
    let mut head = String::from("| shape |");
    let mut rule = String::from("|---|");
    for system in &systems {
        let _ = write!(head, " {system} |");
        rule.push_str("---:|");
    }
    for rival in &rivals {
        let _ = write!(head, " kv / {rival} |");
        rule.push_str("---:|");
    }
    if systems.contains(&FLOOR) {
        head.push_str(" share of the floor |");
        rule.push_str("---:|");
    }
    line(text, &head);
    line(text, &rule);
    for (name, of) in by_shape(records) {
        let mut row = format!("| {name} |");
        for system in &systems {
            let cell = of
                .get(system)
                .map_or_else(|| "-".to_owned(), |record| rate(record.median.rate));
            let _ = write!(row, " {cell} |");
        }
        let ours = of.get(OURS).map(|record| record.median.rate);
        for rival in &rivals {
            let theirs = of.get(rival).map(|record| record.median.rate);
            let _ = write!(row, " {} |", ratio(ours, theirs));
        }
        if systems.contains(&FLOOR) {
            let floor = of.get(FLOOR).map(|record| record.median.rate);
            let share = ours.zip(floor).map(|(ours, floor)| ours / floor * 100.0);
            let _ = write!(row, " {} % |", optional(share, 0));
        }
        line(text, &row);
    }
    text.push('\n');
}

/// How many times the other's; below 1 in bold, so that it is seen.
fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    match ours.zip(theirs).map(|(ours, theirs)| ours / theirs) {
        None => "-".to_owned(),
        Some(ratio) if ratio < 1.0 => format!("**{ratio:.2} (behind)**"),
        Some(ratio) => format!("{ratio:.2}"),
    }
}

fn latencies(text: &mut String, records: &[Record]) {
    line(text, "### Latency in microseconds, and what it cost\n");
    line(
        text,
        "| shape | system | p50 | p95 | p99 | p99.9 | max | server CPU per operation | server | \
         generator | errors |",
    );
    line(
        text,
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    );
    for record in records {
        let run = &record.median;
        let latency = &run.latency;
        let share = |share: Option<f64>| optional(share.map(|share| share * 100.0), 0);
        line(
            text,
            &format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} µs | {} % | {} % | {} |",
                record.name,
                record.system,
                optional(latency.p50, 1),
                optional(latency.p95, 1),
                optional(latency.p99, 1),
                optional(latency.p999, 1),
                optional(latency.max, 0),
                optional(run.server_cpu_us, 3),
                share(run.server_busy),
                share(run.generator_busy),
                run.errors.total() + run.unanswered,
            ),
        );
    }
    let open = records
        .iter()
        .any(|record| matches!(record.shape.load, Load::Open(_)));
    if open {
        line(
            text,
            "\nShapes named `open` have a fixed rate; their latencies begin when a request was due.",
        );
    }
    text.push('\n');
}

fn figures(text: &mut String, results: &Results) {
    if results.figures.is_empty() {
        return;
    }
    line(text, "### Single figures\n");
    line(text, "| figure | system | median | readings |");
    line(text, "|---|---|---:|---|");
    for figure in &results.figures {
        let readings: Vec<String> = figure
            .readings
            .iter()
            .map(|reading| format!("{reading:.2}"))
            .collect();
        line(
            text,
            &format!(
                "| {} | {} | {:.2} {} | {} |",
                figure.name,
                figure.system,
                figure.median,
                figure.unit,
                readings.join(", ")
            ),
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests;
