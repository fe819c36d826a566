use super::*;

fn found(ledger: &mut Ledger, entries: &[(&[u8], u64, u64)]) -> Vec<Loss> {
    let found = entries
        .iter()
        .map(|(key, number, version)| {
            let value = value_of(key, *number);
            (key.to_vec(), Found::read(key, &value, *version))
        })
        .collect();
    ledger.settle(&found)
}

/// `k` is acknowledged with write 1, version 10.
fn one() -> Ledger {
    let mut ledger = Ledger::new();
    let first = ledger.begin(&[b"k"], Change::Put);
    ledger.acknowledged(&first, &[10]);
    ledger
}

#[test]
fn what_was_acknowledged_is_demanded() {
    assert_eq!(found(&mut one(), &[(b"k", 1, 10)]), []);
    for wrong in [
        &[][..],
        &[(&b"k"[..], 1, 11)],
        &[(b"k", 1, 9)],
        &[(b"k", 7, 11)],
        &[(b"k", 1, 10), (b"other", 1, 10)],
    ] {
        assert_eq!(found(&mut one(), wrong).len(), 1, "{wrong:?}");
    }
}

#[test]
fn a_write_with_an_unknown_outcome_may_be_there_or_not_but_under_a_later_version() {
    let begun = || {
        let mut ledger = one();
        let second = ledger.begin(&[b"k"], Change::Put);
        ledger.unknown(&second);
        ledger
    };
    assert_eq!(found(&mut begun(), &[(b"k", 1, 10)]), []);
    assert_eq!(found(&mut begun(), &[(b"k", 2, 11)]), []);
    assert_eq!(found(&mut begun(), &[(b"k", 2, 9)]).len(), 1);
    assert_eq!(found(&mut begun(), &[]).len(), 1);
}

#[test]
fn what_was_found_once_is_demanded_from_then_on() {
    let mut ledger = one();
    let second = ledger.begin(&[b"k"], Change::Put);
    ledger.unknown(&second);
    assert_eq!(found(&mut ledger, &[(b"k", 2, 11)]), []);
    assert_eq!(found(&mut ledger, &[(b"k", 1, 10)]).len(), 1);
}

#[test]
fn what_was_shown_to_a_reader_is_demanded_whatever_the_writer_was_told() {
    let shown = |before: bool| {
        let mut ledger = one();
        let look = ledger.look(b"k");
        let second = ledger.begin(&[b"k"], Change::Put);
        if !before {
            let other = ledger.begin(&[b"k"], Change::Delete);
            ledger.acknowledged(&other, &[]);
        }
        let found = Found::read(b"k", &second.value(b"k"), 11);
        ledger.seen(b"k", look, &found);
        ledger.unknown(&second);
        ledger
    };
    assert_eq!(found(&mut shown(true), &[(b"k", 2, 11)]), []);
    assert_eq!(found(&mut shown(true), &[(b"k", 1, 10)]).len(), 1);
    assert_eq!(shown(true).counts().seen, 1);
    // The removal may have been after what the reader saw.
    assert_eq!(found(&mut shown(false), &[]), []);
}

#[test]
fn a_refused_write_is_never_there() {
    let mut ledger = one();
    let second = ledger.begin(&[b"k"], Change::Put);
    ledger.refused(&second);
    assert_eq!(found(&mut ledger, &[(b"k", 2, 11)]).len(), 1);
}

#[test]
fn a_removed_entry_stays_removed_and_its_version_counts() {
    let removed = || {
        let mut ledger = one();
        let delete = ledger.begin(&[b"k"], Change::Delete);
        ledger.acknowledged(&delete, &[]);
        ledger
    };
    assert_eq!(found(&mut removed(), &[]), []);
    assert_eq!(found(&mut removed(), &[(b"k", 1, 10)]).len(), 1);
    let mut again = removed();
    let put = again.begin(&[b"k"], Change::Put);
    again.unknown(&put);
    assert_eq!(found(&mut again, &[(b"k", 3, 9)]).len(), 1);
}

#[test]
fn a_removal_with_an_unknown_outcome_may_have_taken_place() {
    let mut ledger = one();
    let delete = ledger.begin(&[b"k"], Change::Delete);
    ledger.unknown(&delete);
    assert_eq!(found(&mut ledger, &[]), []);
}

#[test]
fn half_a_batch_is_found() {
    let begun = || {
        let mut ledger = Ledger::new();
        let both = ledger.begin(&[b"a", b"b"], Change::Put);
        ledger.unknown(&both);
        ledger
    };
    assert_eq!(found(&mut begun(), &[]), []);
    assert_eq!(found(&mut begun(), &[(b"a", 1, 1), (b"b", 1, 2)]), []);
    let losses = found(&mut begun(), &[(b"b", 1, 2)]);
    assert!(matches!(losses[..], [Loss::Half { .. }]), "{losses:?}");
}

#[test]
fn of_two_writers_the_later_version_is_demanded() {
    let mut ledger = Ledger::new();
    let first = ledger.begin(&[b"a", b"b"], Change::Put);
    let second = ledger.begin(&[b"a", b"b"], Change::Put);
    ledger.acknowledged(&second, &[3, 4]);
    ledger.acknowledged(&first, &[1, 2]);
    assert_eq!(found(&mut ledger, &[(b"a", 2, 3), (b"b", 2, 4)]), []);
}

#[test]
fn what_is_acknowledged_after_the_cut_is_not_demanded() {
    let mut ledger = one();
    let late = ledger.begin(&[b"k"], Change::Put);
    ledger.cut();
    ledger.acknowledged(&late, &[11]);
    assert_eq!(found(&mut ledger, &[(b"k", 1, 10)]), []);
    let counts = Counts {
        acknowledged: 1,
        unknown: 1,
        ..Counts::default()
    };
    assert_eq!(ledger.counts(), counts);
}

#[test]
fn every_byte_of_a_value_counts() {
    for number in 0..200 {
        let value = value_of(b"key", number);
        assert_eq!(number_of(b"key", &value), Some(number));
        assert_eq!(number_of(b"other", &value), None);
        for at in [0, value.len() / 2, value.len() - 1] {
            let mut wrong = value.clone();
            wrong[at] ^= 0x10;
            assert_eq!(number_of(b"key", &wrong), None);
        }
    }
    assert_eq!(number_of(b"key", b"short"), None);
}

#[test]
fn what_is_left_is_a_prefix_of_the_writes_or_wrong() {
    let mut script = Script::default();
    script.put(b"a");
    script.put(b"b");
    script.delete(b"a");
    script.put(b"b");
    assert_eq!(script.entries(), BTreeMap::from([(b"b".to_vec(), 4)]));
    let left = |entries: &[(&[u8], u64)]| {
        let found = entries
            .iter()
            .map(|(key, number)| {
                (
                    key.to_vec(),
                    Found::read(key, &value_of(key, *number), *number),
                )
            })
            .collect();
        script.prefix(&found)
    };
    assert_eq!(left(&[]), Some(0));
    assert_eq!(left(&[(b"a", 1)]), Some(1));
    assert_eq!(left(&[(b"a", 1), (b"b", 2)]), Some(2));
    assert_eq!(left(&[(b"b", 2)]), Some(3));
    assert_eq!(left(&[(b"b", 4)]), Some(4));
    assert_eq!(left(&[(b"a", 1), (b"b", 4)]), None);
}
