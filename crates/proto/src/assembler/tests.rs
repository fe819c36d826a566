//! Each bound at its value and one past it, each rule, and what a refusal leaves behind.

use bytes::Bytes;

use super::*;
use crate::header::Flags;
use crate::opcode::OpcodeByte;

const ID: u32 = 7;
const MIN: usize = 4 * 1024;

fn assembler() -> Assembler {
    Assembler::new(AssemblerLimits::default())
}

fn with(change: impl FnOnce(&mut AssemblerLimits)) -> Assembler {
    let mut limits = AssemblerLimits::default();
    change(&mut limits);
    Assembler::new(limits)
}

fn first(request_id: u32, total: usize, value: &[u8]) -> Fragment<'_> {
    Fragment {
        request_id,
        opcode: OpcodeByte(2),
        flags: Flags::NONE,
        more: true,
        total_len: Some(u32::try_from(total).unwrap()),
        ext: b"ext",
        key: b"key",
        value,
    }
}

fn next(request_id: u32, value: &[u8]) -> Fragment<'_> {
    Fragment {
        total_len: None,
        ext: &[],
        key: &[],
        ..first(request_id, 0, value)
    }
}

fn last(request_id: u32, value: &[u8]) -> Fragment<'_> {
    Fragment {
        more: false,
        ..next(request_id, value)
    }
}

/// The error, after checking that it left no trace.
#[track_caller]
fn refused(assembler: &mut Assembler, fragment: &Fragment<'_>) -> AssemblerError {
    let before = format!("{assembler:?}");
    let error = assembler.accept(0, fragment).unwrap_err();
    assert_eq!(error.scope(), AssemblyScope::Connection, "{error}");
    assert!(error.close_reason().is_some());
    assert_eq!(
        before,
        format!("{assembler:?}"),
        "a refused fragment leaves no trace"
    );
    error
}

#[test]
fn fragments_become_one_message_with_the_head_of_the_first() {
    let mut assembler = assembler();
    let (a, b, c) = ([1; MIN], [2; MIN], [3; 10]);
    let total = 2 * MIN + 10;
    assert_eq!(
        assembler.accept(0, &first(ID, total, &a)),
        Ok(Assembly::Pending)
    );
    assert_eq!(assembler.accept(1, &next(ID, &b)), Ok(Assembly::Pending));
    let whole = Assembled {
        request_id: ID,
        opcode: OpcodeByte(2),
        flags: Flags::NONE,
        ext: Bytes::from_static(b"ext"),
        key: Bytes::from_static(b"key"),
        value: [a.as_slice(), &b, &c].concat().into(),
    };
    assert_eq!(
        assembler.accept(2, &last(ID, &c)),
        Ok(Assembly::Complete(whole))
    );
    assert!(assembler.is_empty());
    assert_eq!(assembler.retained_bytes(), 0);
    assert_eq!(assembler.next_deadline(), None);
}

#[test]
fn messages_interleave() {
    let mut assembler = assembler();
    let piece = [9; MIN];
    for id in 1..=3 {
        assembler.begin(0, &first(id, MIN + 1, &piece)).unwrap();
    }
    for id in [2, 3, 1] {
        let end = [u8::try_from(id).unwrap()];
        let Ok(Assembly::Complete(message)) = assembler.append(0, &last(id, &end)) else {
            panic!("message {id} is complete");
        };
        assert_eq!(
            (message.request_id, message.value.last()),
            (id, Some(&end[0]))
        );
    }
}

#[test]
fn a_message_of_the_longest_length_passes_and_one_byte_more_is_refused() {
    let max = 64 * 1024;
    let mut assembler = with(|limits| limits.message_bytes_max = max);
    let piece = vec![0; max - 1];
    assembler.begin(0, &first(1, max, &piece)).unwrap();
    assert!(matches!(
        assembler.append(0, &last(1, &[1])),
        Ok(Assembly::Complete(_))
    ));

    let error = assembler.begin(0, &first(2, max + 1, &piece)).unwrap_err();
    assert_eq!(
        error,
        AssemblerError::MessageTooLong {
            declared: max + 1,
            max
        }
    );
    assert_eq!(error.scope(), AssemblyScope::Request);
    assert_eq!(error.error_code(), Some(crate::error::ErrorCode::TooLarge));
    assert_eq!(assembler.retained_bytes(), 0);
    // The rest of it is swallowed and the connection goes on.
    assert_eq!(
        assembler.append(0, &last(2, &[1, 2])),
        Ok(Assembly::Swallowed)
    );
    assert!(assembler.is_empty());
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut assembler = with(|limits| limits.message_bytes_max = usize::MAX);
    assembler
        .begin(0, &first(ID, 4_294_967_295, &[0; MIN]))
        .unwrap();
    assert!(
        assembler.retained_bytes() <= 2 * MIN,
        "{}",
        assembler.retained_bytes()
    );
}

