//! Replays every seed of every corpus through the function that libFuzzer runs, and holds the
//! registry, the entry points and the corpora together.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use kv_testkit::fuzz;

/// Targets whose function lives in the crate it needs; their corpora are replayed there.
const ELSEWHERE: [&str; 2] = ["config", "log_recovery"];

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Names of the entries of a directory, without their endings.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz_crate().join(directory)).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .into()
        })
        .collect()
}

fn registered() -> BTreeSet<String> {
    let ours = fuzz::ALL.iter().map(fuzz::Target::name);
    ours.chain(ELSEWHERE).map(str::to_owned).collect()
}

#[test]
fn every_target_has_a_function_an_entry_point_and_seeds() {
    let registered = registered();
    assert_eq!(
        registered.len(),
        fuzz::ALL.len() + ELSEWHERE.len(),
        "a name is used twice"
    );
    assert_eq!(
        names("fuzz_targets"),
        registered,
        "entry points and functions differ"
    );
    assert_eq!(names("corpus"), registered, "corpora and functions differ");
    let manifest = fs::read_to_string(fuzz_crate().join("Cargo.toml")).unwrap();
    for name in registered {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not built"
        );
        let seeds = fs::read_dir(fuzz_crate().join("corpus").join(&name))
            .unwrap()
            .count();
        assert!(seeds > 0, "{name} has no seeds");
    }
}

#[test]
fn every_seed_keeps_what_its_target_promises() {
    let mut count = 0;
    for target in fuzz::ALL {
        let directory = fuzz_crate().join("corpus").join(target.name());
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let seed = fs::read(&path).unwrap();
            let result = catch_unwind(|| target.run(&seed));
            assert!(
                result.is_ok(),
                "{} fails on {}",
                target.name(),
                path.display()
            );
            // Shortened and bent seeds cost nothing and reach the edges of what the seeds reach.
            let shorter = seed.get(..seed.len() / 2).unwrap_or_default();
            let result = catch_unwind(|| target.run(shorter));
            assert!(
                result.is_ok(),
                "{} fails on half of {}",
                target.name(),
                path.display()
            );
            count += 1;
        }
    }
    assert!(count >= 2 * fuzz::ALL.len(), "only {count} seeds");
}

#[test]
fn the_planted_bug_is_found_on_its_input_and_on_no_seed() {
    assert!(catch_unwind(|| fuzz::CANARY.run(fuzz::CANARY_TRIGGER)).is_err());
    for entry in fs::read_dir(fuzz_crate().join("corpus/canary")).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        assert!(!seed.starts_with(fuzz::CANARY_TRIGGER));
    }
}

/// A few thousand inputs from a small generator: far from fuzzing, but a target that fails on
/// ordinary noise fails in every test run.
#[test]
fn noise_keeps_what_every_target_promises() {
    for target in fuzz::ALL {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..2_000_u64 {
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            };
            let len = usize::from(next());
            let data: Vec<u8> = (0..len).map(|_| next()).collect();
            let result = catch_unwind(|| target.run(&data));
            assert!(
                result.is_ok(),
                "{} fails in round {round} on {data:02x?}",
                target.name()
            );
        }
    }
}
