//! The shapes of families over the encoder library: one sample, or one per label set.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use crate::metrics::histogram::Durations;

/// Labels of one sample.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The encoder with the two shapes that are needed: one sample, and a family of samples.
pub(super) struct Writer<'a> {
    pub(super) encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    pub(super) fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        value: V,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter(&value, none())
    }

    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: V,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A counter with one sample per label set.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            metric
                .encode_family(&labels)?
                .encode_counter(&value, none())?;
        }
        Ok(())
    }

    /// A gauge with one sample per label set.
    pub(super) fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A histogram of seconds with one row per label set. The unit makes the end of the name.
    pub(super) fn durations(
        &mut self,
        name: &str,
        help: &str,
        rows: &[(Labels<'_>, Durations)],
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, durations) in rows {
            let (sum, buckets) = (durations.sum_seconds(), durations.exported());
            let count = durations.count();
            let none: Option<&HashMap<usize, Exemplar<NoLabels, f64>>> = None;
            if labels.is_empty() {
                metric.encode_histogram(sum, count, &buckets, none)?;
            } else {
                metric
                    .encode_family(labels)?
                    .encode_histogram(sum, count, &buckets, none)?;
            }
        }
        Ok(())
    }

    /// A histogram of seconds: their sum, and counts between upper bounds of which the last is infinite.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let count = buckets.iter().map(|(_, count)| count).sum();
        let none: Option<&HashMap<usize, Exemplar<NoLabels, f64>>> = None;
        metric.encode_histogram(sum, count, buckets, none)
    }
}

type NoLabels = [(&'static str, &'static str); 0];

/// No exemplar.
fn none() -> Option<&'static Exemplar<NoLabels, f64>> {
    None
}

/// A label with its values.
pub(super) type Axis<T> = (&'static str, &'static [T], fn(T) -> &'static str);

pub(super) fn singles<T: Copy>(
    label: &'static str,
    values: &'static [T],
    name: fn(T) -> &'static str,
    count: impl Fn(T) -> u64,
) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, u64)> {
    values
        .iter()
        .map(move |value| (vec![(label, name(*value))], count(*value)))
}

pub(super) fn pairs<A: Copy, B: Copy>(
    (first, firsts, first_name): Axis<A>,
    (second, seconds, second_name): Axis<B>,
    count: impl Fn(A, B) -> u64,
) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, u64)> {
    let all = firsts
        .iter()
        .flat_map(move |a| seconds.iter().map(move |b| (*a, *b)));
    all.map(move |(a, b)| {
        (
            vec![(first, first_name(a)), (second, second_name(b))],
            count(a, b),
        )
    })
}
