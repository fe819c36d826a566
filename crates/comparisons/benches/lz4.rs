//! Compression and decompression of values, and what protecting them costs with and without it.

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_comparisons::VALUE_BYTES;
use kv_comparisons::payload::Kind;
use kv_comparisons::protection::{Link, WAYS};
use kv_proto::{compress, decompress};

fn lz4(criterion: &mut Criterion<CpuTime>) {
    let suite_1 = WAYS[2];
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(format!("lz4-{}", kind.name()));
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(700));
        for len in VALUE_BYTES {
            group.throughput(Throughput::Bytes(len as u64));
            let value = kind.value(len);
            group.bench_function(BenchmarkId::new("compress", len), |bencher| {
                bencher.iter(|| compress(black_box(&value)));
            });
            let mut link = Link::new(suite_1);
            group.bench_function(BenchmarkId::new("protect plain", len), |bencher| {
                bencher.iter(|| link.transfer(1, black_box(&value)));
            });
            let Some(compressed) = compress(&value) else {
                continue;
            };
            group.bench_function(BenchmarkId::new("decompress", len), |bencher| {
                bencher.iter(|| decompress(black_box(&compressed), len).unwrap());
            });
            let mut link = Link::new(suite_1);
            group.bench_function(BenchmarkId::new("protect compressed", len), |bencher| {
                bencher.iter(|| link.transfer(1, black_box(&compressed)));
            });
        }
        group.finish();
    }
}

criterion_group!(name = benches; config = cpu_time::criterion(); targets = lz4);
criterion_main!(benches);
