//! Single bytes, cuts and holes, each in its place: never other content than was written.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use kv_log::{Damage, Log, LogError};

use crate::reference;
use crate::support::{Owned, STORE, copy, open, segments, try_open, write};

const SEGMENT: u64 = 8 << 10;

/// A log of two segments, every group synced.
fn small_log(dir: &Path) -> Vec<Owned> {
    let written = write(&mut open(dir, SEGMENT, 0).log, 10, 501);
    assert_eq!(segments(dir).len(), 2);
    written
}

fn check(dir: &Path) -> Result<Vec<Owned>, LogError> {
    let mut groups = Vec::new();
    Log::check(dir, &STORE, 0, &mut |group| {
        groups.push(Owned::from(group));
        Ok(())
    })?;
    Ok(groups)
}

#[test]
fn each_byte_flipped_gives_the_same_groups_all_but_the_last_or_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let written = small_log(dir.path());
    let (mut same, mut cut, mut refused) = (0, 0, 0);
    let paths = segments(dir.path());
    for path in &paths {
        let whole = fs::read(path).unwrap();
        let end = *reference::offsets(path).last().unwrap();
        for at in 0..whole.len() {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let flipped = whole[at] ^ (1 << (at % 8));
            file.write_all_at(&[flipped], at as u64).unwrap();
            let result = check(dir.path());
            file.write_all_at(&whole[at..=at], at as u64).unwrap();
            match result {
                Ok(groups) if groups == written => {
                    assert!(at >= end, "byte {at} of {} means nothing", path.display());
                    same += 1;
                }
                Ok(groups) => {
                    assert_eq!(groups, written[..written.len() - 1], "byte {at}");
                    assert_eq!(path, &paths[1], "byte {at}");
                    cut += 1;
                }
                Err(error) => {
                    let found = matches!(error, LogError::Corrupt { .. });
                    assert!(found, "byte {at}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(check(dir.path()).unwrap(), written);
    // Files that grew end with their last group, so there are no bytes without a meaning.
    assert_eq!(same, 0);
    assert_eq!(cut, 48 + 504);
    assert!(refused > 2 * 4096, "{refused}");
}

#[test]
fn a_newest_segment_cut_at_any_length_keeps_whole_groups_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let written = small_log(dir.path());
    let path = segments(dir.path())[1].clone();
    let whole = fs::read(&path).unwrap();
    let offsets = reference::offsets(&path);
    let in_newest = offsets.len() - 1;
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        match check(dir.path()) {
            Ok(groups) => {
                let left = offsets[1..].iter().filter(|end| **end <= length).count();
                let lost = in_newest - left;
                assert_eq!(groups, written[..written.len() - lost], "length {length}");
            }
            Err(error) => {
                assert!(length < 4096, "length {length}: {error}");
                assert!(error.to_string().contains("header"), "{error}");
            }
        }
    }
}

#[test]
fn an_older_segment_cut_at_any_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    small_log(dir.path());
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    for length in (0..whole.len()).rev() {
        fs::write(path, &whole[..length]).unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(
            matches!(error, LogError::Corrupt { .. }),
            "length {length}: {error}"
        );
    }
}

/// What stands behind the point where a group was torn.
#[derive(Clone, Copy, Debug)]
enum Behind {
    EndOfFile,
    Zeros,
    /// What the file held as another segment.
    Stale,
}

#[test]
fn a_last_group_torn_at_any_byte_is_dropped_and_the_log_goes_on() {
    for behind in [Behind::EndOfFile, Behind::Zeros, Behind::Stale] {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open(dir.path(), SEGMENT, 0);
        let caretaker = opened.log.caretaker();
        if !matches!(behind, Behind::EndOfFile) {
            caretaker.prepare().unwrap();
            write(&mut opened.log, 2, 3_000);
        }
        if matches!(behind, Behind::Stale) {
            write(&mut opened.log, 14, 500);
            caretaker.release(caretaker.sealed_through()).unwrap();
            write(&mut opened.log, 14, 500);
            assert_eq!(caretaker.spare_count(), 0, "the spare is in use");
        }
        let after = caretaker.sealed_through();
        write(&mut opened.log, 1, 100);
        let path = segments(dir.path()).pop().unwrap();
        let before = fs::read(&path).unwrap();
        write(&mut opened.log, 1, 100);
        assert_eq!(segments(dir.path()).pop().unwrap(), path);
        drop(opened);
        let whole = open(dir.path(), SEGMENT, after).groups;
        let after_all = fs::read(&path).unwrap();
        let offsets = reference::offsets(&path);
        let [.., start, end] = offsets[..] else {
            panic!("two groups at least")
        };
        for cut in start..end {
            let mut torn = after_all[..cut].to_vec();
            torn.extend(before.get(cut..).unwrap_or_default());
            if torn == after_all {
                continue;
            }
            let dir = copy(dir.path());
            fs::write(dir.path().join(path.file_name().unwrap()), &torn).unwrap();
            let mut opened = open(dir.path(), SEGMENT, after);
            let kept = &whole[..whole.len() - 1];
            assert_eq!(opened.groups, kept, "{behind:?}, cut at {cut}");
            match opened.recovery.torn.take() {
                Some(tail) => {
                    assert_eq!(tail.offset, start as u64);
                    assert!(tail.bytes > 0 && tail.segment.ends_with(path.file_name().unwrap()));
                }
                // Without its header a group cannot be told from what was there before.
                None if matches!(behind, Behind::Stale) => assert!(cut < start + 48, "{cut}"),
                None => assert!(torn[start..].iter().all(|byte| *byte == 0), "{cut}"),
            }
            let more = write(&mut opened.log, 2, 100);
            drop(opened);
            let again = open(dir.path(), SEGMENT, after);
            assert_eq!(
                again.groups,
                [kept, &more].concat(),
                "{behind:?}, cut at {cut}"
            );
            assert_eq!(again.recovery.torn, None);
        }
    }
}

/// Five groups of which the first `synced` were synced; the third one is then overwritten.
fn with_a_hole(dir: &Path, synced: usize) -> (Vec<Owned>, usize, usize) {
    let mut opened = open(dir, 64 << 10, 0);
    let mut written = Vec::new();
    for index in 0..5 {
        if index == synced {
            opened.log.sync().unwrap();
        }
        let group = Owned::behind(opened.log.last(), 1, 1_000);
        opened.log.append(group.group()).unwrap();
        written.push(group);
    }
    drop(opened);
    let path = &segments(dir)[0];
    let offsets = reference::offsets(path);
    let mut bytes = fs::read(path).unwrap();
    bytes[offsets[2]..offsets[3]].fill(0);
    fs::write(path, bytes).unwrap();
    (written, offsets[2], offsets[synced.clamp(3, 4)])
}

#[test]
fn a_hole_in_what_was_never_synced_drops_everything_behind_it() {
    for synced in 0..=2 {
        let dir = tempfile::tempdir().unwrap();
        let (written, hole, _) = with_a_hole(dir.path(), synced);
        let mut opened = open(dir.path(), 64 << 10, 0);
        assert_eq!(opened.groups, written[..2]);
        let torn = opened.recovery.torn.take().unwrap();
        assert_eq!((torn.offset, torn.bytes), (hole as u64, 3 * 1_048));
        // The same positions, other content; the old ones must not come back behind it.
        let mut more = Owned::behind(opened.log.last(), 1, 0);
        more.payload = vec![7; 1_000];
        opened.log.append(more.group()).unwrap();
        drop(opened);
        let opened = open(dir.path(), 64 << 10, 0);
        assert_eq!(opened.groups, [&written[..2], &[more]].concat());
        assert_eq!(opened.recovery.torn, None);
    }
}

#[test]
fn a_hole_in_what_was_synced_is_damage_and_named() {
    for synced in 3..=4 {
        let dir = tempfile::tempdir().unwrap();
        let (written, hole, witness) = with_a_hole(dir.path(), synced);
        let before = fs::read(&segments(dir.path())[0]).unwrap();
        let error = try_open(dir.path(), 64 << 10, 0).map(drop).unwrap_err();
        let LogError::Corrupt { path, offset, what } = &error else {
            panic!("{error}")
        };
        assert_eq!((path, *offset), (&segments(dir.path())[0], hole as u64));
        let (expected, witness) = (written[2].first, witness as u64);
        assert_eq!(*what, Damage::LostGroup { expected, witness });
        assert!(error.to_string().contains("restore a backup"), "{error}");
        assert_eq!(fs::read(&segments(dir.path())[0]).unwrap(), before);
    }
}

#[test]
fn a_header_proves_what_it_says_even_when_its_payload_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    write(&mut open(dir.path(), 64 << 10, 0).log, 5, 1_000);
    let path = &segments(dir.path())[0];
    let offsets = reference::offsets(path);
    let mut bytes = fs::read(path).unwrap();
    bytes[offsets[3] + 100] ^= 1;
    bytes[offsets[4] + 100] ^= 1;
    fs::write(path, bytes).unwrap();
    let error = try_open(dir.path(), 64 << 10, 0).map(drop).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}

#[test]
fn a_declared_length_of_4_gib_is_a_torn_tail_and_costs_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(&mut open(dir.path(), 64 << 10, 0).log, 2, 100);
    let path = &segments(dir.path())[0];
    let start = reference::offsets(path)[1];
    let mut bytes = fs::read(path).unwrap();
    bytes[start..start + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let crc = reference::header_crc(1, &bytes[start..start + 44]);
    bytes[start + 44..start + 48].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(
        reference::header(1, &bytes, start).unwrap().length,
        u32::MAX as usize
    );
    fs::write(path, bytes).unwrap();
    let opened = open(dir.path(), 64 << 10, 0);
    assert_eq!(opened.groups, written[..1]);
    assert_eq!(opened.recovery.torn.unwrap().offset, start as u64);
}
