use super::*;

const ALL: ExtSet = ExtSet(u32::MAX);

fn full() -> Extensions<'static> {
    Extensions {
        ttl_ms: Some(1),
        version: Some(2),
        deadline_ms: Some(3),
        trace: Some(&[4; 25]),
        content_type: Some(5),
        credit: Some(6),
        delay_ms: Some(7),
        fairness_key: Some(&[8; 64]),
        attempt: Some(9),
        limit: Some(10),
        event: Some(11),
        from_version: Some(12),
        value_len: Some(13),
        message_id: Some(14),
        lost: Some(15),
        if_version: Some(IF_PRESENT),
        returns: Some(3),
        total_len: Some(19),
        idempotency: Some(Idempotency {
            client: [20; 16],
            operation: 21,
        }),
        atomic: true,
        reverse: true,
        exact: true,
        policy: Some(1),
    }
}

#[test]
fn a_block_with_every_item_round_trips() {
    let block = full().encode();
    assert_eq!(Extensions::decode(block.as_bytes(), ALL), Ok(full()));
}

#[test]
fn an_empty_block_says_nothing() {
    assert_eq!(
        Extensions::decode(&[], ExtSet::NONE),
        Ok(Extensions::default())
    );
    assert_eq!(Extensions::default().encode().as_bytes(), &[] as &[u8]);
}

#[test]
fn order_and_duplicates_are_refused_with_their_offset() {
    for block in [&[2, 0, 1, 0][..], &[5, 1, 0, 5, 1, 0][..]] {
        let Err(ExtError::Malformed(error)) = Extensions::decode(block, ExtSet::NONE) else {
            panic!("accepted {block:?}");
        };
        assert_eq!(error.kind, DecodeKind::OutOfRange);
        assert!(error.offset > 0);
    }
}

#[test]
fn every_cut_of_a_block_is_truncated_or_a_shorter_block() {
    let block = full().encode();
    let mut truncated = 0;
    for end in 0..block.as_bytes().len() {
        if let Err(error) = Extensions::decode(&block.as_bytes()[..end], ALL) {
            assert!(matches!(error, ExtError::Malformed(e) if e.kind == DecodeKind::Truncated));
            truncated += 1;
        }
    }
    assert!(truncated > 100);
}

#[test]
fn unknown_optional_items_are_skipped_and_unknown_critical_ones_refused() {
    assert_eq!(
        Extensions::decode(&[0x7f, 1, 9], ALL),
        Ok(Extensions::default())
    );
    assert_eq!(
        Extensions::decode(&[0xf0, 0], ALL),
        Err(ExtError::UnknownCritical(0xf0))
    );
    assert_eq!(
        Extensions::decode(&[0x85, 0], ExtSet::NONE),
        Err(ExtError::NotHere(0x85))
    );
    assert_eq!(
        Extensions::decode(&[0x05, 1, 1], ExtSet::NONE),
        Ok(Extensions::default())
    );
}

#[test]
fn a_wrong_length_for_the_type_is_out_of_range() {
    for block in [
        &[1, 1, 0][..],
        &[5, 2, 0, 0],
        &[8, 0],
        &[0x85, 1, 0],
        &[0x84, 2, 0, 0],
    ] {
        assert!(matches!(
            Extensions::decode(block, ALL),
            Err(ExtError::Malformed(DecodeError {
                kind: DecodeKind::OutOfRange,
                ..
            }))
        ));
    }
}

#[test]
fn total_len_is_found_whatever_stands_beside_it() {
    let with = |before: &[u8], after: &[u8]| {
        let block = [before, &[0x83, 4, 0, 0, 0x23, 0x28], after].concat();
        Extensions::total_len(&block)
    };
    assert_eq!(with(&[], &[]), Some(9_000));
    assert_eq!(with(&[0x30, 1, 7, 0x81, 0], &[0xf0, 0]), Some(9_000));
    assert_eq!(with(&[0x30, 200], &[]), None);
    for block in [
        &[][..],
        &[0x83],
        &[0x83, 4, 0],
        &[0x83, 3, 0, 0, 1],
        &[0x01, 0],
    ] {
        assert_eq!(Extensions::total_len(block), None);
    }
}
