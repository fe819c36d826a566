//! Two kinds of plots, as SVG: bars side by side, and lines over a logarithmic axis.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::combinators::LogScalable;
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 420);
const COLORS: [RGBColor; 7] = [
    RGBColor(0x4e, 0x79, 0xa7),
    RGBColor(0xf2, 0x8e, 0x2b),
    RGBColor(0x59, 0xa1, 0x4f),
    RGBColor(0xe1, 0x57, 0x59),
    RGBColor(0x76, 0x4d, 0x9f),
    RGBColor(0x9c, 0x75, 0x5f),
    RGBColor(0x79, 0x79, 0x79),
];

/// Words of a plot.
pub(crate) struct Words<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// One colour.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A bar of every series in every group.
pub(crate) fn bars(
    path: &Path,
    words: &Words<'_>,
    groups: &[String],
    series: &[(String, Vec<f64>)],
) -> Result<()> {
    let max = series
        .iter()
        .flat_map(|(_, values)| values.iter().copied())
        .fold(0.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(other)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(words.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..max * 1.1)
        .map_err(other)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .x_desc(words.x)
        .y_desc(words.y)
        .light_line_style(WHITE)
        .draw()
        .map_err(other)?;
    let width = 0.8 / series.len() as f64;
    for (at, (name, values)) in series.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        let rectangles = values.iter().enumerate().map(|(group, value)| {
            let left = group as f64 + 0.1 + at as f64 * width;
            Rectangle::new([(left, 0.0), (left + width * 0.9, *value)], color.filled())
        });
        chart
            .draw_series(rectangles)
            .map_err(other)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    let style = ("sans-serif", 13).into_font().color(&BLACK);
    let (x, y) = chart.plotting_area().get_pixel_range();
    for (at, name) in groups.iter().enumerate() {
        let middle = f64::from(x.start)
            + (at as f64 + 0.5) * f64::from(x.end - x.start) / groups.len() as f64;
        for (line, part) in name.split(", ").enumerate() {
            // Nothing here knows how wide a font is; it is about this wide.
            let place = (
                middle as i32 - part.len() as i32 * 3,
                y.end + 5 + line as i32 * 14,
            );
            root.draw_text(part, &style, place).map_err(other)?;
        }
    }
    if series.len() > 1 {
        legend(&mut chart)?;
    }
    root.present().map_err(other)
}

/// Lines over two logarithmic axes.
pub(crate) fn lines(
    path: &Path,
    words: &Words<'_>,
    (x, y): (Range<f64>, Range<f64>),
    series: &[Series],
) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(other)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(words.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x.log_scale(), y.log_scale())
        .map_err(other)?;
    chart
        .configure_mesh()
        .x_desc(words.x)
        .y_desc(words.y)
        .x_label_formatter(&|value| super::digits(value.as_f64()))
        .y_label_formatter(&|value| super::digits(value.as_f64()))
        .light_line_style(WHITE)
        .draw()
        .map_err(other)?;
    for (at, one) in series.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        chart
            .draw_series(LineSeries::new(
                one.points.iter().copied(),
                color.stroke_width(2),
            ))
            .map_err(other)?
            .label(&one.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(3)));
    }
    legend(&mut chart)?;
    root.present().map_err(other)
}

fn legend<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(other)
}

/// plotters' errors borrow what they are about.
fn other(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
