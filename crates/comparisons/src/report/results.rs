//! What criterion measured: the median of every benchmark, and how far its samples spread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Group, function, parameter.
type Id = (String, String, usize);

/// The median of one benchmark, in nanoseconds per iteration.
#[derive(Clone, Copy)]
struct Estimate {
    median: f64,
    /// Median of the absolute deviations from the median.
    deviation: f64,
}

/// Every benchmark.
pub(crate) struct Results(BTreeMap<Id, Estimate>);

impl Results {
    /// Reads criterion's directory.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        visit(directory, &mut found)?;
        ensure!(!found.is_empty(), "no estimates in {}", directory.display());
        Ok(Self(found))
    }

    /// The median of one.
    pub(crate) fn median(&self, group: &str, function: &str, parameter: usize) -> Result<f64> {
        let id = (group.to_owned(), function.to_owned(), parameter);
        let estimate = self.0.get(&id).with_context(|| format!("no {id:?}"))?;
        Ok(estimate.median)
    }

    /// The deviation that half, and nine tenths, of the benchmarks do not exceed, in per cent of
    /// their medians.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let mut parts: Vec<f64> = self
            .0
            .values()
            .map(|estimate| estimate.deviation / estimate.median * 100.0)
            .collect();
        parts.sort_by(f64::total_cmp);
        (parts[parts.len() / 2], parts[parts.len() * 9 / 10])
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        self.0
            .iter()
            .map(|((group, function, parameter), estimate)| {
                json!({
                    "group": group,
                    "function": function,
                    "parameter": parameter,
                    "median": rounded(estimate.median),
                    "deviation": rounded(estimate.deviation),
                })
            })
            .collect()
    }
}

/// To a tenth: no clock here is better.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn visit(directory: &Path, found: &mut BTreeMap<Id, Estimate>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            let (id, estimate) = benchmark(&path).with_context(|| path.display().to_string())?;
            found.insert(id, estimate);
        } else {
            visit(&path, found)?;
        }
    }
    Ok(())
}

fn benchmark(directory: &Path) -> Result<(Id, Estimate)> {
    let read = |name: &str| -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(directory.join(name))?)?)
    };
    let names = read("benchmark.json")?;
    let text = |name: &str| {
        let text = names.get(name).and_then(Value::as_str);
        text.map(str::to_owned).with_context(|| name.to_owned())
    };
    let estimates = read("estimates.json")?;
    let number = |name: &str| {
        let number = estimates
            .get(name)
            .and_then(|value| value.get("point_estimate"));
        number
            .and_then(Value::as_f64)
            .with_context(|| name.to_owned())
    };
    let id = (
        text("group_id")?,
        text("function_id")?,
        text("value_str")?.parse()?,
    );
    let estimate = Estimate {
        median: number("median")?,
        deviation: number("median_abs_dev")?,
    };
    Ok((id, estimate))
}
