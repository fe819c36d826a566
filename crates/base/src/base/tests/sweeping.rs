//! Sweeps: what is removed, what is left, and where the next one begins.

use super::*;
use crate::keys::{index_key, seal};

fn sweep(base: &Base, now: u64, budget: usize) -> Swept {
    base.sweep(now, budget, &mut |_| true).unwrap()
}

fn index_items(base: &Base) -> usize {
    base.exp.len().unwrap()
}

#[test]
fn what_is_due_goes_in_order_and_in_steps() {
    let dir = room();
    let base = open(dir.path());
    let keys: Vec<_> = (0..10_u8).map(|key| [key + 1]).collect();
    let items: Vec<_> = keys
        .iter()
        .map(|key| put(key, b"v", 1, 100 - u64::from(key[0])))
        .collect();
    carry(&base, &items);
    carry(&base, &[put(b"lasting", b"v", 1, 0)]);
    assert_eq!(sweep(&base, 89, 4), Swept::default());
    let mut asked = Vec::new();
    let swept = base
        .sweep(95, 4, &mut |key| {
            asked.push(key[0]);
            true
        })
        .unwrap();
    assert_eq!((swept.removed, swept.more), (4, true));
    assert_eq!(
        asked,
        [10, 9, 8, 7],
        "the one that expires first comes first"
    );
    assert_eq!(counts(&base), (7, 6));
    let swept = sweep(&base, 95, 4);
    assert_eq!((swept.removed, swept.more), (2, false));
    assert_eq!(sweep(&base, 95, 4), Swept::default());
    base.finish_round(5).unwrap();
    drop(base);
    let base = open(dir.path());
    assert_eq!((counts(&base), index_items(&base)), ((5, 4), 4));
    assert_eq!(sweep(&base, u64::MAX, 100).removed, 4);
    assert_eq!((counts(&base), index_items(&base)), ((1, 0), 0));
    assert_eq!(value(&base, b"lasting").unwrap(), b"v");
}

#[test]
fn an_entry_that_expires_before_the_cursor_is_still_found() {
    let dir = room();
    let base = open(dir.path());
    carry(&base, &[put(b"a", b"", 1, 50), put(b"b", b"", 2, 90)]);
    assert_eq!(sweep(&base, 60, 10).removed, 1);
    carry(&base, &[put(b"late", b"", 3, 10)]);
    assert_eq!(sweep(&base, 60, 10).removed, 1);
    assert_eq!(value(&base, b"late"), None);
    assert_eq!(counts(&base), (1, 1));
}

#[test]
fn an_entry_held_back_is_left_and_visited_again() {
    let dir = room();
    let base = open(dir.path());
    carry(
        &base,
        &[
            put(b"a", b"", 1, 10),
            put(b"b", b"", 2, 20),
            put(b"c", b"", 3, 30),
        ],
    );
    let mut hold_a = |key: &[u8]| key != b"a";
    let swept = base.sweep(40, 2, &mut hold_a).unwrap();
    assert_eq!((swept.removed, swept.held_back, swept.more), (1, 1, true));
    let swept = base.sweep(40, 2, &mut hold_a).unwrap();
    assert_eq!((swept.removed, swept.held_back, swept.more), (1, 0, false));
    assert_eq!(value(&base, b"a").unwrap(), b"");
    let swept = base.sweep(40, 2, &mut hold_a).unwrap();
    assert_eq!((swept.removed, swept.held_back), (0, 1));
    assert_eq!(sweep(&base, 40, 2).removed, 1);
    assert_eq!((counts(&base), index_items(&base)), ((0, 0), 0));
}

#[test]
fn index_items_of_other_entries_are_removed_and_the_entries_stay() {
    let dir = room();
    let base = open(dir.path());
    carry(
        &base,
        &[put(b"later", b"", 5, 99), put(b"lasting", b"", 6, 0)],
    );
    // Items as a wrong hint leaves them: of an older write, of a key that expires no more, of a
    // key that is gone.
    for key in [&b"later"[..], b"lasting", b"gone"] {
        let index = index_key(key, NonZeroU64::new(10).unwrap(), 1);
        base.exp.insert(index, seal(&index, key)).unwrap();
    }
    let damaged = index_key(b"later", NonZeroU64::new(11).unwrap(), 1);
    base.exp.insert(damaged, b"no checksum").unwrap();
    let swept = base
        .sweep(50, 100, &mut |_| panic!("nothing is due"))
        .unwrap();
    let expected = Swept {
        stale: 3,
        unreadable: 1,
        ..Swept::default()
    };
    assert_eq!(swept, expected);
    assert_eq!((counts(&base), index_items(&base)), ((2, 1), 2));
    assert_eq!(
        sweep(&base, 50, 100),
        Swept::default(),
        "the damaged one is passed over"
    );
}

#[test]
fn replacing_an_entry_moves_its_index_item() {
    let dir = room();
    let base = open(dir.path());
    let long = vec![b'k'; KEY_BYTES_MAX];
    for (version, expires_at) in [(1, 10), (2, 30), (3, 20), (3, 20), (4, 0), (5, 40)] {
        carry(&base, &[put(&long, b"", version, expires_at)]);
        assert_eq!(index_items(&base), usize::from(expires_at != 0));
    }
    carry(&base, &[Carry::Remove { key: &long }]);
    assert_eq!((counts(&base), index_items(&base)), ((0, 0), 0));
}
