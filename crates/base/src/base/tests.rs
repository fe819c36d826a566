//! What a base keeps, counts and finds again.

mod damage;
mod model;
mod order;
mod sweeping;

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::*;
use crate::{BLOB_NAME_BYTES_MAX, Carry, StoredRef};

const STORE: [u8; 16] = *b"store of a test.";

fn config() -> BaseConfig {
    BaseConfig {
        cache_bytes: 1024 * 1024,
        store_id: STORE,
    }
}

/// A directory in memory where there is such a place: opening a base syncs a dozen times.
fn room() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn open(dir: &Path) -> Base {
    Base::open(dir, config()).unwrap()
}

fn put<'a>(key: &'a [u8], value: &'a [u8], version: u64, expires_at: u64) -> Carry<'a> {
    Carry::Put {
        key,
        entry: entry(value, version, expires_at),
        existed: None,
    }
}

fn entry(value: &[u8], version: u64, expires_at: u64) -> StoredRef<'_> {
    StoredRef {
        value,
        version,
        expires_at: NonZeroU64::new(expires_at),
        content_type: 1,
    }
}

fn carry(base: &Base, items: &[Carry<'_>]) {
    base.carry(&mut items.iter().copied()).unwrap();
}

fn value(base: &Base, key: &[u8]) -> Option<Vec<u8>> {
    base.get(key).unwrap().map(|stored| stored.value.to_vec())
}

fn counts(base: &Base) -> (u64, u64) {
    (base.keys(), base.keys_expiring())
}

/// Copies a base as a crash would leave it: what was written, and nothing else.
fn crash(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            crash(&from, &to);
        } else {
            // A journal is a hole of 64 MiB with its batches at the start.
            let source = File::open(&from).unwrap();
            let used = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(0)).unwrap_or(0);
            let mut bytes = vec![0; usize::try_from(used).unwrap()];
            source.read_exact_at(&mut bytes, 0).unwrap();
            let file = File::create(&to).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            file.set_len(source.metadata().unwrap().len()).unwrap();
        }
    }
}

#[test]
fn every_field_comes_back_also_after_reopening() {
    let dir = room();
    let base = open(dir.path());
    assert!(base.is_new());
    let all = StoredRef {
        value: b"value",
        version: u64::MAX,
        expires_at: NonZeroU64::new(u64::MAX),
        content_type: 255,
    };
    let item = Carry::Put {
        key: b"key",
        entry: all,
        existed: Some(false),
    };
    carry(&base, &[item, put(b"empty", b"", 0, 0)]);
    let check = |base: &Base| {
        let stored = base.get(b"key").unwrap().unwrap();
        assert_eq!(&stored.value[..], all.value);
        assert_eq!(stored.version, all.version);
        assert_eq!(stored.expires_at, all.expires_at);
        assert_eq!(stored.content_type, all.content_type);
        let stored = base.get(b"empty").unwrap().unwrap();
        assert_eq!((&stored.value[..], stored.expires_at), (&b""[..], None));
        assert!(base.contains(b"key").unwrap() && !base.contains(b"other").unwrap());
        assert_eq!(counts(base), (2, 1));
    };
    check(&base);
    base.finish_round(7).unwrap();
    drop(base);
    let base = open(dir.path());
    assert!(!base.is_new());
    assert_eq!(base.position(), 7);
    check(&base);
}

#[test]
fn the_longest_keys_and_values_come_back_from_journals_and_from_tables() {
    let dir = room();
    let place = dir.path().join("base");
    let base = open(&place);
    let keys: Vec<_> = (0..6_u8)
        .map(|last| {
            let mut key = vec![0xff; KEY_BYTES_MAX];
            key[KEY_BYTES_MAX - 1] = last;
            key
        })
        .collect();
    let value_of = |index: usize| vec![b"123456"[index]; VALUE_BYTES_MAX];
    for (index, key) in keys.iter().enumerate() {
        carry(&base, &[put(key, &value_of(index), index as u64, 1 << 40)]);
    }
    base.finish_round(6).unwrap();
    let check = |base: &Base| {
        for (index, key) in keys.iter().enumerate() {
            assert!(
                value(base, key).unwrap() == value_of(index),
                "value {index}"
            );
        }
        assert_eq!(counts(base), (6, 6));
    };
    check(&base);
    assert!(base.stats().tables > 0, "write buffers were flushed");
    crash(&place, &dir.path().join("crashed"));
    drop(base);
    let base = open(&dir.path().join("crashed"));
    assert_eq!(base.position(), 6);
    check(&base);
}

#[test]
fn what_is_too_long_or_empty_is_refused_and_changes_nothing() {
    let dir = room();
    let base = open(dir.path());
    let long_key = vec![1; KEY_BYTES_MAX + 1];
    let long_value = vec![1; VALUE_BYTES_MAX + 1];
    for (item, length) in [
        (put(&long_key, b"", 1, 0), true),
        (put(b"", b"", 1, 0), true),
        (Carry::Remove { key: b"" }, true),
        (put(b"key", &long_value, 1, 0), false),
    ] {
        let error = base
            .carry(&mut [put(b"first", b"", 1, 0), item].into_iter())
            .unwrap_err();
        assert!(match error {
            BaseError::KeyLength => length,
            BaseError::ValueTooLong => !length,
            _ => false,
        });
    }
    assert_eq!(counts(&base), (0, 0));
    assert_eq!(value(&base, b"first"), None);
    assert_eq!(value(&base, &long_key), None);
    assert!(!base.contains(b"").unwrap());
    let name = vec![b'n'; BLOB_NAME_BYTES_MAX + 1];
    assert!(matches!(
        base.put_blob(&name, b""),
        Err(BaseError::KeyLength)
    ));
    assert!(matches!(base.remove_blob(b""), Err(BaseError::KeyLength)));
    assert!(matches!(
        base.put_blob(b"n", &long_value),
        Err(BaseError::ValueTooLong)
    ));
}

