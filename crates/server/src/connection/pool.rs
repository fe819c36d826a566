//! Buffers that idle connections do not hold: one small pool per thread, so that taking and giving
//! back costs no lock and the memory in use is the memory that is warm.

use std::cell::RefCell;

/// Size of a pooled input buffer: one read takes as much as a small socket buffer has.
pub(super) const INPUT_BYTES: usize = 16 * 1024;
/// A larger buffer is freed instead of pooled.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Buffers kept per thread and kind; a wake-up uses one of each at a time, partial frames hold some.
const KEPT_MAX: usize = 32;

thread_local! {
    static INPUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A zeroed or used buffer of [`INPUT_BYTES`].
pub(super) fn take_input() -> Vec<u8> {
    INPUT
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; INPUT_BYTES])
}

/// Gives an input buffer back; one that grew is freed.
pub(super) fn give_input(buffer: Vec<u8>) {
    if buffer.len() == INPUT_BYTES {
        INPUT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

/// An empty output buffer, usually with room in it.
pub(super) fn take_output() -> Vec<u8> {
    OUTPUT.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives an output buffer back; one that grew large is freed.
pub(super) fn give_output(mut buffer: Vec<u8>) {
    if (1..=OUTPUT_BYTES_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        OUTPUT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_large_ones_do_not() {
        let mut out = take_output();
        out.extend_from_slice(&[1; 100]);
        let place = out.as_ptr();
        give_output(out);
        let again = take_output();
        assert!(again.is_empty() && again.as_ptr() == place);
        give_output(Vec::with_capacity(OUTPUT_BYTES_MAX + 1));
        assert!(take_output().capacity() <= OUTPUT_BYTES_MAX);
        give_input(vec![0; 2 * INPUT_BYTES]);
        assert_eq!(take_input().len(), INPUT_BYTES);
    }
}
