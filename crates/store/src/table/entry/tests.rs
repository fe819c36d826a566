//! Exercises every form of entry and every change of form.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn contents(value: &[u8], expires_at: u64) -> Contents<'_> {
    let expires_at = NonZeroU64::new(expires_at);
    Contents {
        value: Value::Inline(value),
        version: 7,
        expires_at,
        content_type: 3,
    }
}

#[track_caller]
fn check(entry: &EntryBox, key: &[u8], contents: &Contents<'_>) {
    assert_eq!(entry.key(), key);
    let expected = Entry {
        value: contents.value,
        version: contents.version,
        expires_at: contents.expires_at,
        content_type: contents.content_type,
    };
    assert!(entry.entry() == expected);
    assert_eq!(entry.expires_at(), contents.expires_at);
}

#[test]
fn the_headline_entry_takes_96_bytes() {
    let entry = EntryBox::new(&[1; 16], &contents(&[2; 64], 0)).unwrap();
    assert_eq!(entry.alloc_bytes(), 96);
}

#[test]
fn values_become_shared_one_byte_past_the_limit() {
    for (len, shared) in [
        (INLINE_VALUE_BYTES_MAX, false),
        (INLINE_VALUE_BYTES_MAX + 1, true),
    ] {
        let value = vec![1; len];
        let entry = EntryBox::new(b"key", &contents(&value, 0)).unwrap();
        assert_eq!(matches!(entry.entry().value, Value::Shared(_)), shared);
        assert!(entry.bytes() >= len + 3 + HEADER_BYTES);
    }
}

#[test]
fn a_shared_value_is_kept_without_a_copy_and_given_back() {
    let value = Bytes::from(vec![1; INLINE_VALUE_BYTES_MAX + 1]);
    let mut contents = contents(&[], 5);
    contents.value = Value::Shared(&value);
    let entry = EntryBox::new(b"key", &contents).unwrap();
    check(&entry, b"key", &contents);
    let Value::Shared(kept) = entry.entry().value else {
        panic!("inline")
    };
    assert_eq!(kept.as_ptr(), value.as_ptr());
    drop(entry);
    assert!(value.is_unique(), "the entry's share is gone");
}

#[test]
fn a_small_shared_value_is_copied() {
    let value = Bytes::from(vec![1; 100]);
    let contents = Contents {
        value: Value::Shared(&value),
        ..contents(&[], 0)
    };
    let entry = EntryBox::new(b"key", &contents).unwrap();
    check(&entry, b"key", &contents);
    assert!(value.is_unique());
}

#[test]
fn a_key_that_is_too_long_is_refused() {
    let key = vec![0; crate::KEY_BYTES_MAX + 1];
    let refused = EntryBox::new(&key, &contents(b"", 0)).err();
    assert_eq!(refused, Some(StoreError::KeyLength));
    let entry = EntryBox::new(&key[1..], &contents(&[5; INLINE_VALUE_BYTES_MAX], 9)).unwrap();
    check(
        &entry,
        &key[1..],
        &contents(&[5; INLINE_VALUE_BYTES_MAX], 9),
    );
}

#[test]
fn an_entry_survives_the_way_through_its_address() {
    let entry = EntryBox::new(b"key", &contents(b"value", 4)).unwrap();
    let address = entry.into_address();
    assert!(address.is_multiple_of(ENTRY_ALIGN));
    // SAFETY: the address comes from `into_address`, and nobody else has it.
    #[expect(unsafe_code, reason = "the function under test")]
    let entry = unsafe { EntryBox::from_address(address) };
    check(&entry, b"key", &contents(b"value", 4));
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..150),
        1 => vec(any::<u8>(), 1_000..1_100),
        1 => vec(any::<u8>(), INLINE_VALUE_BYTES_MAX - 2..INLINE_VALUE_BYTES_MAX + 3),
    ]
}

proptest! {
    #[test]
    fn changes_in_place_keep_the_key_and_take_the_new_content(
        key in vec(any::<u8>(), 1..300),
        values in vec((any_value(), 0_u64..3, any::<bool>()), 1..10),
    ) {
        let (first, expiry, _) = &values[0];
        let mut now = contents(first, *expiry);
        let mut entry = EntryBox::new(&key, &now).unwrap();
        for (version, (value, expiry, touch)) in (8..).zip(&values) {
            let bytes = entry.alloc_bytes();
            let expires_at = NonZeroU64::new(*expiry);
            if *touch {
                if entry.touch(version, expires_at) {
                    now = Contents { version, expires_at, ..now };
                }
            } else {
                let new = Contents { version, ..contents(value, *expiry) };
                if entry.overwrite(&new) {
                    now = new;
                }
            }
            prop_assert_eq!(entry.alloc_bytes(), bytes);
            check(&entry, &key, &now);
        }
        let again = EntryBox::new(&key, &now).unwrap();
        prop_assert_eq!(entry.alloc_bytes(), again.alloc_bytes());
        prop_assert!(entry.alloc_bytes() >= key.len() + HEADER_BYTES);
    }
}

#[test]
fn a_value_of_the_same_length_always_fits_in_place() {
    for len in 0..=2_000 {
        let mut entry = EntryBox::new(b"key", &contents(&vec![1; len], 0)).unwrap();
        let value = vec![2; len];
        assert!(entry.overwrite(&contents(&value, 0)));
        check(&entry, b"key", &contents(&value, 0));
    }
}

#[test]
fn marks_survive_changes_in_place_and_hinder_none() {
    let mut entry = EntryBox::new(b"key", &contents(b"value", 9)).unwrap();
    for mark in [Mark::Referenced, Mark::Dirty, Mark::Absent, Mark::Stored] {
        assert!(!entry.has(mark));
        entry.set(mark, true);
        assert!(entry.has(mark));
    }
    assert!(entry.overwrite(&contents(b"VALUE", 10)));
    check(&entry, b"key", &contents(b"VALUE", 10));
    entry.set(Mark::Dirty, false);
    assert!(!entry.has(Mark::Dirty) && entry.has(Mark::Referenced) && entry.has(Mark::Stored));
    assert!(
        !entry.overwrite(&contents(b"value", 0)),
        "another form needs another allocation"
    );
}
