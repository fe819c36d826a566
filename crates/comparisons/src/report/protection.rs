//! Suites and TLS.

use std::path::Path;

use anyhow::Result;
use kv_comparisons::protection::{Link, WAYS};

use super::plot::{Words, bars};
use super::results::Results;
use super::{count, digits, table, time};

const TOGETHER: [usize; 2] = [1, 16];
const VALUES: [usize; 3] = [64, 1_024, 16_384];

fn per_frame(results: &Results, frames: usize, way: &str, len: usize) -> Result<f64> {
    let group = format!("protection-{frames}");
    Ok(results.median(&group, way, len)? / frames as f64)
}

/// One table for a frame alone, one for frames that leave together.
pub(crate) fn tables(results: &Results) -> Result<String> {
    let mut text = String::new();
    for frames in TOGETHER {
        let mut head = vec![match frames {
            1 => "a frame alone".to_owned(),
            frames => format!("each of {frames} frames together"),
        }];
        for len in VALUES {
            head.push(format!("{} bytes", count(len)));
            head.push("protection".to_owned());
        }
        let mut rows = Vec::new();
        for way in WAYS {
            let mut row = vec![way.name.to_owned()];
            for len in VALUES {
                let whole = per_frame(results, frames, way.name, len)?;
                let floor = per_frame(results, frames, WAYS[0].name, len)?;
                row.push(time(whole));
                row.push(if way == WAYS[0] {
                    String::new()
                } else {
                    time(whole - floor)
                });
            }
            rows.push(row);
        }
        text += &table(&head, &rows);
        text.push('\n');
    }
    let largest = VALUES[2];
    let rate = |way: &str| -> Result<String> {
        Ok(digits(
            largest as f64 / per_frame(results, 1, way, largest)?,
        ))
    };
    let cipher = Link::new(WAYS[4]).cipher().unwrap_or_default();
    text += &format!(
        "Frames of {} bytes pass through both ends, on one core, at {} GB/s with suite 1, {} GB/s with suite 2 and {} GB/s \
         with TLS alone. TLS agreed on {cipher}.\n",
        count(largest),
        rate(WAYS[2].name)?,
        rate(WAYS[3].name)?,
        rate(WAYS[4].name)?,
    );
    Ok(text)
}

/// Small frames, alone and together.
pub(crate) fn plot(path: &Path, results: &Results) -> Result<()> {
    let names: Vec<_> = WAYS.map(|way| way.name.to_owned()).into();
    let mut series = Vec::new();
    for frames in TOGETHER {
        let mut values = Vec::new();
        for way in WAYS {
            values.push(per_frame(results, frames, way.name, VALUES[0])?);
        }
        let name = match frames {
            1 => "alone".to_owned(),
            frames => format!("{frames} together"),
        };
        series.push((name, values));
    }
    bars(
        path,
        &Words {
            title: "One frame with a value of 64 bytes: written, protected, verified",
            x: "",
            y: "ns",
        },
        &names,
        &series,
    )
}
