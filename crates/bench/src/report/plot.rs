//! Plots as SVG: throughput, the distribution of latencies, latency by load.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{by_shape, systems};
use crate::driver::Load;
use crate::results::{Record, Results};

const WIDTH: u32 = 960;
const ROW: u32 = 18;
const LINES_HEIGHT: u32 = 480;
/// Distributions that are drawn: more lines than this cannot be told apart.
const LINES_MAX: usize = 8;
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 107, 164),
    RGBColor(200, 82, 0),
    RGBColor(89, 89, 89),
    RGBColor(95, 158, 209),
    RGBColor(255, 128, 14),
    RGBColor(137, 137, 137),
    RGBColor(162, 200, 236),
    RGBColor(171, 171, 171),
];

fn colour(index: usize) -> RGBColor {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK)
}

/// A line of a plot: its name and its points.
type Line = (String, Vec<(f64, f64)>);

/// Draws what the results have; file names and titles.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn all(results: &Results, directory: &Path) -> Result<Vec<(String, String)>> {
    let mut plots = Vec::new();
    let closed: Vec<&Record> = results
        .records
        .iter()
        .filter(|record| record.shape.load == Load::Closed)
        .collect();
    let mut add = |name: &str, title: &str| {
        let file = format!("{}-{name}.svg", results.kind);
        plots.push((file.clone(), title.to_owned()));
        directory.join(file)
    };
    if !closed.is_empty() {
        let path = add("throughput", "Operations per second");
        throughput(&path, &results.records).map_err(|error| anyhow!("{error}"))?;
    }
    let lines = distributions(&closed);
    if !lines.is_empty() {
        let path = add("latency", "Distribution of latencies");
        let axes = Axes {
            x: "nines: 1 = p90, 2 = p99, 3 = p99.9",
            y: "µs",
        };
        draw(&path, &lines, &axes).map_err(|error| anyhow!("{error}"))?;
    }
    let lines = by_load(&results.records);
    if !lines.is_empty() {
        let path = add("load", "Latency by load");
        let axes = Axes {
            x: "thousand operations per second asked for",
            y: "µs",
        };
        draw(&path, &lines, &axes).map_err(|error| anyhow!("{error}"))?;
    }
    Ok(plots)
}

/// One bar for each system under each shape.
fn throughput(path: &Path, records: &[Record]) -> Result<(), Box<dyn std::error::Error>> {
    let shapes: Vec<_> = by_shape(records)
        .into_iter()
        .filter(|(_, of)| of.values().all(|record| record.shape.load == Load::Closed))
        .collect();
    let systems = systems(records);
    let rows: usize = shapes.iter().map(|(_, of)| of.len() + 1).sum();
    let greatest = records
        .iter()
        .map(|record| record.median.rate)
        .fold(1.0, f64::max);
    let height = u32::try_from(rows)?.saturating_mul(ROW).saturating_add(60);
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = ("sans-serif", 12).into_font();
    let (left, scale) = (230, f64::from(WIDTH - 330) / greatest);
    let mut y = 30;
    for (nth, system) in systems.iter().enumerate() {
        let x = left + i32::try_from(nth)? * 110;
        area.draw(&Rectangle::new(
            [(x, 8), (x + 12, 20)],
            colour(nth).filled(),
        ))?;
        area.draw(&Text::new((*system).to_owned(), (x + 16, 8), text.clone()))?;
    }
    let row = i32::try_from(ROW)?;
    for (name, of) in &shapes {
        area.draw(&Text::new((*name).to_owned(), (10, y + 2), text.clone()))?;
        for (nth, system) in systems.iter().enumerate() {
            let Some(record) = of.get(system) else {
                continue;
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "within the width of the plot"
            )]
            let end = left + (record.median.rate * scale) as i32;
            let bar = Rectangle::new([(left, y), (end, y + row - 4)], colour(nth).filled());
            area.draw(&bar)?;
            let label = crate::table::rate(record.median.rate);
            area.draw(&Text::new(label, (end + 4, y + 2), text.clone()))?;
            y += row;
        }
        y += row;
    }
    area.present()?;
    Ok(())
}

/// Distributions of the first shapes that read, up to what can be told apart.
fn distributions(records: &[&Record]) -> Vec<Line> {
    records
        .iter()
        .filter(|record| record.shape.gets >= 1.0 && record.median.distribution.len() > 3)
        .take(LINES_MAX)
        .map(|record| {
            let points = record
                .median
                .distribution
                .iter()
                .map(|&(quantile, us)| (-(1.0 - quantile).log10(), us))
                .collect();
            (format!("{} {}", record.system, record.name), points)
        })
        .collect()
}

/// p50 and p99 of the open loops of each system, by rate.
fn by_load(records: &[Record]) -> Vec<Line> {
    let mut lines = Vec::new();
    for system in systems(records) {
        for (name, of) in [("p50", 0), ("p99", 1)] {
            let points: Vec<(f64, f64)> = records
                .iter()
                .filter(|record| record.system == system)
                .filter_map(|record| {
                    let Load::Open(rate) = record.shape.load else {
                        return None;
                    };
                    let latency = &record.median.latency;
                    let us = if of == 0 { latency.p50? } else { latency.p99? };
                    Some((rate / 1e3, us))
                })
                .collect();
            if points.len() > 1 {
                lines.push((format!("{system} {name}"), points));
            }
        }
    }
    lines
}

struct Axes {
    x: &'static str,
    y: &'static str,
}

/// Lines over a logarithmic vertical axis.
fn draw(path: &Path, lines: &[Line], axes: &Axes) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x_max = points().map(|point| point.0).fold(0.1, f64::max);
    // Whole decades, so that the axis has marks.
    let y_min = points().map(|point| point.1).fold(f64::MAX, f64::min);
    let y_min = 10_f64.powf(y_min.max(0.1).log10().floor());
    let y_max = points().map(|point| point.1).fold(1.0, f64::max);
    let y_max = 10_f64.powf(y_max.log10().ceil());
    let area = SVGBackend::new(path, (WIDTH, LINES_HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..x_max * 1.02, (y_min..y_max).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for (nth, (name, points)) in lines.iter().enumerate() {
        let style = colour(nth).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}