#[test]
fn the_buffer_is_never_more_than_twice_what_came() {
    let total = 1024 * 1024;
    let mut assembler = assembler();
    let piece = [0; MIN];
    assembler.begin(0, &first(ID, total, &piece)).unwrap();
    for received in (2 * MIN..total).step_by(MIN) {
        let before = assembler.retained_bytes();
        let growth = assembler.growth(&next(ID, &piece));
        let _ = assembler.append(0, &next(ID, &piece)).unwrap();
        assert_eq!(
            assembler.retained_bytes(),
            before + growth,
            "growth is told beforehand"
        );
        assert!(assembler.retained_bytes() <= (2 * received).min(total) + 6);
    }
}

#[test]
fn as_many_messages_as_allowed_and_not_one_more() {
    let mut assembler = assembler();
    for id in 1..=64 {
        assembler.begin(0, &first(id, 2 * MIN, &[0; MIN])).unwrap();
    }
    let error = refused(&mut assembler, &first(65, 2 * MIN, &[0; MIN]));
    assert_eq!(error, AssemblerError::TooManyMessages { max: 64 });
    assert!(assembler.abort(3));
    assembler.begin(0, &first(65, 2 * MIN, &[0; MIN])).unwrap();
}

#[test]
fn swallowed_messages_count_against_the_number_of_messages() {
    let mut assembler = with(|limits| limits.messages_max = 1);
    assembler
        .begin(0, &first(1, usize::from(u16::MAX) << 12, &[0; MIN]))
        .unwrap_err();
    let error = refused(&mut assembler, &first(2, 2 * MIN, &[0; MIN]));
    assert_eq!(error, AssemblerError::TooManyMessages { max: 1 });
}

#[test]
fn retained_bytes_may_reach_their_limit_and_not_pass_it() {
    let head = b"extkey".len();
    let mut assembler = with(|limits| limits.retained_bytes_max = 2 * (MIN + head));
    for id in [1, 2] {
        assembler.begin(0, &first(id, MIN + 1, &[0; MIN])).unwrap();
    }
    assert_eq!(assembler.retained_bytes(), 2 * (MIN + head));
    let error = assembler
        .begin(0, &first(3, MIN + 1, &[0; MIN]))
        .unwrap_err();
    assert_eq!(
        error,
        AssemblerError::RetainedTooMuch {
            max: 2 * (MIN + head)
        }
    );
    assert_eq!(error.scope(), AssemblyScope::Request);
    assert_eq!(assembler.append(0, &last(3, &[0])), Ok(Assembly::Swallowed));

    // One byte more for a message that is held already: it is let go, the other one is not.
    let error = assembler.append(0, &last(1, &[0])).unwrap_err();
    assert_eq!(
        error,
        AssemblerError::RetainedTooMuch {
            max: 2 * (MIN + head)
        }
    );
    assert!(!assembler.contains(1));
    assert_eq!(assembler.retained_bytes(), MIN + head);
    assert!(matches!(
        assembler.append(0, &last(2, &[0])),
        Ok(Assembly::Complete(_))
    ));
}

#[test]
fn a_message_refused_on_the_way_frees_its_bytes_and_is_swallowed() {
    let mut assembler = with(|limits| limits.retained_bytes_max = 4 * MIN);
    assembler.begin(0, &first(1, 8 * MIN, &[0; MIN])).unwrap();
    let error = assembler.append(0, &next(1, &[0; 4 * MIN])).unwrap_err();
    assert_eq!(error.scope(), AssemblyScope::Request);
    assert_eq!(assembler.retained_bytes(), 0);
    assert_eq!(
        assembler.append(0, &next(1, &[0; 2 * MIN])),
        Ok(Assembly::Pending)
    );
    assert_eq!(
        assembler.append(0, &last(1, &[0; MIN])),
        Ok(Assembly::Swallowed)
    );
}

