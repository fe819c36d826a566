//! Entry point of the fuzz target `assembler_ops`; what it checks stands beside its function.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kv_testkit::fuzz::ASSEMBLER_OPS.run(data));
