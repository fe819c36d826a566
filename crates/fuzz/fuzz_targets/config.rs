//! Entry point of the fuzz target `config`; its function stands beside the test that replays it.
#![no_main]

#[path = "../../server/tests/config_corpus/target.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
