//! The engines of this crate against the conformance suite and the model.

mod canary;
mod lagging;
mod steps;

use kv_store::conformance::{cases, check_against_model};
use kv_store::{Engine, MemoryConfig, MemoryEngine};
use proptest::prelude::*;
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_engine_does_what_the_model_does(steps in steps::steps()) {
        check_against_model(&*memory(), &steps);
    }
}
