//! Random loads beside a map.

use super::*;
use crate::{Page, PageLimits, ScanRange};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Act {
    Put(u8, usize, bool),
    Get(u8),
    Del(u8),
    Batch(Vec<(u8, usize)>),
    Scan,
}

fn act() -> impl Strategy<Value = Act> {
    let len = || prop_oneof![8 => 0_usize..400, 1 => 0_usize..3_000, 1 => 16_000_usize..18_000];
    prop_oneof![
        12 => (any::<u8>(), len(), any::<bool>()).prop_map(|(k, l, e)| Act::Put(k, l, e)),
        6 => any::<u8>().prop_map(Act::Get),
        1 => any::<u8>().prop_map(Act::Del),
        2 => vec((any::<u8>(), len()), 1..8).prop_map(Act::Batch),
        1 => Just(Act::Scan),
    ]
}

/// The value of a key in a turn: told apart from every other.
fn value(key: u8, turn: usize, len: usize) -> Vec<u8> {
    let mut value = vec![key; len];
    value.extend(turn.to_be_bytes());
    value
}

/// Goes on at `after` until the engine says that it is done.
fn scan(engine: &MemoryEngine, mut visit: impl FnMut(&[u8], &[u8])) {
    let limits = PageLimits {
        items: 64,
        bytes: 1 << 16,
    };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let range = ScanRange {
            after: after.as_deref(),
            ..ScanRange::default()
        };
        let mut last = None;
        let page = engine.scan(NOW, range, limits, &mut |key, entry| {
            visit(key, entry.value.as_slice());
            last = Some(key.to_vec());
        });
        after = last.or(after);
        if page != Page::More {
            return assert_eq!(page, Page::Done);
        }
    }
}

const LIMIT: u64 = 60_000;

proptest! {
    #[test]
    fn an_evicted_key_is_missing_and_the_bound_holds(acts in vec(act(), 1..300), ttl: bool) {
        let eviction = if ttl { Eviction::Ttl } else { Eviction::Lru };
        let engine = engine(eviction, LIMIT);
        let mut model: BTreeMap<u8, (Vec<u8>, bool)> = BTreeMap::new();
        for (turn, act) in acts.into_iter().enumerate() {
            match act {
                Act::Put(key, len, expires) => {
                    let expiry = if expires { Expiry::At(9_000_000) } else { Expiry::Never };
                    let value = value(key, turn, len);
                    let written = put(&engine, &[key], &value, expiry);
                    prop_assert!(written || ttl, "anything of this size fits");
                    if written {
                        prop_assert_eq!(get(&engine, &[key]), Some(value.clone()));
                        model.insert(key, (value, expires));
                    }
                }
                Act::Get(key) => {
                    let found = get(&engine, &[key]);
                    let expected = model.get(&key);
                    if let Some(found) = &found {
                        prop_assert_eq!(Some(found), expected.map(|(value, _)| value));
                    }
                    if ttl && let Some((_, false)) = expected {
                        prop_assert!(found.is_some(), "only what expires is evicted");
                    }
                }
                Act::Del(key) => {
                    let condition = Condition::Always;
                    let del = Op::Del { key: &[key], condition, previous: false };
                    let _deleted_or_missing = one(&engine, del);
                    model.remove(&key);
                }
                Act::Batch(writes) => {
                    let writes: BTreeMap<u8, Vec<u8>> = writes
                        .into_iter()
                        .map(|(key, len)| (key, value(key, turn, len.min(4_000))))
                        .collect();
                    let keys: Vec<[u8; 1]> = writes.keys().map(|key| [*key]).collect();
                    let ops: Vec<_> = keys
                        .iter()
                        .zip(writes.values())
                        .map(|(key, value)| set(key, value, Expiry::Never))
                        .collect();
                    let applied = atomic(&engine, &ops) == Atomic::Applied;
                    prop_assert!(applied || ttl, "anything of this size fits");
                    for (key, value) in writes {
                        if applied {
                            prop_assert_eq!(get(&engine, &[key]), Some(value.clone()));
                            model.insert(key, (value, false));
                        }
                    }
                }
                Act::Scan => {
                    let mut shown = BTreeSet::new();
                    if !ttl {
                        scan(&engine, |key, value| {
                            assert_eq!(Some(value), model.get(&key[0]).map(|(value, _)| &**value));
                            assert!(shown.insert(key.to_vec()), "each once");
                        });
                        prop_assert_eq!(shown.len() as u64, engine.stats().keys);
                    }
                }
            }
            let stats = engine.stats();
            prop_assert!(stats.memory_bytes <= LIMIT);
            let slots: usize = engine.shards.iter().map(|s| s.lock().table.slots().bytes()).sum();
            let counted = engine.common.slots_bytes.load(Ordering::Relaxed);
            prop_assert_eq!(counted, slots as u64);
            let expiring: usize = engine
                .shards
                .iter()
                .map(|shard| {
                    let shard = shard.lock();
                    let expiring = shard.table.iter().filter(|e| e.expires_at().is_some());
                    expiring.map(|entry| entry.bytes()).sum::<usize>()
                })
                .sum();
            let counted = engine.common.expiring_bytes.load(Ordering::Relaxed);
            prop_assert_eq!(counted, if ttl { expiring as u64 } else { 0 });
        }
    }
}