#[test]
fn a_small_fragment_is_charged_as_a_larger_one() {
    let mut assembler = with(|limits| {
        limits.fragment_bytes_min = 1;
        limits.retained_bytes_max = 3 * 512;
    });
    for _ in 0..2 {
        assembler
            .accept(
                0,
                &if assembler.is_empty() {
                    first(1, 9, &[0])
                } else {
                    next(1, &[0])
                },
            )
            .map(|result| assert_eq!(result, Assembly::Pending))
            .unwrap();
    }
    assert_eq!(assembler.retained_bytes(), 2 * 512);
    let _ = assembler.append(0, &next(1, &[0])).unwrap();
    let error = assembler.append(0, &next(1, &[0])).unwrap_err();
    assert_eq!(error, AssemblerError::RetainedTooMuch { max: 3 * 512 });
}

#[test]
fn fragments_of_the_smallest_size_pass_and_smaller_ones_do_not() {
    let mut assembler = assembler();
    let error = refused(&mut assembler, &first(ID, 9 * MIN, &[0; MIN - 1]));
    assert_eq!(
        error,
        AssemblerError::FragmentTooSmall {
            len: MIN - 1,
            min: MIN
        }
    );
    assembler
        .begin(0, &first(ID, 2 * MIN + 1, &[0; MIN]))
        .unwrap();
    let error = refused(&mut assembler, &next(ID, &[0; MIN - 1]));
    assert_eq!(
        error,
        AssemblerError::FragmentTooSmall {
            len: MIN - 1,
            min: MIN
        }
    );
    assert_eq!(
        assembler.append(0, &next(ID, &[0; MIN])),
        Ok(Assembly::Pending)
    );
    let error = refused(&mut assembler, &last(ID, &[]));
    assert_eq!(error, AssemblerError::FragmentTooSmall { len: 0, min: 1 });
    assert!(matches!(
        assembler.append(0, &last(ID, &[0])),
        Ok(Assembly::Complete(_))
    ));
}

#[test]
fn an_empty_continuation_is_a_violation() {
    let mut assembler = with(|limits| limits.fragment_bytes_min = 1);
    let error = refused(&mut assembler, &first(ID, 10, &[]));
    assert_eq!(error, AssemblerError::FragmentTooSmall { len: 0, min: 1 });
    assembler.begin(0, &first(ID, 10, &[0])).unwrap();
    refused(&mut assembler, &next(ID, &[]));
}

#[test]
fn the_largest_number_of_fragments_passes_and_one_more_does_not() {
    for count in [4, 5] {
        let mut assembler = with(|limits| {
            limits.fragment_bytes_min = 1;
            limits.fragments_max = 4;
        });
        assembler.begin(0, &first(ID, count, &[0])).unwrap();
        for _ in 0..2 {
            assert_eq!(assembler.append(0, &next(ID, &[0])), Ok(Assembly::Pending));
        }
        if count == 4 {
            assert!(matches!(
                assembler.append(0, &last(ID, &[0])),
                Ok(Assembly::Complete(_))
            ));
        } else {
            let error = refused(&mut assembler, &next(ID, &[0]));
            assert_eq!(error, AssemblerError::TooManyFragments { max: 4 });
        }
    }
}

#[test]
fn the_default_number_of_fragments_is_what_the_longest_message_needs() {
    let limits = AssemblerLimits::default();
    assert_eq!(limits.fragments_max, 4_096);
    let mut assembler = Assembler::new(limits);
    let piece = [0; MIN];
    assembler
        .begin(0, &first(ID, limits.message_bytes_max, &piece))
        .unwrap();
    for _ in 2..4_096 {
        assert_eq!(
            assembler.append(0, &next(ID, &piece)),
            Ok(Assembly::Pending)
        );
    }
    assert!(matches!(
        assembler.append(0, &last(ID, &piece)),
        Ok(Assembly::Complete(_))
    ));
}

#[test]
fn the_longest_message_that_is_allowed_always_fits_with_its_head() {
    for message_bytes_max in [64 * 1024, 40 * 1024 * 1024] {
        let mut assembler =
            Assembler::new(AssemblerLimits::with_message_bytes_max(message_bytes_max));
        let piece = vec![0; 32 * 1024];
        let head = Fragment {
            ext: &[0; 255],
            key: &[0; 65_535],
            ..first(ID, message_bytes_max, &piece)
        };
        assembler.begin(0, &head).unwrap();
        for _ in 2..message_bytes_max / piece.len() {
            assert_eq!(
                assembler.append(0, &next(ID, &piece)),
                Ok(Assembly::Pending)
            );
        }
        assert!(matches!(
            assembler.append(0, &last(ID, &piece)),
            Ok(Assembly::Complete(_))
        ));
    }
    assert_eq!(
        AssemblerLimits::default().retained_bytes_max,
        32 * 1024 * 1024
    );
}

