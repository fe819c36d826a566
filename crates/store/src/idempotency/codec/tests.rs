//! Answers there and back, and bytes of no answer.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const ERRORS: [StoreError; 9] = [
    StoreError::KeyLength,
    StoreError::ValueTooLong,
    StoreError::OutOfMemory,
    StoreError::DiskFull,
    StoreError::Unavailable,
    StoreError::OutcomeUnknown,
    StoreError::OperationExpired,
    StoreError::Unsupported,
    StoreError::Corrupt,
];

fn error() -> impl Strategy<Value = StoreError> {
    prop::sample::select(ERRORS.to_vec())
}

fn expiry() -> impl Strategy<Value = Option<NonZeroU64>> {
    any::<u64>().prop_map(|at| NonZeroU64::new(at / 2))
}

fn entry() -> impl Strategy<Value = OwnedEntry> {
    (
        vec(any::<u8>(), 0..100),
        any::<u64>(),
        expiry(),
        any::<u8>(),
    )
        .prop_map(|(value, version, expires_at, content_type)| OwnedEntry {
            value: value.into(),
            version,
            expires_at,
            content_type,
        })
}

fn previous() -> impl Strategy<Value = Option<OwnedEntry>> {
    prop_oneof![Just(None), entry().prop_map(Some)]
}

fn outcome() -> impl Strategy<Value = OwnedOutcome> {
    prop_oneof![
        entry().prop_map(OwnedOutcome::Found),
        Just(OwnedOutcome::Missing),
        (any::<u64>(), expiry(), previous()).prop_map(|(version, expires_at, previous)| {
            OwnedOutcome::Written {
                version,
                expires_at,
                previous,
            }
        }),
        previous().prop_map(|previous| OwnedOutcome::Deleted { previous }),
        (any::<i64>(), any::<u64>(), expiry()).prop_map(|(value, version, expires_at)| {
            OwnedOutcome::Counted {
                value,
                version,
                expires_at,
            }
        }),
        any::<u64>().prop_map(|version| OwnedOutcome::Conflict { version }),
        Just(OwnedOutcome::WrongType),
        error().prop_map(OwnedOutcome::Failed),
    ]
}

fn answer() -> impl Strategy<Value = BatchOutcome> {
    prop_oneof![
        vec(outcome(), 0..10).prop_map(BatchOutcome::Done),
        (0_usize..1_000_000, outcome())
            .prop_map(|(index, outcome)| BatchOutcome::Refused { index, outcome }),
        error().prop_map(BatchOutcome::Failed),
    ]
}

fn encoded(answer: &BatchOutcome) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_outcome(answer, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn answers_come_back_as_they_were(answer in answer()) {
        prop_assert_eq!(decode_outcome(&encoded(&answer)), Ok(answer));
    }

    #[test]
    fn an_answer_cut_short_or_with_more_behind_it_is_none(answer in answer(), more: u8) {
        let mut bytes = encoded(&answer);
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_outcome(&bytes[..len]), Err(StoreError::Corrupt));
        }
        bytes.push(more);
        prop_assert_eq!(decode_outcome(&bytes), Err(StoreError::Corrupt));
    }

    #[test]
    fn what_can_be_read_has_one_form(
        answer in answer(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = encoded(&answer);
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at.index(len)] = byte;
        }
        if let Ok(read) = decode_outcome(&bytes) {
            prop_assert_eq!(encoded(&read), bytes);
        }
    }
}

#[test]
fn a_declared_length_that_is_not_there_is_refused() {
    for bytes in [
        &[1, 0, 0xff, 0xff, 0xff, 0xff][..],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 1],
        &[1, 1, 0, 0, 0, 0, 3 | 0x20, 0, 0, 0, 0, 0, 0, 0, 1],
        &[2, 2, 1],
        &[],
    ] {
        assert_eq!(decode_outcome(bytes), Err(StoreError::Corrupt));
    }
}

#[test]
fn an_answer_keeps_its_form() {
    let written = OwnedOutcome::Written {
        version: 0x0102,
        expires_at: NonZeroU64::new(7),
        previous: None,
    };
    assert_eq!(
        encoded(&BatchOutcome::Done(vec![written, OwnedOutcome::Missing])),
        [
            1, 0, 0, 0, 0, 2, 0x12, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 1
        ]
    );
    for (number, error) in (1..).zip(ERRORS) {
        assert_eq!(encoded(&BatchOutcome::Failed(error)), [1, 2, number]);
    }
}

#[test]
fn values_are_kept_up_to_a_bound_and_what_goes_beyond_is_said_to_be_lost() {
    let found = |len: usize| {
        OwnedOutcome::Found(OwnedEntry {
            value: vec![7; len].into(),
            version: 3,
            expires_at: None,
            content_type: 0,
        })
    };
    let lost = OwnedOutcome::Failed(StoreError::OperationExpired);
    let answer = BatchOutcome::Done(vec![
        found(KEPT_VALUE_BYTES_MAX - 1),
        found(2),
        OwnedOutcome::Missing,
        found(1),
    ]);
    let kept = vec![
        found(KEPT_VALUE_BYTES_MAX - 1),
        lost,
        OwnedOutcome::Missing,
        found(1),
    ];
    let bytes = encoded(&answer);
    assert!(bytes.len() < KEPT_VALUE_BYTES_MAX + 100);
    assert_eq!(decode_outcome(&bytes), Ok(BatchOutcome::Done(kept)));
}
