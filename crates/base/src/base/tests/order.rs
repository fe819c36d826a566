//! Ranges: order, prefixes, cursors, and the moment a snapshot holds.

use super::*;

fn keys(base: &Base, prefix: &[u8], after: Option<&[u8]>, reverse: bool) -> Vec<Vec<u8>> {
    base.snapshot()
        .range(prefix, after, reverse)
        .map(|item| item.unwrap().0.to_vec())
        .collect()
}

/// Keys at the edges of prefixes, the longest ones included, in order.
fn edges() -> Vec<Vec<u8>> {
    let mut keys = vec![
        vec![0],
        vec![0, 0],
        b"a".to_vec(),
        b"a\xff".to_vec(),
        b"a\xff\xff".to_vec(),
        b"a\xff\xff\0".to_vec(),
        b"b".to_vec(),
        vec![0xfe, 0xff],
        vec![0xff],
        vec![0xff, 0],
        vec![0xff, 0xff],
        vec![0xff, 0xff, 0xff],
        vec![0xff; KEY_BYTES_MAX - 1],
        vec![0xff; KEY_BYTES_MAX],
    ];
    keys.sort();
    keys
}

#[test]
fn every_prefix_and_cursor_gives_what_a_sorted_list_gives() {
    let dir = room();
    let base = open(dir.path());
    let all = edges();
    // One half from a table, the other from the write buffer.
    let (first, second): (Vec<_>, Vec<_>) = all
        .iter()
        .enumerate()
        .partition(|(index, _)| index % 2 == 0);
    for (half, flush) in [(first, true), (second, false)] {
        let items: Vec<_> = half.iter().map(|(_, key)| put(key, b"v", 1, 0)).collect();
        carry(&base, &items);
        if flush {
            base.kv.rotate_memtable_and_wait().unwrap();
        }
    }
    let too_long = vec![0xff; KEY_BYTES_MAX + 1];
    let mut cursors: Vec<Option<&[u8]>> = all.iter().map(|key| Some(&key[..])).collect();
    cursors.extend([
        None,
        Some(&b""[..]),
        Some(b"a\xfe"),
        Some(b"\xff\x01"),
        Some(&too_long),
    ]);
    let mut prefixes: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    prefixes.extend([&b""[..], b"\xfe", b"a\xfe", b"c", &too_long]);
    for prefix in prefixes {
        for after in &cursors {
            let matching = |key: &&Vec<u8>| key.starts_with(prefix);
            let up: Vec<_> = all
                .iter()
                .filter(matching)
                .filter(|key| after.is_none_or(|after| key.as_slice() > after))
                .cloned()
                .collect();
            assert!(keys(&base, prefix, *after, false) == up);
            let mut down: Vec<_> = all
                .iter()
                .filter(matching)
                .filter(|key| after.is_none_or(|after| key.as_slice() < after))
                .cloned()
                .collect();
            down.reverse();
            assert!(keys(&base, prefix, *after, true) == down);
        }
    }
}

#[test]
fn a_snapshot_sees_nothing_of_later_batches() {
    let dir = room();
    let base = open(dir.path());
    carry(&base, &[put(b"a", b"old", 1, 0), put(b"b", b"old", 1, 0)]);
    base.put_blob(b"n", b"old").unwrap();
    let snapshot = base.snapshot();
    carry(
        &base,
        &[
            put(b"a", b"new", 2, 0),
            Carry::Remove { key: b"b" },
            put(b"c", b"", 3, 0),
        ],
    );
    base.put_blob(b"n", b"new").unwrap();
    base.kv.rotate_memtable_and_wait().unwrap();
    base.kv.major_compact().unwrap();
    let seen: Vec<_> = snapshot
        .range(b"", None, false)
        .map(|item| item.unwrap())
        .map(|(key, stored)| (key.to_vec(), stored.value.to_vec()))
        .collect();
    let old = |key: &[u8]| (key.to_vec(), b"old".to_vec());
    assert_eq!(seen, [old(b"a"), old(b"b")]);
    assert_eq!(&snapshot.get(b"b").unwrap().unwrap().value[..], b"old");
    assert_eq!(snapshot.get(b"c").unwrap(), None);
    let mut blobs = Vec::new();
    snapshot
        .blobs(&mut |_, value| blobs.push(value.to_vec()))
        .unwrap();
    assert_eq!(blobs, [b"old"]);
    assert_eq!(keys(&base, b"", None, false), [b"a", b"c"]);
    // It may outlive the base, on another thread.
    let late = std::thread::spawn(move || {
        drop(base);
        snapshot.range(b"", None, true).count()
    });
    assert_eq!(late.join().unwrap(), 2);
}