#[test]
fn the_value_is_exactly_as_long_as_declared() {
    let total = 2 * MIN;
    let request_id = ID;
    for (fragment, expected) in [
        (
            last(ID, &[0; MIN - 1]),
            AssemblerError::ShorterThanDeclared { request_id },
        ),
        (
            last(ID, &[0; MIN + 1]),
            AssemblerError::LongerThanDeclared { request_id },
        ),
        (
            next(ID, &[0; MIN]),
            AssemblerError::LongerThanDeclared { request_id },
        ),
    ] {
        let mut assembler = assembler();
        assembler.begin(0, &first(ID, total, &[0; MIN])).unwrap();
        assert_eq!(refused(&mut assembler, &fragment), expected);
        assert!(matches!(
            assembler.append(0, &last(ID, &[0; MIN])),
            Ok(Assembly::Complete(_))
        ));
    }
    let error = refused(&mut assembler(), &first(ID, MIN, &[0; MIN]));
    assert_eq!(error, AssemblerError::LongerThanDeclared { request_id });
}

#[test]
fn a_continuation_that_differs_from_its_first_fragment_is_a_violation() {
    let mut assembler = assembler();
    let value = [0; MIN];
    assembler.begin(0, &first(ID, 9 * MIN, &value)).unwrap();
    let good = next(ID, &value);
    for bad in [
        Fragment {
            opcode: OpcodeByte(6),
            ..good
        },
        Fragment {
            flags: Flags::COMPRESSED,
            ..good
        },
        Fragment { ext: b"e", ..good },
        Fragment { key: b"k", ..good },
        first(ID, 9 * MIN, &value),
    ] {
        let error = refused(&mut assembler, &bad);
        assert_eq!(error, AssemblerError::Changed { request_id: ID });
    }
    assert_eq!(assembler.append(0, &good), Ok(Assembly::Pending));
}

#[test]
fn what_cannot_begin_or_go_on_is_a_violation() {
    let value = [0; MIN];
    let mut assembler = assembler();
    let no_total = Fragment {
        total_len: None,
        ..first(ID, 0, &value)
    };
    let error = refused(&mut assembler, &no_total);
    assert_eq!(error, AssemblerError::NoTotalLength { request_id: ID });
    let alone = Fragment {
        more: false,
        ..first(ID, MIN, &value)
    };
    let error = refused(&mut assembler, &alone);
    assert_eq!(error, AssemblerError::NotContinued { request_id: ID });
    assert_eq!(
        assembler.append(0, &next(ID, &value)),
        Err(AssemblerError::NotBegun { request_id: ID })
    );
    assembler.begin(0, &first(ID, 9 * MIN, &value)).unwrap();
    assert_eq!(
        assembler.begin(0, &first(ID, 9 * MIN, &value)),
        Err(AssemblerError::AlreadyBegun { request_id: ID })
    );
}

#[test]
fn an_aborted_message_frees_its_bytes_at_once_and_is_forgotten() {
    let mut assembler = assembler();
    assembler.begin(0, &first(ID, 9 * MIN, &[0; MIN])).unwrap();
    assert!(assembler.abort(ID));
    assert!(!assembler.abort(ID));
    assert_eq!(
        (assembler.retained_bytes(), assembler.next_deadline()),
        (0, None)
    );
    assert_eq!(
        assembler.append(0, &next(ID, &[0; MIN])),
        Err(AssemblerError::NotBegun { request_id: ID })
    );
}

#[test]
fn a_message_refused_by_the_caller_is_swallowed() {
    let mut assembler = assembler();
    assembler.begin(0, &first(ID, 2 * MIN, &[0; MIN])).unwrap();
    assert!(assembler.refuse(ID));
    assert!(!assembler.refuse(ID + 1));
    assert_eq!(assembler.retained_bytes(), 0);
    assert_eq!(
        assembler.append(0, &last(ID, &[0; MIN])),
        Ok(Assembly::Swallowed)
    );
}

/// Fast enough for the rate, so that only the limit in question can fire.
fn unhurried() -> Assembler {
    with(|limits| limits.rate_window_ms = u64::MAX)
}

