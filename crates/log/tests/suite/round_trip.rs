//! What goes in comes out: rotation, spares, release, positions.

use std::fs;
use std::io::ErrorKind;

use kv_log::{Group, Log, LogError};

use crate::support::{Owned, STORE, config, files, open, segments, try_open, write};

const SEGMENT: u64 = 16 << 10;

#[test]
fn an_absent_directory_becomes_an_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    for _ in 0..2 {
        let opened = open(&dir, SEGMENT, 0);
        assert_eq!(opened.groups, []);
        assert_eq!(opened.recovery, kv_log::Recovery::default());
        assert_eq!((opened.log.last(), opened.log.segment_count()), (0, 1));
    }
}

#[test]
fn groups_of_all_sizes_come_back_through_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    let sizes = [
        0, 1, 7, 8, 9, 500, 4096, 12_000, 12_240, 12_241, 20_000, 100_000,
    ];
    for round in 0..4 {
        let mut opened = open(dir.path(), SEGMENT, 0);
        assert_eq!(opened.groups, written, "round {round}");
        assert_eq!(opened.recovery.torn, None);
        for bytes in sizes {
            written.extend(write(&mut opened.log, 2, bytes));
        }
        let last = written.last().unwrap();
        assert_eq!(opened.log.last(), last.last);
        assert_eq!(opened.log.durable(), last.last);
        let on_disk: usize = written
            .iter()
            .map(|group| 48 + group.payload.len().next_multiple_of(8))
            .sum();
        assert_eq!(opened.log.live_bytes(), on_disk as u64);
    }
    let count = segments(dir.path()).len();
    assert!(count > 20, "{count} segments");
    let opened = open(dir.path(), SEGMENT, 0);
    assert_eq!(opened.recovery.groups, written.len() as u64);
    assert_eq!(opened.recovery.time_ms, written.last().unwrap().time_ms);
    assert_eq!(opened.recovery.bytes, opened.log.live_bytes());
}

#[test]
fn only_groups_behind_the_given_position_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    let written = write(&mut opened.log, 60, 1_000);
    drop(opened);
    for after in 0..=written.last().unwrap().last {
        let opened = open(dir.path(), SEGMENT, after);
        let behind: Vec<_> = written.iter().filter(|group| group.last > after).collect();
        assert!(opened.groups.iter().eq(behind), "after {after}");
        assert_eq!(opened.recovery.last, written.last().unwrap().last);
    }
}

#[test]
fn a_log_that_ends_before_the_given_position_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    write(&mut open(dir.path(), SEGMENT, 0).log, 3, 100);
    let mut opened = open(dir.path(), SEGMENT, 1_000);
    assert_eq!(opened.groups, []);
    assert_eq!(opened.log.last(), 1_000);
    let written = write(&mut opened.log, 3, 100);
    drop(opened);
    assert_eq!(open(dir.path(), SEGMENT, 1_000).groups, written);
    // What lies between is nowhere; that must not pass in silence.
    assert!(matches!(
        try_open(dir.path(), SEGMENT, 5),
        Err(LogError::Corrupt { .. })
    ));
}

#[test]
fn groups_that_do_not_follow_are_refused_and_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 7);
    for (first, last) in [(7, 7), (9, 9), (8, 7), (0, 0), (8, u64::MAX)] {
        let group = Group {
            first,
            last,
            time_ms: 0,
            payload: b"",
        };
        let error = opened.log.append(group).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{first}..={last}");
    }
    let written = write(&mut opened.log, 1, 10);
    drop(opened);
    assert_eq!(open(dir.path(), SEGMENT, 7).groups, written);
}

