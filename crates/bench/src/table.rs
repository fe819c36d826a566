//! Results as text for a terminal.

use std::fmt::Write as _;

use crate::results::{Figure, Record, Run};

/// Lays out rows under a head, columns as wide as their widest cell; the first to the left.
#[must_use]
pub(crate) fn lay_out(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (nth, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing into a string does not fail.
            let _ = if nth == 0 {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A rate: `1.25 M`, `160.3 k`.
#[must_use]
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        format!("{:.2} M", per_second / 1e6)
    } else if per_second >= 1e4 {
        format!("{:.1} k", per_second / 1e3)
    } else if per_second >= 1e3 {
        format!("{:.2} k", per_second / 1e3)
    } else {
        format!("{per_second:.0}")
    }
}

/// A number with `digits` behind the point, or that there is none.
#[must_use]
pub(crate) fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(share: Option<f64>) -> String {
    optional(share.map(|share| share * 100.0), 0)
}

const HEAD: [&str; 13] = [
    "shape",
    "system",
    "ops/s",
    "p50 us",
    "p95",
    "p99",
    "p99.9",
    "max",
    "cpu us/op",
    "server %",
    "gen %",
    "others %",
    "errors",
];

fn row(name: &str, system: &str, run: &Run) -> Vec<String> {
    let latency = &run.latency;
    vec![
        name.to_owned(),
        system.to_owned(),
        rate(run.rate),
        optional(latency.p50, 1),
        optional(latency.p95, 1),
        optional(latency.p99, 1),
        optional(latency.p999, 1),
        optional(latency.max, 0),
        optional(run.server_cpu_us, 3),
        percent(run.server_busy),
        percent(run.generator_busy),
        percent(run.others_busy),
        (run.errors.total() + run.unanswered).to_string(),
    ]
}

/// Records, one a line, with their medians.
#[must_use]
pub(crate) fn records(records: &[Record]) -> String {
    let rows: Vec<_> = records
        .iter()
        .map(|record| row(&record.name, &record.system, &record.median))
        .collect();
    lay_out(&HEAD, &rows)
}

/// One run, on one line without a head.
#[must_use]
pub(crate) fn run_line(run: &Run) -> String {
    let latency = &run.latency;
    format!(
        "{} ops/s, p50 {} us, p99 {} us, cpu {} us/op, generator {} %, others {} %, errors {}",
        rate(run.rate),
        optional(latency.p50, 1),
        optional(latency.p99, 1),
        optional(run.server_cpu_us, 3),
        percent(run.generator_busy),
        percent(run.others_busy),
        run.errors.total() + run.unanswered
    )
}

/// Single figures, one a line.
#[must_use]
pub(crate) fn figures(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures
        .iter()
        .map(|figure| {
            vec![
                figure.name.clone(),
                figure.system.clone(),
                format!("{:.2} {}", figure.median, figure.unit),
            ]
        })
        .collect();
    lay_out(&["figure", "system", "median"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".into(), "12345".into()],
            vec!["bcd".into(), "µ".into()],
        ];
        let expected = "x    n\na    12345\nbcd      µ\n";
        let text = lay_out(&["x", "n"], &rows);
        assert_eq!(text.lines().nth(1), expected.lines().nth(1));
        assert_eq!(text.lines().nth(2), expected.lines().nth(2));
    }

    #[test]
    fn rates_keep_three_digits_or_four() {
        assert_eq!(rate(2_214_000.0), "2.21 M");
        assert_eq!(rate(160_340.0), "160.3 k");
        assert_eq!(rate(1_500.0), "1.50 k");
        assert_eq!(rate(17.0), "17");
    }

    #[test]
    fn what_is_not_known_is_not_a_number() {
        assert_eq!(optional(None, 2), "n/a");
        assert_eq!(percent(Some(0.987)), "99");
    }
}
