//! What a base keeps, counts, gives in order and finds again.

use std::num::NonZeroU64;

use super::*;
use crate::{Carry, StoredRef};

pub(crate) const STORE: [u8; 16] = *b"store of a test.";

pub(crate) fn config() -> BaseConfig {
    BaseConfig {
        cache_bytes: 1024 * 1024,
        store_id: STORE,
    }
}

pub(crate) fn put<'a>(key: &'a [u8], value: &'a [u8], version: u64, expires_at: u64) -> Carry<'a> {
    Carry::Put {
        key,
        entry: StoredRef {
            value,
            version,
            expires_at: NonZeroU64::new(expires_at),
            content_type: 1,
        },
        existed: None,
    }
}

pub(crate) fn carry(base: &Base, items: &[Carry<'_>]) {
    base.carry(&mut items.iter().copied()).unwrap();
}

#[test]
fn every_field_comes_back_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let base = Base::open(dir.path(), config()).unwrap();
    assert!(base.is_new());
    let entry = StoredRef {
        value: b"value",
        version: u64::MAX,
        expires_at: NonZeroU64::new(u64::MAX),
        content_type: 255,
    };
    let item = Carry::Put {
        key: b"key",
        entry,
        existed: Some(false),
    };
    carry(&base, &[item, put(b"empty", b"", 0, 0)]);
    let check = |base: &Base| {
        let stored = base.get(b"key").unwrap().unwrap();
        assert_eq!(&stored.value[..], entry.value);
        assert_eq!(stored.version, entry.version);
        assert_eq!(stored.expires_at, entry.expires_at);
        assert_eq!(stored.content_type, entry.content_type);
        let stored = base.get(b"empty").unwrap().unwrap();
        assert_eq!((&stored.value[..], stored.expires_at), (&b""[..], None));
        assert!(base.contains(b"key").unwrap() && !base.contains(b"other").unwrap());
        assert_eq!((base.keys(), base.keys_expiring()), (2, 1));
    };
    check(&base);
    base.finish_round(7).unwrap();
    drop(base);
    let base = Base::open(dir.path(), config()).unwrap();
    assert!(!base.is_new());
    assert_eq!(base.position(), 7);
    check(&base);
}
