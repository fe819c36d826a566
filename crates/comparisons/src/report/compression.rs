//! Compression: processor time against bytes on links of three rates.

use std::path::Path;

use anyhow::Result;
use kv_comparisons::VALUE_BYTES;
use kv_comparisons::payload::Kind;
use serde_json::{Value, json};

use super::plot::{Series, Words, lines};
use super::results::Results;
use super::{count, digits, table, time};

/// Links: name, bits per nanosecond.
const LINKS: [(&str, f64); 3] = [("100 Mbit/s", 0.1), ("1 Gbit/s", 1.0), ("10 Gbit/s", 10.0)];

/// One kind of value of one length.
struct Case {
    kind: Kind,
    len: usize,
    /// Bytes that leave, with compression.
    compressed: usize,
    compress_ns: f64,
    /// 0 if it left as it was.
    decompress_ns: f64,
    /// Sealing and opening, without and with compression.
    plain_ns: f64,
    small_ns: f64,
}

impl Case {
    /// What compression costs beyond what it saves in tags and copies.
    fn extra_ns(&self) -> f64 {
        self.compress_ns + self.decompress_ns + self.small_ns - self.plain_ns
    }

    fn saved_bits(&self) -> f64 {
        (self.len - self.compressed) as f64 * 8.0
    }

    /// Below this rate, in bits per nanosecond, a message arrives sooner compressed.
    fn crossover(&self) -> f64 {
        self.saved_bits() / self.extra_ns().max(f64::MIN_POSITIVE)
    }

    /// What a message gains on a link, in nanoseconds.
    fn gain_ns(&self, rate: f64) -> f64 {
        self.saved_bits() / rate - self.extra_ns()
    }
}

pub(crate) struct Compression(Vec<Case>);

impl Compression {
    pub(crate) fn new(results: &Results) -> Result<Self> {
        let mut cases = Vec::new();
        for kind in Kind::ALL {
            let group = format!("lz4-{}", kind.name());
            for len in VALUE_BYTES {
                let median = |function: &str| results.median(&group, function, len);
                let plain_ns = median("protect plain")?;
                let compress_ns = median("compress")?;
                let compressed = kv_proto::compress(&kind.value(len)).map(|bytes| bytes.len());
                let (decompress_ns, small_ns) = match compressed {
                    Some(_) => (median("decompress")?, median("protect compressed")?),
                    None => (0.0, plain_ns),
                };
                cases.push(Case {
                    kind,
                    len,
                    compressed: compressed.unwrap_or(len),
                    compress_ns,
                    decompress_ns,
                    plain_ns,
                    small_ns,
                });
            }
        }
        Ok(Self(cases))
    }

    pub(crate) fn tables(&self) -> String {
        let text = |cells: &[&str]| -> Vec<String> {
            cells.iter().map(|cell| (*cell).to_owned()).collect()
        };
        let head = text(&[
            "value",
            "bytes",
            "compressed",
            "ratio",
            "compress",
            "decompress",
            "tags saved",
            "CPU in all",
        ]);
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|case| {
                let saved = case.plain_ns - case.small_ns;
                vec![
                    case.kind.name().to_owned(),
                    count(case.len),
                    count(case.compressed),
                    format!("{:.2}", case.len as f64 / case.compressed as f64),
                    time(case.compress_ns),
                    time(case.decompress_ns),
                    signed(saved),
                    signed(case.extra_ns()),
                ]
            })
            .collect();
        let mut all = table(&head, &rows);
        let mut head = text(&["value", "bytes", "crossover"]);
        head.extend(LINKS.map(|(name, _)| name.to_owned()));
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|case| {
                let mut row = vec![case.kind.name().to_owned(), count(case.len)];
                row.push(match case.crossover() {
                    0.0 => "never".to_owned(),
                    rate => format!("{} Gbit/s", digits(rate)),
                });
                row.extend(LINKS.map(|(_, rate)| signed(case.gain_ns(rate))));
                row
            })
            .collect();
        all.push('\n');
        all += &table(&head, &rows);
        all
    }

    /// Where compression begins to pay.
    pub(crate) fn plot(&self, path: &Path) -> Result<()> {
        let mut series: Vec<_> = [Kind::Text, Kind::Json]
            .map(|kind| {
                let cases = self.0.iter().filter(|case| case.kind == kind);
                let points = cases
                    .filter(|case| case.crossover() > 0.0)
                    .map(|case| (case.len as f64, case.crossover()));
                Series {
                    name: format!("{}: pays below this line", kind.name()),
                    points: points.collect(),
                }
            })
            .into();
        let (first, last) = (VALUE_BYTES[0] as f64, VALUE_BYTES[3] as f64);
        series.extend(LINKS.map(|(name, rate)| Series {
            name: name.to_owned(),
            points: vec![(first, rate), (last, rate)],
        }));
        lines(
            path,
            &Words {
                title: "The rate of a link below which a compressed value arrives sooner",
                x: "bytes of the value",
                y: "Gbit/s",
            },
            (first..last, 0.05..1_000.0),
            &series,
        )
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        self.0
            .iter()
            .map(|case| {
                json!({
                    "kind": case.kind.name(),
                    "bytes": case.len,
                    "compressed_bytes": case.compressed,
                    "extra_cpu_ns": case.extra_ns().round(),
                    "crossover_gbit_per_s": (case.crossover() * 1e3).round() / 1e3,
                })
            })
            .collect()
    }
}

/// Gains and losses.
fn signed(ns: f64) -> String {
    match time(ns.abs()) {
        text if ns == 0.0 => text,
        text if ns < 0.0 => format!("−{text}"),
        text => format!("+{text}"),
    }
}
