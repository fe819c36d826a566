//! Pages in key order.

use super::driver::{Driver, del};
use crate::{Engine, OwnedRange, Page, PageLimits};
use bytes::Bytes;
use std::sync::Arc;

super::list_cases![
    a_scan_shows_every_key_once_in_order,
    a_prefix_bounds_a_scan_in_both_directions,
    a_cursor_outside_the_prefix_is_harmless,
    a_page_ends_at_its_byte_limit_but_shows_one_entry,
    keys_come_and_go_between_pages,
];

fn range(prefix: &'static [u8], reverse: bool) -> OwnedRange {
    OwnedRange {
        prefix: Bytes::from_static(prefix),
        after: None,
        reverse,
    }
}

fn a_scan_shows_every_key_once_in_order(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    assert!(driver.scan(&range(b"", false), 10).is_empty());
    let mut keys: Vec<String> = (0..1_000)
        .map(|n| format!("{:x}", n * 7_919 % 1_000))
        .collect();
    for key in &keys {
        driver.set(key.as_bytes(), key.as_bytes());
    }
    keys.sort();
    keys.dedup();
    for items in [1, 7, 100, 5_000] {
        for reverse in [false, true] {
            let mut seen: Vec<_> = driver
                .scan(&range(b"", reverse), items)
                .into_iter()
                .map(|(key, entry)| {
                    assert_eq!(key, entry.value, "the entry belongs to the key");
                    key
                })
                .collect();
            if reverse {
                seen.reverse();
            }
            assert!(
                seen.iter().eq(keys.iter()),
                "pages of {items}, reverse: {reverse}"
            );
        }
    }
}

fn a_prefix_bounds_a_scan_in_both_directions(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    let keys: [&'static [u8]; 9] = [
        b"a",
        b"ab",
        b"ab\x00",
        b"ab\xff",
        b"ab\xff\xff",
        b"ac",
        b"b",
        b"\xff",
        b"\xff\xff\x01",
    ];
    for key in keys {
        driver.set(key, b"value");
    }
    for prefix in [
        b"".as_slice(),
        b"a",
        b"ab",
        b"ab\xff",
        b"\xff",
        b"\xff\xff",
        b"c",
        b"abc",
    ] {
        for reverse in [false, true] {
            let range = OwnedRange {
                prefix: Bytes::from(prefix),
                after: None,
                reverse,
            };
            let mut expected: Vec<_> = keys
                .into_iter()
                .filter(|key| key.starts_with(prefix))
                .collect();
            if reverse {
                expected.reverse();
            }
            let seen = driver.scan(&range, 2);
            assert!(
                seen.iter().map(|(key, _)| key).eq(expected),
                "{prefix:?} {reverse}: {seen:?}"
            );
        }
    }
}

fn a_cursor_outside_the_prefix_is_harmless(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for key in [b"a1", b"b1", b"b2", b"c1"] {
        driver.set(key, b"value");
    }
    for (after, reverse, expected) in [
        (b"a1".as_slice(), false, 2),
        (b"b1", false, 1),
        (b"b1!", false, 1),
        (b"c1", false, 0),
        (b"c1", true, 2),
        (b"b2", true, 1),
        (b"b1!", true, 1),
        (b"a1", true, 0),
        (b"", true, 0),
    ] {
        let range = OwnedRange {
            prefix: Bytes::from_static(b"b"),
            after: Some(Bytes::from_static(after)),
            reverse,
        };
        assert_eq!(
            driver.scan(&range, 10).len(),
            expected,
            "after {after:?}, reverse: {reverse}"
        );
    }
}

fn a_page_ends_at_its_byte_limit_but_shows_one_entry(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for n in 0..20 {
        driver.set(format!("{n:02}").as_bytes(), &[0; 98]);
    }
    let page = |bytes| {
        let limits = PageLimits { items: 100, bytes };
        // Pages may be empty while an index is built.
        loop {
            let (items, end) = driver.page(&range(b"", false), limits);
            if !items.is_empty() || end == Page::Done {
                return (items.len(), end);
            }
        }
    };
    assert_eq!(page(1), (1, Page::More));
    assert_eq!(page(1_000), (10, Page::More));
    assert_eq!(page(1_001), (11, Page::More));
    assert_eq!(page(100_000), (20, Page::Done));
    let (items, end) = driver.page(
        &range(b"", false),
        PageLimits {
            items: 0,
            bytes: 1_000,
        },
    );
    assert_eq!(
        (items.len(), end),
        (1, Page::More),
        "no items is taken as one"
    );
}

fn keys_come_and_go_between_pages(engine: Arc<dyn Engine>) {
    let driver = Driver::new(&*engine);
    for n in 0..100 {
        driver.set(format!("{n:03}").as_bytes(), b"value");
    }
    assert_eq!(
        driver.scan(&range(b"", false), 9).len(),
        100,
        "the index stands"
    );
    let mut cursor = range(b"", false);
    let mut seen = Vec::new();
    for turn in 0.. {
        let (page, end) = driver.page(
            &cursor,
            PageLimits {
                items: 10,
                bytes: 1 << 20,
            },
        );
        seen.extend(page.into_iter().map(|(key, _)| key));
        cursor.after = seen.last().cloned();
        // What is deleted lies behind, what is created ahead or behind.
        assert!(
            matches!(
                driver.one(del(format!("{:03}", turn * 10).as_bytes())),
                crate::OwnedOutcome::Deleted { .. }
            ) || turn > 9
        );
        driver.set(format!("{turn:03} new").as_bytes(), b"value");
        if end == Page::Done {
            break;
        }
    }
    let untouched = (0..100).filter(|n| seen.iter().any(|key| *key == format!("{n:03}")));
    assert_eq!(untouched.count(), 100, "no key that stayed is skipped");
    assert!(seen.is_sorted_by(|a, b| a < b), "no key is repeated");
}
