//! What every suite and TLS cost for one frame: written, protected, verified and read.

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_comparisons::protection::{Link, WAYS};

/// Frames that leave together: a reply alone, and what a busy connection gathers.
const TOGETHER: [usize; 2] = [1, 16];
const VALUES: [usize; 3] = [64, 1_024, 16_384];

fn protection(criterion: &mut Criterion<CpuTime>) {
    for frames in TOGETHER {
        let mut group = criterion.benchmark_group(format!("protection-{frames}"));
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(700));
        group.throughput(Throughput::Elements(frames as u64));
        for len in VALUES {
            let value = vec![0x5a; len];
            for way in WAYS {
                // A new session each: no key is used beyond its end.
                let mut link = Link::new(way);
                group.bench_function(BenchmarkId::new(way.name, len), |bencher| {
                    bencher.iter(|| link.transfer(frames, black_box(&value)));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(name = benches; config = cpu_time::criterion(); targets = protection);
criterion_main!(benches);
