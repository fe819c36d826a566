//! Encode and decode of lists of records: typed values, JSON, MessagePack, protobuf.

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_comparisons::ELEMENTS;
use kv_comparisons::formats::FORMATS;
use kv_comparisons::formats::protobuf::Records;
use kv_comparisons::record::records;
use kv_proto::typed::Value;
use prost::Message;

fn typed(criterion: &mut Criterion<CpuTime>) {
    for direction in ["encode", "decode"] {
        let mut group = criterion.benchmark_group(format!("typed-{direction}"));
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_secs(1));
        for len in ELEMENTS {
            group.throughput(Throughput::Elements(len as u64));
            let records = records(len);
            let mut out = Vec::new();
            for format in FORMATS {
                let id = BenchmarkId::new(format.name, len);
                out.clear();
                (format.encode)(&records, &mut out);
                let bytes = out.clone();
                // What prost holds are its own structs: see `formats::protobuf`.
                let messages = Records::from(records.as_slice());
                group.bench_function(id, |bencher| match (direction, format.name) {
                    ("encode", "protobuf") => bencher.iter(|| {
                        out.clear();
                        black_box(&messages).encode(&mut out).unwrap();
                    }),
                    ("encode", _) => bencher.iter(|| {
                        out.clear();
                        (format.encode)(black_box(&records), &mut out);
                    }),
                    (_, "protobuf") => {
                        bencher.iter(|| Records::decode(black_box(bytes.as_slice())));
                    }
                    _ => bencher.iter(|| (format.decode)(black_box(&bytes))),
                });
            }
            let bytes = FORMATS.map(|format| {
                let mut out = Vec::new();
                (format.encode)(&records, &mut out);
                out
            });
            let [ours, json, ..] = bytes;
            let tree = Value::decode(&ours).unwrap();
            let json_tree: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let (kv_id, json_id) = (
                BenchmarkId::new("kv typed, tree", len),
                BenchmarkId::new("JSON, tree", len),
            );
            if direction == "encode" {
                group.bench_function(kv_id, |bencher| {
                    bencher.iter(|| {
                        out.clear();
                        black_box(&tree).encode(&mut out).unwrap();
                    });
                });
                group.bench_function(json_id, |bencher| {
                    bencher.iter(|| {
                        out.clear();
                        serde_json::to_writer(&mut out, black_box(&json_tree)).unwrap();
                    });
                });
            } else {
                group.bench_function(kv_id, |bencher| {
                    bencher.iter(|| Value::decode(black_box(&ours)).unwrap());
                });
                group.bench_function(json_id, |bencher| {
                    bencher.iter(|| {
                        serde_json::from_slice::<serde_json::Value>(black_box(&json)).unwrap()
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(name = benches; config = cpu_time::criterion(); targets = typed);
criterion_main!(benches);
