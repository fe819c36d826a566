//! Whole files that are missing, left over, from elsewhere, or from a later version.

use std::fs;
use std::path::Path;

use kv_log::{Damage, FORMAT, Log, LogConfig, LogError};

use crate::support::{Owned, files, open, segments, try_open, write};

const SEGMENT: u64 = 8 << 10;

fn log_of_five_segments(dir: &Path) -> Vec<Owned> {
    let written = write(&mut open(dir, SEGMENT, 0).log, 20, 900);
    assert_eq!(segments(dir).len(), 5);
    written
}

fn refusal(dir: &Path, after: u64) -> LogError {
    try_open(dir, SEGMENT, after).map(drop).unwrap_err()
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    log_of_five_segments(dir.path());
    let path = segments(dir.path())[2].clone();
    fs::remove_file(&path).unwrap();
    let error = refusal(dir.path(), 0);
    let LogError::MissingSegment { path: named } = &error else {
        panic!("{error}")
    };
    assert_eq!(*named, path);
}

#[test]
fn a_missing_first_segment_is_refused_with_the_positions_that_are_needed() {
    let dir = tempfile::tempdir().unwrap();
    let written = log_of_five_segments(dir.path());
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    let error = refusal(dir.path(), 2);
    let LogError::MissingStart {
        path,
        needed,
        found,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((path, *needed), (&segments(dir.path())[0], 3));
    assert_eq!(open(dir.path(), SEGMENT, *found - 1).groups, written[4..]);
}

#[test]
fn segments_left_by_an_interrupted_release_are_no_gap_and_go_with_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let written = log_of_five_segments(dir.path());
    let paths = segments(dir.path());
    // The second one went, the first came back, and nobody reads either.
    fs::remove_file(&paths[1]).unwrap();
    fs::write(&paths[0], b"not even a header").unwrap();
    let after = written[11].last;
    let opened = open(dir.path(), SEGMENT, after);
    assert_eq!(opened.groups, written[12..]);
    assert_eq!(opened.log.segment_count(), 4);
    opened.log.caretaker().release(after).unwrap();
    assert_eq!(segments(dir.path()), paths[3..]);
}

#[test]
fn a_newer_format_is_refused_and_says_who_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    log_of_five_segments(dir.path());
    let path = &segments(dir.path())[4];
    let mut bytes = fs::read(path).unwrap();
    bytes[8..12].copy_from_slice(&(FORMAT + 1).to_be_bytes());
    let crc = crc32fast::hash(&bytes[..48]);
    bytes[48..52].copy_from_slice(&crc.to_be_bytes());
    fs::write(path, bytes).unwrap();
    let error = refusal(dir.path(), 0);
    assert!(
        matches!(error, LogError::NewerFormat { found: 2, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("the version that wrote it"),
        "{error}"
    );
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    log_of_five_segments(dir.path());
    let config = LogConfig::new([7; 16]);
    let error = Log::open(dir.path(), config, 0, &mut |_| Ok(()))
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, LogError::Foreign { .. }), "{error}");
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    log_of_five_segments(dir.path());
    let paths = segments(dir.path());
    fs::copy(&paths[2], &paths[4]).unwrap();
    let error = refusal(dir.path(), 0);
    let is_header = matches!(
        error,
        LogError::Corrupt {
            what: Damage::Header,
            offset: 0,
            ..
        }
    );
    assert!(is_header, "{error}");
}

#[test]
fn unfinished_files_and_spares_of_a_lost_log_are_removed_and_strangers_are_left() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fresh.tmp", "prepared.tmp", "00000000000000000009.spare"] {
        fs::write(dir.path().join(name), vec![1; SEGMENT as usize]).unwrap();
    }
    for name in [
        "README",
        "1.log",
        "00000000000000000001.log.bak",
        "x0000000000000000001.log",
    ] {
        fs::write(dir.path().join(name), b"stranger").unwrap();
    }
    let written = log_of_five_segments(dir.path().join("a").as_path());
    assert_eq!(written.len(), 20);
    open(dir.path(), SEGMENT, 0);
    assert_eq!(files(dir.path(), "tmp"), files(dir.path(), "spare"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6);
}

#[test]
fn nothing_is_appended_after_a_failure_that_leaves_the_disk_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    let mut written = write(&mut opened.log, 4, 900);
    // The name of the next segment is taken by something that cannot be replaced.
    let taken = dir.path().join(format!("{:020}.log", 2));
    fs::create_dir(&taken).unwrap();
    let group = Owned::behind(opened.log.last(), 1, 900);
    assert!(opened.log.append(group.group()).is_err());
    let small = Owned::behind(opened.log.last(), 1, 0);
    assert!(
        opened.log.append(small.group()).is_err(),
        "it would fit the old segment"
    );
    assert!(opened.log.sync().is_err());
    drop(opened);
    fs::remove_dir(taken).unwrap();
    let mut opened = open(dir.path(), SEGMENT, 0);
    assert_eq!(opened.groups, written);
    written.extend(write(&mut opened.log, 1, 900));
    drop(opened);
    assert_eq!(open(dir.path(), SEGMENT, 0).groups, written);
}