#[test]
fn a_message_without_progress_ends_at_its_deadline_and_not_before() {
    let mut assembler = unhurried();
    assembler
        .begin(1_000, &first(ID, 9 * MIN, &[0; MIN]))
        .unwrap();
    let _ = assembler.append(3_000, &next(ID, &[0; MIN])).unwrap();
    assert_eq!(assembler.expire(12_999), None);
    assert_eq!(
        assembler.expire(13_000),
        Some(Overdue::NoProgress { request_id: ID })
    );
    assert_eq!(assembler.expire(13_000), None);
    assert_eq!((assembler.len(), assembler.retained_bytes()), (0, 0));
}

#[test]
fn a_fragment_after_the_deadline_does_not_save_its_message() {
    let mut assembler = unhurried();
    assembler.begin(0, &first(ID, 9 * MIN, &[0; MIN])).unwrap();
    let error = assembler.append(10_000, &next(ID, &[0; MIN])).unwrap_err();
    assert_eq!(error, Overdue::NoProgress { request_id: ID }.into());
    assert_eq!(error.scope(), AssemblyScope::Connection);
}

#[test]
fn a_message_is_complete_within_its_total_time_or_never() {
    let mut assembler = unhurried();
    assembler.begin(0, &first(ID, 99 * MIN, &[0; MIN])).unwrap();
    for second in 1..60 {
        let _ = assembler
            .append(second * 1_000, &next(ID, &[0; MIN]))
            .unwrap();
    }
    assert_eq!(assembler.next_deadline(), Some(60_000));
    assert_eq!(assembler.expire(59_999), None);
    assert_eq!(
        assembler.expire(60_000),
        Some(Overdue::TooLong { request_id: ID })
    );
}

#[test]
fn the_minimum_rate_is_judged_per_window() {
    // 16 KiB/s over 5 s: 80 KiB per window.
    for (bytes, passes) in [(80 * 1024, true), (80 * 1024 - 1, false)] {
        let mut assembler = assembler();
        assembler
            .begin(1_000, &first(ID, 1024 * 1024, &vec![0; bytes]))
            .unwrap();
        if passes {
            assert_eq!(assembler.next_deadline(), Some(11_000));
            assert_eq!(assembler.expire(6_000), None);
            assert_eq!(assembler.next_deadline(), Some(11_000));
        } else {
            assert_eq!(assembler.next_deadline(), Some(6_000));
            assert_eq!(assembler.expire(5_999), None);
            assert_eq!(assembler.expire(6_000), Some(Overdue::TooSlow));
            assert!(assembler.is_empty());
        }
    }
}

#[test]
fn a_dribble_of_smallest_fragments_is_too_slow() {
    let mut assembler = assembler();
    assembler
        .begin(0, &first(ID, 1024 * 1024, &[0; MIN]))
        .unwrap();
    for second in 1..5 {
        let _ = assembler
            .append(second * 1_000, &next(ID, &[0; MIN]))
            .unwrap();
    }
    let error = assembler.append(5_000, &next(ID, &[0; MIN])).unwrap_err();
    assert_eq!(error, Overdue::TooSlow.into());
}

#[test]
fn messages_that_take_turns_share_the_rate() {
    let mut assembler = assembler();
    for id in 0..10 {
        assembler
            .begin(0, &first(id, 1024 * 1024, &[0; 2 * MIN]))
            .unwrap();
    }
    assert_eq!(assembler.expire(5_000), None);
}

#[test]
fn postponing_moves_every_deadline() {
    let mut assembler = assembler();
    assembler
        .begin(0, &first(ID, 1024 * 1024, &[0; MIN]))
        .unwrap();
    assert_eq!(assembler.next_deadline(), Some(5_000));
    assembler.postpone(700);
    assert_eq!(assembler.next_deadline(), Some(5_700));
    assert_eq!(assembler.expire(5_699), None);
    assert_eq!(assembler.expire(5_700), Some(Overdue::TooSlow));
}

#[test]
fn a_clock_that_goes_back_counts_as_standing_still() {
    let mut assembler = unhurried();
    assembler
        .begin(50_000, &first(ID, 9 * MIN, &[0; MIN]))
        .unwrap();
    let _ = assembler.append(1_000, &next(ID, &[0; MIN])).unwrap();
    assert_eq!(assembler.next_deadline(), Some(60_000));
}
