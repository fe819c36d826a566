//! What is written down: shapes, runs, medians, the machine. The JSON format of result files.

use serde::{Deserialize, Serialize};

use crate::driver::{Errors, Load, Refill};
use crate::latency::Percentiles;
use crate::workload::Choice;

/// What is asked of a server, and by how many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: u16,
    /// Closed loop or a rate.
    pub load: Load,
    /// When a closed loop sends again.
    pub refill: Refill,
    /// Share of reads.
    pub gets: f64,
    /// Operations per request.
    pub batch: u32,
    /// How many keys there are.
    pub keys: u64,
    /// How they are chosen.
    pub choice: Choice,
    /// Length of a key.
    pub key_bytes: usize,
    /// Length of a value.
    pub value_bytes: usize,
    /// Of the native protocol: the suite.
    pub suite: u8,
    /// Under TLS 1.3.
    pub tls: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            connections: 1,
            in_flight: 1,
            load: Load::Closed,
            refill: Refill::Batch,
            gets: 1.0,
            batch: 1,
            keys: 1_000_000,
            choice: Choice::Uniform,
            key_bytes: 16,
            value_bytes: 64,
            suite: 1,
            tls: false,
        }
    }
}

/// One run of a shape, or the medians of several, each figure by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Operations answered rightly.
    pub operations: u64,
    /// In this time.
    pub seconds: f64,
    /// Per second.
    pub rate: f64,
    /// Latencies of requests, in microseconds.
    pub latency: Percentiles,
    /// Points of their distribution: quantile, microseconds.
    #[serde(default)]
    pub distribution: Vec<(f64, f64)>,
    /// Wrong replies.
    pub errors: Errors,
    /// Requests without an answer.
    pub unanswered: u64,
    /// CPU time of the server per operation, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// Share of one processor the server used.
    pub server_busy: Option<f64>,
    /// Share of one processor the generator used: near 1, it may be what limits.
    pub generator_busy: Option<f64>,
    /// Share of one processor that everything else used: well above 0, the run is worth little.
    #[serde(default)]
    pub(crate) others_busy: Option<f64>,
    /// Resident memory of the server at the end.
    pub rss_bytes: Option<u64>,
}

/// A shape, measured on a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which system.
    pub system: String,
    /// Which shape, in a word.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// Every run, in order.
    pub runs: Vec<Run>,
    /// The medians.
    pub median: Run,
}

/// A single figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Of which system.
    pub system: String,
    /// What it is.
    pub name: String,
    /// Every reading.
    pub readings: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// The unit.
    pub unit: String,
}

impl Figure {
    /// A figure of some readings.
    #[must_use]
    pub(crate) fn new(system: &str, name: &str, readings: Vec<f64>, unit: &str) -> Self {
        Self {
            system: system.to_owned(),
            name: name.to_owned(),
            median: median(readings.iter().copied()).unwrap_or(f64::NAN),
            readings,
            unit: unit.to_owned(),
        }
    }
}

/// Where and how it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Processors the generator may use.
    pub processors: usize,
    /// Kernel release.
    pub kernel: String,
    /// Version of this program.
    pub version: String,
    /// Each measured system with its version and arguments.
    pub systems: Vec<String>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Which processor each side ran on, or that nothing was pinned.
    pub pinning: String,
}

/// A result file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The sub-command that made it.
    pub kind: String,
    /// Where and how.
    pub machine: Machine,
    /// Measured shapes.
    pub records: Vec<Record>,
    /// Single figures.
    pub figures: Vec<Figure>,
}

/// The middle of some numbers; of an even count the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// The median of what every run has; absent when one run lacks it.
fn median_of(runs: &[Run], of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = runs.iter().map(of).collect();
    median(values?)
}

/// Medians of runs, figure by figure. Errors and missing answers are added up: none of them may hide
/// behind a median.
#[must_use]
pub(crate) fn medians(runs: &[Run]) -> Run {
    let number = |of: fn(&Run) -> f64| median_of(runs, |run| Some(of(run))).unwrap_or(f64::NAN);
    let percentile = |of: fn(&Percentiles) -> Option<f64>| median_of(runs, |run| of(&run.latency));
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    let rounded = |value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "float casts saturate")]
        let whole = value.round() as u64;
        whole
    };
    Run {
        operations: rounded(number(|run| run.operations as f64)),
        seconds: number(|run| run.seconds),
        rate: number(|run| run.rate),
        latency: Percentiles {
            samples: rounded(number(|run| run.latency.samples as f64)),
            p50: percentile(|latency| latency.p50),
            p95: percentile(|latency| latency.p95),
            p99: percentile(|latency| latency.p99),
            p999: percentile(|latency| latency.p999),
            max: percentile(|latency| latency.max),
        },
        distribution: middle_run(runs),
        errors: Errors {
            refused: sum(|run| run.errors.refused),
            missing: sum(|run| run.errors.missing),
            wrong_value: sum(|run| run.errors.wrong_value),
            wrong_reply: sum(|run| run.errors.wrong_reply),
        },
        unanswered: sum(|run| run.unanswered),
        server_cpu_us: median_of(runs, |run| run.server_cpu_us),
        server_busy: median_of(runs, |run| run.server_busy),
        generator_busy: median_of(runs, |run| run.generator_busy),
        others_busy: median_of(runs, |run| run.others_busy),
        rss_bytes: median_of(runs, |run| run.rss_bytes.map(|bytes| bytes as f64)).map(rounded),
    }
}

/// The distribution of the run whose rate is in the middle.
fn middle_run(runs: &[Run]) -> Vec<(f64, f64)> {
    let mut order: Vec<&Run> = runs.iter().collect();
    order.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    order
        .get(order.len() / 2)
        .map(|run| run.distribution.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn medians_are_taken_figure_by_figure_and_errors_add_up() {
        let run = |rate, cpu: f64, p99, refused| Run {
            rate,
            server_cpu_us: Some(cpu),
            latency: Percentiles {
                p99,
                ..Percentiles::default()
            },
            errors: Errors {
                refused,
                ..Errors::default()
            },
            ..Run::default()
        };
        let runs = [
            run(1.0, 9.0, Some(5.0), 1),
            run(3.0, 7.0, Some(6.0), 0),
            run(2.0, 8.0, None, 2),
        ];
        let medians = medians(&runs);
        assert_eq!(medians.rate, 2.0);
        assert_eq!(medians.server_cpu_us, Some(8.0));
        assert_eq!(medians.latency.p99, None, "one run could not tell it");
        assert_eq!(medians.errors.refused, 3);
    }

    #[test]
    fn results_survive_json() {
        let results = Results {
            kind: "suite".into(),
            records: vec![Record {
                system: "kv".into(),
                name: "get 1x1".into(),
                shape: Shape {
                    load: Load::Open(1_000.0),
                    choice: Choice::Zipf(0.99),
                    ..Shape::default()
                },
                runs: vec![Run::default()],
                median: Run::default(),
            }],
            figures: vec![Figure::new("kv", "idle RSS", vec![1.0, 3.0], "MB")],
            ..Results::default()
        };
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
