//! Replays the seeds of the fuzz target `log_recovery`, whose function needs this crate, and gives
//! it some noise; all other targets are replayed by `kv-testkit`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

#[path = "log_recovery_corpus/target.rs"]
mod target;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn every_seed_is_recovered_or_refused_and_no_two_readings_differ() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/log_recovery");
    let (mut count, mut groups) = (0, 0);
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let seed = fs::read(&path).unwrap();
        for end in [seed.len(), seed.len() / 2] {
            let result = catch_unwind(|| target::run(&seed[..end]));
            let shown = path.display();
            groups += result.unwrap_or_else(|_| panic!("fails on {end} bytes of {shown}"));
        }
        count += 1;
    }
    assert!(count >= 3, "only {count} seeds");
    assert!(
        groups >= 10,
        "only {groups} groups were recovered from all seeds"
    );
}

#[test]
fn noise_is_recovered_or_refused_and_no_two_readings_differ() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut groups = 0;
    for round in 0..100_u64 {
        let bytes = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let noise: Vec<u8> = bytes.take(64).collect();
        let result = catch_unwind(|| target::run(&noise));
        groups += result.unwrap_or_else(|_| panic!("round {round} fails on {noise:?}"));
    }
    assert!(
        groups >= 20,
        "only {groups} groups were recovered from noise"
    );
}
