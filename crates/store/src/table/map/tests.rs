//! A table beside a map, with hashes that collide on purpose.

use super::super::entry::Contents;
use super::*;
use crate::Value;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

fn entry(key: u8, value: u8, expires: bool) -> EntryBox {
    let contents = Contents {
        value: Value::Inline(&[value]),
        version: 1,
        expires_at: NonZeroU64::new(u64::from(expires)),
        content_type: 0,
    };
    EntryBox::new(&[key], &contents).unwrap()
}

/// Few homes, fewer fragments.
fn weak_hash(key: &[u8]) -> u64 {
    let byte = u64::from(key[0]);
    ((byte % 7) << 44) | (byte % 3)
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8, bool),
    Remove(u8),
    Rebuild,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(k, v, e)| Act::Put(k, v, e)),
        3 => any::<u8>().prop_map(Act::Remove),
        1 => Just(Act::Rebuild),
    ]
}

proptest! {
    #[test]
    fn a_table_is_a_map(acts in vec(act(), 1..600)) {
        let mut table = Table::new();
        let mut model: BTreeMap<u8, (u8, bool)> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Put(key, value, expires) => {
                    let hash = weak_hash(&[key]);
                    match table.find(hash, &[key]) {
                        Some(at) => {
                            let old = table.replace(at, hash, entry(key, value, expires)).unwrap();
                            prop_assert_eq!(old.entry().value.as_slice(), &[model[&key].0]);
                        }
                        None => {
                            if !table.has_room(1) {
                                let slots = table.roomier(1).unwrap();
                                table.rebuild(slots, weak_hash);
                            }
                            prop_assert!(table.insert(hash, entry(key, value, expires)).is_ok());
                        }
                    }
                    model.insert(key, (value, expires));
                }
                Act::Remove(key) => {
                    let at = table.find(weak_hash(&[key]), &[key]);
                    let removed = at.and_then(|at| table.remove(at));
                    prop_assert_eq!(removed.is_some(), model.remove(&key).is_some());
                }
                Act::Rebuild => {
                    let slots = table.roomier(0).unwrap();
                    table.rebuild(slots, weak_hash);
                }
            }
            prop_assert_eq!(table.len(), model.len());
            let expiring = model.values().filter(|(_, expires)| *expires).count();
            prop_assert_eq!(table.expiring(), expiring);
        }
        for key in 0..=u8::MAX {
            let found = table.find(weak_hash(&[key]), &[key]).and_then(|at| table.get(at));
            let value = found.as_ref().map(|entry| entry.entry().value.as_slice()[0]);
            prop_assert_eq!(value, model.get(&key).map(|(value, _)| *value));
        }
        prop_assert_eq!(table.iter().count(), model.len());
        let mut at = 0;
        let mut expiring = 0;
        while let Some(found) = table.next_expiring(at, usize::MAX) {
            at = found + 1;
            expiring += 1;
        }
        prop_assert_eq!(expiring, table.expiring());
    }
}

#[test]
fn a_table_without_room_gives_the_entry_back() {
    let mut table = Table::new();
    assert!(!table.has_room(1));
    let refused = table
        .insert(weak_hash(&[1]), entry(1, 2, false))
        .err()
        .unwrap();
    assert_eq!(refused.key(), [1]);
    assert_eq!(table.len(), 0);
}

#[test]
fn removing_and_inserting_for_ever_needs_no_more_slots() {
    let mut table = Table::new();
    let slots = table.roomier(8).unwrap();
    table.rebuild(slots, weak_hash);
    let mut rebuilds = 0;
    for turn in 0..10_000_u32 {
        let key = u8::try_from(turn % 256).unwrap();
        if !table.has_room(1) {
            let slots = table.roomier(1).unwrap();
            table.rebuild(slots, weak_hash);
            rebuilds += 1;
        }
        assert!(
            table
                .insert(weak_hash(&[key]), entry(key, 0, false))
                .is_ok()
        );
        if turn >= 5 {
            let key = u8::try_from((turn - 5) % 256).unwrap();
            let at = table.find(weak_hash(&[key]), &[key]).unwrap();
            assert!(table.remove(at).is_some());
        }
        assert!(table.slots().len() <= 32);
    }
    assert!(rebuilds < 5_000, "{rebuilds} rebuilds");
}