#[test]
fn released_segments_become_spares_and_their_groups_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    let caretaker = opened.log.caretaker();
    let mut written = Vec::new();
    for round in 0..30 {
        // Always the same payloads at the same places: the old content fits the new headers.
        caretaker.prepare().unwrap();
        for index in 0..20 {
            let mut group = Owned::behind(opened.log.last(), 1, 0);
            group.payload = vec![index; 1_000];
            opened.log.append(group.group()).unwrap();
            opened.log.sync().unwrap();
            written.push(group);
        }
        let through = caretaker.sealed_through();
        assert!(caretaker.sealed_bytes() > 0);
        caretaker.release(through).unwrap();
        assert_eq!(
            (caretaker.sealed_bytes(), caretaker.sealed_through()),
            (0, 0)
        );
        assert_eq!(opened.log.segment_count(), 1);
        written.retain(|group| group.last > through);
        let again = Log::check(dir.path(), &STORE, through, &mut |group| {
            assert!(written.contains(&Owned::from(group)));
            Ok(())
        });
        let report = again.unwrap();
        assert_eq!(
            report.recovery.groups,
            written.len() as u64,
            "round {round}"
        );
        assert_eq!(report.recovery.torn, None);
    }
    assert!(!files(dir.path(), "spare").is_empty());
    assert_eq!(segments(dir.path()).len(), 1);
    let after = written[0].first - 1;
    drop(opened);
    let opened = open(dir.path(), SEGMENT, after);
    assert_eq!(opened.groups, written);
    assert_eq!(
        opened.log.caretaker().spare_count(),
        caretaker.spare_count()
    );
}

#[test]
fn release_keeps_what_is_needed_and_the_segment_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    let caretaker = opened.log.caretaker();
    let written = write(&mut opened.log, 60, 1_000);
    let count = opened.log.segment_count();
    assert!(count > 4);
    caretaker.release(0).unwrap();
    assert_eq!(opened.log.segment_count(), count);
    let middle = written[30].last;
    caretaker.release(middle).unwrap();
    assert!(opened.log.segment_count() < count);
    caretaker.release(u64::MAX).unwrap();
    assert_eq!(opened.log.segment_count(), 1);
    drop(opened);
    assert_eq!(
        open(dir.path(), SEGMENT, written[55].last).groups,
        written[56..]
    );
}

#[test]
fn a_prepared_spare_is_used_and_a_second_one_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    let caretaker = opened.log.caretaker();
    assert!(caretaker.prepare().unwrap());
    assert!(!caretaker.prepare().unwrap());
    assert_eq!(files(dir.path(), "zeros").len(), 1);
    let mut written = write(&mut opened.log, 20, 1_000);
    assert_eq!(caretaker.spare_count(), 0);
    assert!(caretaker.prepare().unwrap());
    drop(opened);
    // Kept by the next opening, but not by one with another size of segments.
    let mut opened = open(dir.path(), SEGMENT, 0);
    assert_eq!(opened.log.caretaker().spare_count(), 1);
    written.extend(write(&mut opened.log, 20, 1_000));
    opened.log.caretaker().prepare().unwrap();
    drop(opened);
    let opened = open(dir.path(), 2 * SEGMENT, 0);
    assert_eq!(opened.log.caretaker().spare_count(), 0);
    assert_eq!(opened.groups, written);
}

#[test]
fn a_spare_that_vanished_is_replaced_by_a_fresh_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    opened.log.caretaker().prepare().unwrap();
    fs::remove_file(&files(dir.path(), "zeros")[0]).unwrap();
    let written = write(&mut opened.log, 40, 1_000);
    drop(opened);
    assert_eq!(open(dir.path(), SEGMENT, 0).groups, written);
}

#[test]
fn a_spare_that_cannot_be_made_is_reported_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    // The name of the unfinished spare is taken by something that is no file.
    fs::create_dir(dir.path().join("prepared.tmp")).unwrap();
    assert!(opened.log.caretaker().prepare().is_err());
    let written = write(&mut opened.log, 40, 1_000);
    drop(opened);
    fs::remove_dir(dir.path().join("prepared.tmp")).unwrap();
    assert_eq!(open(dir.path(), SEGMENT, 0).groups, written);
}

#[test]
fn a_visitor_that_refuses_stops_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    write(&mut open(dir.path(), SEGMENT, 0).log, 3, 100);
    let mut seen = 0;
    let result = Log::open(dir.path(), config(SEGMENT), 0, &mut |_| {
        seen += 1;
        if seen == 2 { Err("no".into()) } else { Ok(()) }
    });
    let error = result.unwrap_err();
    assert!(matches!(error, LogError::Visit { .. }), "{error}");
    assert_eq!(seen, 2);
    assert_eq!(open(dir.path(), SEGMENT, 0).groups.len(), 3);
}
