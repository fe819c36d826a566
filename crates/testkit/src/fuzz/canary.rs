//! A target with a planted bug: a harness that does not find it would not find a real one either.

/// The bug shows on inputs that begin like this; no seed does.
pub(super) const TRIGGER: &[u8] = b"kv?!";

/// Panics on [`TRIGGER`]. The comparisons are nested, so that a fuzzer has to be led by coverage.
pub(super) fn run(data: &[u8]) {
    let [first, second, third, fourth, ..] = data else {
        return;
    };
    if *first == b'k' && *second == b'v' && *third == b'?' {
        assert_ne!(*fourth, b'!', "the planted bug");
    }
}
