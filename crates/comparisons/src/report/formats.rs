//! Typed values and other formats.

use std::path::Path;

use anyhow::Result;
use kv_comparisons::ELEMENTS;
use kv_comparisons::formats::FORMATS;
use kv_comparisons::record::records;
use serde_json::{Value, json};

use super::plot::{Words, bars};
use super::results::Results;
use super::{count, digits, table, time};

const TREES: [&str; 2] = ["kv typed, tree", "JSON, tree"];

fn size(format: usize, len: usize) -> usize {
    let mut out = Vec::new();
    (FORMATS[format].encode)(&records(len), &mut out);
    out.len()
}

/// Sizes, then times.
pub(crate) fn tables(results: &Results) -> Result<String> {
    let mut head = vec!["bytes".to_owned()];
    head.extend(ELEMENTS.map(|len| format!("{} elements", count(len))));
    head.push("per element".to_owned());
    head.push("against kv".to_owned());
    let ours = size(0, ELEMENTS[2]) as f64;
    let rows: Vec<_> = FORMATS
        .iter()
        .enumerate()
        .map(|(at, format)| {
            let sizes = ELEMENTS.map(|len| size(at, len));
            let mut row = vec![format.name.to_owned()];
            row.extend(sizes.map(count));
            row.push(digits(sizes[2] as f64 / ELEMENTS[2] as f64));
            row.push(format!("{:.2}", sizes[2] as f64 / ours));
            row
        })
        .collect();
    let mut text = table(&head, &rows);
    for direction in ["encode", "decode"] {
        text.push('\n');
        text += &times(results, direction)?;
    }
    Ok(text)
}

fn times(results: &Results, direction: &str) -> Result<String> {
    let mut head = vec![direction.to_owned()];
    for len in ELEMENTS {
        head.push(format!("{} elements", count(len)));
    }
    head.push("ns per element".to_owned());
    head.push("against kv".to_owned());
    let group = format!("typed-{direction}");
    let mut rows = Vec::new();
    let row = |name: &str, against: &str| -> Result<Vec<String>> {
        let mut row = vec![name.to_owned()];
        for len in ELEMENTS {
            row.push(time(results.median(&group, name, len)?));
        }
        let last = results.median(&group, name, ELEMENTS[2])?;
        row.push(digits(last / ELEMENTS[2] as f64));
        let ratio = last / results.median(&group, against, ELEMENTS[2])?;
        row.push(format!("{ratio:.2}"));
        Ok(row)
    };
    for format in FORMATS {
        rows.push(row(format.name, FORMATS[0].name)?);
    }
    for tree in TREES {
        rows.push(row(tree, TREES[0])?);
    }
    Ok(table(&head, &rows))
}

pub(crate) fn sizes_json() -> Vec<Value> {
    let all = FORMATS.iter().enumerate().flat_map(|(at, format)| {
        ELEMENTS.map(|len| json!({"format": format.name, "elements": len, "bytes": size(at, len)}))
    });
    all.collect()
}

/// Sizes and times of a thousand elements.
pub(crate) fn plots(docs: &Path, results: &Results) -> Result<()> {
    let len = ELEMENTS[1];
    let mut names: Vec<String> = FORMATS.map(|format| format.name.to_owned()).into();
    let sizes = (0..FORMATS.len()).map(|at| size(at, len) as f64 / len as f64);
    bars(
        &docs.join("formats-size.svg"),
        &Words {
            title: "One element of a list of 1,000, encoded",
            x: "",
            y: "bytes",
        },
        &names,
        &[("bytes".to_owned(), sizes.collect())],
    )?;
    names.extend(TREES.map(str::to_owned));
    let mut series = Vec::new();
    for direction in ["encode", "decode"] {
        let mut values = Vec::new();
        for name in &names {
            let median = results.median(&format!("typed-{direction}"), name, len)?;
            values.push(median / len as f64);
        }
        series.push((direction.to_owned(), values));
    }
    bars(
        &docs.join("formats-time.svg"),
        &Words {
            title: "One element of a list of 1,000",
            x: "",
            y: "ns",
        },
        &names,
        &series,
    )
}
