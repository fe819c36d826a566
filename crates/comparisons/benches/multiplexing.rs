//! Five thousand requests of which one in a hundred is slow, over one connection.

use std::time::{Duration, Instant};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use kv_comparisons::multiplex::{Latencies, Setup, Way};

const REQUESTS: usize = 5_000;

fn multiplexing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("multiplexing");
    group.sample_size(10);
    group.sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(6));
    group.throughput(Throughput::Elements(REQUESTS as u64));
    for way in Way::ALL {
        let mut setup = Setup::new(way);
        let mut latencies = Latencies::new();
        group.bench_function(BenchmarkId::new(way.name(), REQUESTS), |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                for _ in 0..times {
                    setup.run(REQUESTS, &mut latencies);
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, multiplexing);
criterion_main!(benches);
