//! Entry point of the fuzz target `log_recovery`; its function stands beside the test that replays
//! it.
#![no_main]

#[path = "../../log/tests/log_recovery_corpus/target.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::run(data);
});
