//! `typed`: what decodes encodes, and encodes the same again after another round; the reader and the
//! tree agree; nothing is deeper than the bound or counts more values than there are bytes.

use kv_proto::typed::{DEPTH_MAX, Event, Reader, TREE_VALUES_MAX, Value};

pub(super) fn run(data: &[u8]) {
    let events = read(data);
    let Ok(value) = Value::decode(data) else {
        assert!(
            events.is_none() || data.len() > TREE_VALUES_MAX,
            "the tree refused what reads"
        );
        return;
    };
    assert!(
        events.is_some_and(|count| count <= data.len()),
        "more values than bytes"
    );
    let mut first = Vec::new();
    let written = value.encode(&mut first);
    assert!(written.is_ok(), "decoded and not encoded: {written:?}");
    assert!(
        first.len() <= data.len().saturating_mul(2),
        "grew beyond a 32-bit float's double"
    );
    let mut second = Vec::new();
    if let Ok(again) = Value::decode(&first) {
        assert!(again.encode(&mut second).is_ok());
    }
    assert_eq!(first, second);
}

/// How many values the reader found, if it read all of it.
fn read(data: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(data);
    let mut count = 0_usize;
    let mut ends = 0_usize;
    let mut begins = 0_usize;
    loop {
        assert!(reader.depth() <= DEPTH_MAX);
        match reader.next_event() {
            Ok(Some(Event::End)) => ends = ends.saturating_add(1),
            Ok(Some(event)) => {
                count = count.saturating_add(1);
                if matches!(event, Event::Array(_) | Event::Map(_)) {
                    begins = begins.saturating_add(1);
                }
            }
            Ok(None) => break,
            Err(error) => {
                assert!(error.offset <= data.len());
                assert_eq!(reader.next_event(), Err(error), "an error stays");
                return None;
            }
        }
    }
    assert_eq!(begins, ends);
    let mut skipper = Reader::new(data);
    assert_eq!(skipper.skip(), Ok(()));
    assert_eq!(skipper.next_event(), Ok(None), "skip stopped early");
    Some(count)
}
