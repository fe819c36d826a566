//! Many threads on few keys.

use super::driver::{Driver, del, incr, set, set_until, version};
use crate::{Engine, Expiry, Op, OwnedOutcome, OwnedRange};
use std::sync::Arc;
use std::thread;

super::list_cases![
    no_increment_is_lost,
    a_reader_never_sees_a_torn_value,
    atomic_batches_are_seen_whole,
    tables_grow_and_shrink_under_readers,
];

const THREADS: u64 = 4;

fn no_increment_is_lost(engine: Arc<dyn Engine>) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let driver = Driver::new(&*engine);
                let mut last = 0;
                for _ in 0..500 {
                    for outcome in driver.run(&[incr(b"a", 1), incr(b"b", -1), incr(b"a", 1)]) {
                        let version = version(&outcome);
                        assert!(version > last, "versions grow as one thread sees them");
                        last = version;
                    }
                }
            });
        }
    });
    let driver = Driver::new(&*engine);
    let value = |key: &[u8]| driver.get(key).map(|entry| entry.value);
    assert_eq!(value(b"a"), Some((THREADS * 1_000).to_string().into()));
    assert_eq!(value(b"b"), Some(format!("-{}", THREADS * 500).into()));
}

/// Writers set values of one repeated byte, in sizes on both sides of every form of entry.
fn a_reader_never_sees_a_torn_value(engine: Arc<dyn Engine>) {
    const SIZES: [usize; 6] = [3, 64, 64, 70, 1_000, 20_000];
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                let driver = Driver::new(&**engine);
                for turn in 0..400_u64 {
                    let byte = u8::try_from((turn * THREADS + thread) % 256).unwrap_or(0);
                    for (place, size) in SIZES.into_iter().enumerate() {
                        let key = [b'k', u8::try_from((turn + place as u64) % 5).unwrap_or(0)];
                        let value = vec![byte; size];
                        let expiry = match turn % 3 {
                            0 => Expiry::At(driver.after(1_000_000)),
                            _ => Expiry::Never,
                        };
                        let _written = driver.one(set_until(&key, &value, expiry));
                        if turn % 7 == 0 {
                            let _deleted = driver.one(del(&key));
                        }
                    }
                }
            });
            scope.spawn(move || {
                let driver = Driver::new(&**engine);
                let keys = [b"k\0", b"k\x01", b"k\x02", b"k\x03", b"k\x04"];
                let ops = keys.map(|key| Op::Get { key });
                for _ in 0..400 {
                    for outcome in driver.run(&ops) {
                        if let OwnedOutcome::Found(entry) = outcome {
                            let first = entry.value.first();
                            assert!(SIZES.contains(&entry.value.len()));
                            assert!(entry.value.iter().all(|byte| Some(byte) == first));
                        }
                    }
                }
            });
        }
    });
}

fn atomic_batches_are_seen_whole(engine: Arc<dyn Engine>) {
    let keys: Vec<Vec<u8>> = (0..10).map(|n| format!("key {n}").into_bytes()).collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, keys) = (&engine, &keys);
            scope.spawn(move || {
                let driver = Driver::new(&**engine);
                for turn in 0..200 {
                    let value = format!("{thread} {turn}");
                    let mut ops: Vec<_> =
                        keys.iter().map(|key| set(key, value.as_bytes())).collect();
                    if thread % 2 == 0 {
                        ops.reverse();
                    }
                    let applied = driver.atomic(&ops);
                    assert!(
                        matches!(applied, crate::BatchOutcome::Done(_)),
                        "{applied:?}"
                    );
                }
            });
            scope.spawn(move || {
                let driver = Driver::new(&**engine);
                let range = OwnedRange::default();
                for _ in 0..100 {
                    let page = driver.scan(&range, 100);
                    assert!(page.len() == 10 || page.is_empty(), "{} of 10", page.len());
                    let first = page.first().map(|(_, entry)| entry.value.clone());
                    assert!(
                        page.iter()
                            .all(|(_, entry)| Some(&entry.value) == first.as_ref())
                    );
                }
            });
        }
    });
}

fn tables_grow_and_shrink_under_readers(engine: Arc<dyn Engine>) {
    let keys: Vec<[u8; 8]> = (0..THREADS * 3_000).map(u64::to_be_bytes).collect();
    thread::scope(|scope| {
        for mine in keys.chunks(3_000) {
            let (engine, keys) = (&engine, &keys);
            scope.spawn(move || {
                let driver = Driver::new(&**engine);
                for _ in 0..2 {
                    for chunk in mine.chunks(100) {
                        let sets: Vec<_> = chunk.iter().map(|key| set(key, key)).collect();
                        let _written = driver.run(&sets);
                        let gets: Vec<_> = keys
                            .iter()
                            .skip(chunk.len())
                            .step_by(61)
                            .map(|key| Op::Get { key })
                            .collect();
                        for (outcome, op) in driver.run(&gets).iter().zip(&gets) {
                            if let OwnedOutcome::Found(entry) = outcome {
                                assert_eq!(entry.value, op.key());
                            }
                        }
                    }
                    for key in mine {
                        assert!(driver.get(key).is_some(), "nobody else removes it");
                        let _deleted = driver.one(del(key));
                    }
                }
            });
        }
    });
    assert_eq!(engine.stats().keys, 0);
}
