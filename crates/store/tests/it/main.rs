//! The engines of this crate against the conformance suite and the model.

mod canary;
mod disk;
mod lagging;
mod steps;
mod stress;

use kv_store::conformance::{cases, check_against_model};
use kv_store::{Engine, Eviction, MemoryConfig, MemoryEngine};
use proptest::prelude::*;
use std::num::NonZeroU64;
use std::sync::Arc;

fn memory() -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::new(MemoryConfig::default()))
}

#[test]
fn the_memory_engine_conforms() {
    let cases = cases();
    assert!(cases.len() > 30, "the suite is not empty");
    for case in cases {
        println!("{}", case.name);
        (case.check)(memory());
    }
}

/// With room for everything, so that nothing has to go.
fn evicting(eviction: Eviction) -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::new(MemoryConfig {
        memory_limit_bytes: NonZeroU64::new(1 << 30),
        eviction,
    }))
}

#[test]
fn the_memory_engine_conforms_when_it_may_evict() {
    for eviction in Eviction::ALL {
        for case in cases() {
            println!("{eviction}: {}", case.name);
            let engine = evicting(eviction);
            (case.check)(Arc::clone(&engine));
            assert_eq!(engine.stats().evicted_total, 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_engine_does_what_the_model_does(steps in steps::steps()) {
        check_against_model(&*memory(), &steps);
    }

    #[test]
    fn marking_entries_changes_no_answer(steps in steps::steps()) {
        check_against_model(&*evicting(Eviction::Lru), &steps);
    }
}
