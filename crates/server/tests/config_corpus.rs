//! Replays the seeds of the fuzz target `config`, whose function needs this crate; all other targets
//! are replayed by `kv-testkit`.

#[path = "config_corpus/target.rs"]
mod target;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn every_seed_is_a_configuration_or_a_list_of_mistakes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config");
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let seed = fs::read(&path).unwrap();
        for end in [seed.len(), seed.len() / 2] {
            let result = catch_unwind(|| target::run(&seed[..end]));
            assert!(
                result.is_ok(),
                "config fails on {end} bytes of {}",
                path.display()
            );
        }
        count += 1;
    }
    assert!(count >= 2, "only {count} seeds");
}