#[test]
fn numbers_of_keys_are_exact_with_and_without_hints() {
    let dir = room();
    let base = open(dir.path());
    let hinted = |key, expires_at, existed| Carry::Put {
        key,
        entry: entry(b"v", 9, expires_at),
        existed: Some(existed),
    };
    carry(&base, &[hinted(b"a", 0, false), hinted(b"b", 0, false)]);
    assert_eq!(counts(&base), (2, 0));
    carry(&base, &[hinted(b"a", 50, true), put(b"c", b"", 3, 60)]);
    assert_eq!(counts(&base), (3, 2));
    carry(&base, &[hinted(b"a", 0, true), put(b"c", b"", 4, 60)]);
    assert_eq!(counts(&base), (3, 1));
    let replace = Carry::Replace {
        key: b"b",
        entry: entry(b"new", 10, 70),
    };
    carry(&base, &[replace]);
    assert_eq!(counts(&base), (3, 2));
    carry(
        &base,
        &[Carry::Remove { key: b"b" }, Carry::Remove { key: b"none" }],
    );
    assert_eq!(counts(&base), (2, 1));
    // The same key more than once, and out of order: the last one holds.
    let twice = [
        put(b"z", b"1", 11, 5),
        put(b"d", b"1", 12, 0),
        put(b"z", b"2", 13, 0),
        put(b"d", b"2", 14, 6),
        Carry::Remove { key: b"a" },
        put(b"a", b"3", 15, 0),
        put(b"y", b"", 16, 0),
        Carry::Remove { key: b"y" },
    ];
    carry(&base, &twice);
    assert_eq!(counts(&base), (4, 2));
    assert_eq!(value(&base, b"z").unwrap(), b"2");
    assert_eq!(value(&base, b"d").unwrap(), b"2");
    assert_eq!(value(&base, b"a").unwrap(), b"3");
    assert_eq!(value(&base, b"y"), None);
    drop(base);
    let report = crate::check(dir.path(), &config(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(
        (report.entries, report.expiring, report.stale_index_items),
        (4, 2, 0)
    );
}

#[test]
fn without_the_end_of_a_round_the_position_stays_and_the_base_is_consistent() {
    let dir = room();
    let place = dir.path().join("base");
    let base = open(&place);
    carry(&base, &[put(b"a", b"1", 1, 9)]);
    base.finish_round(1).unwrap();
    carry(&base, &[put(b"a", b"2", 2, 0), put(b"b", b"2", 2, 8)]);
    assert_eq!(base.position(), 1);
    // Nothing of the second batch was written yet when the process dies.
    crash(&place, &dir.path().join("killed"));
    let killed = open(&dir.path().join("killed"));
    assert_eq!((killed.position(), counts(&killed)), (1, (1, 1)));
    assert_eq!(value(&killed, b"a").unwrap(), b"1");
    // It dies after the operating system has it: the batch is there, the round is not over.
    assert!(base.is_healthy());
    crash(&place, &dir.path().join("later"));
    let later = open(&dir.path().join("later"));
    assert_eq!((later.position(), counts(&later)), (1, (2, 1)));
    assert_eq!(value(&later, b"a").unwrap(), b"2");
    // And carrying the same again changes nothing.
    carry(&later, &[put(b"a", b"2", 2, 0), put(b"b", b"2", 2, 8)]);
    later.finish_round(2).unwrap();
    assert_eq!((later.position(), counts(&later)), (2, (2, 1)));
}

#[test]
fn a_base_opens_once_and_only_for_its_store() {
    let dir = room();
    let place = dir.path().join("base");
    let base = open(&place);
    assert!(matches!(
        Base::open(&place, config()),
        Err(BaseError::Locked)
    ));
    drop(base);
    let other = BaseConfig {
        store_id: [0; 16],
        ..config()
    };
    assert!(matches!(
        Base::open(&place, other),
        Err(BaseError::OtherStore)
    ));
    open(&place);
    let absent = dir.path().join("absent");
    let result = crate::check(&absent, &config(), &mut |_| {});
    assert!(matches!(result, Err(BaseError::Absent)));
    assert!(!absent.exists());
}

#[test]
fn a_making_that_was_interrupted_is_begun_again() {
    let dir = room();
    let place = dir.path().join("base");
    fs::create_dir_all(dir.path().join("base.new/keyspaces")).unwrap();
    fs::write(dir.path().join("base.new/0.jnl"), b"half").unwrap();
    let base = open(&place);
    assert!(base.is_new() && !dir.path().join("base.new").exists());
    // A directory with anything else in it is not taken for a new base.
    let strange = dir.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("file"), b"").unwrap();
    assert!(matches!(
        Base::open(&strange, config()),
        Err(BaseError::Corrupt { .. })
    ));
}

#[test]
fn blobs_are_kept_replaced_and_removed() {
    let dir = room();
    let base = open(dir.path());
    let name = vec![0xff; BLOB_NAME_BYTES_MAX];
    base.put_blob(&name, b"one").unwrap();
    base.put_blob(b"gone", b"").unwrap();
    base.put_blob(&name, b"two").unwrap();
    base.remove_blob(b"gone").unwrap();
    base.put_blob(b"empty", b"").unwrap();
    base.finish_round(1).unwrap();
    drop(base);
    let base = open(dir.path());
    let mut seen = Vec::new();
    base.blobs(&mut |name, value| seen.push((name.to_vec(), value.to_vec())))
        .unwrap();
    assert_eq!(seen, [(b"empty".to_vec(), vec![]), (name, b"two".to_vec())]);
    assert_eq!(counts(&base), (0, 0));
}
