//! `decompress`: exactly the declared length, never above the limit; what was compressed comes back.

use kv_proto::{compress, decompress};

/// Small, so that the fuzzer meets it.
const MAX: usize = 4096;

pub(super) fn run(data: &[u8]) {
    if let Ok(value) = decompress(data, MAX) {
        assert!(value.len() <= MAX);
        let declared = data.first_chunk().copied().map(u32::from_be_bytes);
        assert_eq!(u32::try_from(value.len()).ok(), declared);
    }
    if let Some(compressed) = compress(data) {
        assert!(compressed.len() < data.len());
        assert_eq!(decompress(&compressed, data.len()).as_deref(), Ok(data));
        if let Some(less) = data.len().checked_sub(1) {
            assert!(
                decompress(&compressed, less).is_err(),
                "longer than allowed"
            );
        }
    }
}
