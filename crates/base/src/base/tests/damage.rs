//! Damaged files: the right value, an error or a refusal; never a wrong value, a panic or a hang.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

/// Longest stretch of a file of which every byte is flipped; of longer files the first and last
/// this many are, and between them every byte whose offset the stride divides.
const EVERY_BYTE: usize = 96;
const STRIDE: usize = 23;

/// A small base with tables of two generations, an index, a blob and a journal that is not
/// flushed, closed cleanly and opened once more, so that its journal has no hole.
fn small(place: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let base = open(place);
    let mut model = BTreeMap::new();
    let mut version = 0;
    for generation in 0..3_u8 {
        for key in 0..8_u8 {
            version += 1;
            let key = [b'k', key * (generation + 1)];
            let value = [key[1], generation, 7, 7, 7];
            carry(
                &base,
                &[put(&key, &value, version, u64::from(key[1] % 2) * 99)],
            );
            model.insert(key.to_vec(), value.to_vec());
        }
        base.put_blob(b"window", b"kept").unwrap();
        base.finish_round(version).unwrap();
        if generation < 2 {
            for tree in [&base.kv, &base.exp, &base.meta] {
                tree.rotate_memtable_and_wait().unwrap();
            }
        }
    }
    drop(base);
    drop(open(place));
    model
}

const POSITION: u64 = 24;

/// What became of a damaged base.
#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    /// It opened and says that its last round is missing: the engine refuses.
    older: usize,
    corrupt: usize,
    sound: usize,
}

impl Seen {
    fn look(&mut self, place: &Path, model: &BTreeMap<Vec<u8>, Vec<u8>>, what: &str) {
        let base = match Base::open(place, config()) {
            Ok(base) if base.position() < POSITION => {
                self.older += 1;
                return;
            }
            Ok(base) => base,
            Err(BaseError::Io { source, .. }) => panic!("{what}: {source}"),
            Err(_) => {
                self.refused += 1;
                return;
            }
        };
        let mut corrupt = false;
        let mut check = |result: Result<bool, BaseError>| match result {
            Ok(right) => assert!(right, "{what}: wrong"),
            Err(BaseError::Corrupt { .. }) => corrupt = true,
            Err(error) => panic!("{what}: {error}"),
        };
        assert_eq!(base.position(), POSITION, "{what}");
        assert_eq!(base.keys(), model.len() as u64, "{what}");
        for (key, value) in model {
            let found = base.get(key);
            check(found.map(|found| found.is_some_and(|found| found.value == value[..])));
        }
        check(base.get(b"absent").map(|found| found.is_none()));
        for reverse in [false, true] {
            let all: Result<Vec<_>, _> = base.snapshot().range(b"", None, reverse).collect();
            check(all.map(|all| {
                let mut all: Vec<_> = all
                    .into_iter()
                    .map(|(key, stored)| (key.to_vec(), stored.value.to_vec()))
                    .collect();
                if reverse {
                    all.reverse();
                }
                all.into_iter().eq(model.clone())
            }));
        }
        let mut blobs = Vec::new();
        let read = base.blobs(&mut |name, value| blobs.push((name.to_vec(), value.to_vec())));
        check(read.map(|()| blobs == [(b"window".to_vec(), b"kept".to_vec())]));
        if corrupt {
            self.corrupt += 1;
        } else {
            self.sound += 1;
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// Calls `damage` for each file of a small base, with a copy of the base to damage.
fn each_file(mut damage: impl FnMut(&mut Seen, &Path, &BTreeMap<Vec<u8>, Vec<u8>>, &Path)) -> Seen {
    let room = room();
    let whole = room.path().join("whole");
    let model = small(&whole);
    let mut seen = Seen::default();
    seen.look(&whole, &model, "whole");
    assert_eq!(seen.sound, 1);
    let copy = room.path().join("copy");
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap();
        let mut fresh = |seen: &mut Seen| {
            // Opening changes files: each damage is done to a new copy.
            let _ = fs::remove_dir_all(&copy);
            crash(&whole, &copy);
            damage(seen, &copy.join(name), &model, &copy);
        };
        fresh(&mut seen);
    }
    seen
}

#[test]
fn no_flipped_byte_gives_a_wrong_value() {
    let room = room();
    let whole = room.path().join("whole");
    let model = small(&whole);
    let copy = room.path().join("copy");
    let mut seen = Seen::default();
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap();
        let bytes = fs::read(&file).unwrap();
        let sampled = |at: &usize| {
            *at < EVERY_BYTE || *at + EVERY_BYTE >= bytes.len() || at.is_multiple_of(STRIDE)
        };
        for at in (0..bytes.len()).filter(sampled) {
            let _ = fs::remove_dir_all(&copy);
            crash(&whole, &copy);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(copy.join(name), damaged).unwrap();
            seen.look(&copy, &model, &format!("{} byte {at}", name.display()));
        }
    }
    assert!(
        seen.refused > 100 && seen.corrupt > 100 && seen.older > 10,
        "{seen:?}"
    );
}

#[test]
fn no_file_cut_short_or_missing_gives_a_wrong_value() {
    let seen = each_file(|seen, file, model, base| {
        let whole = fs::read(file).unwrap();
        let pristine = base.with_file_name("pristine");
        let _ = fs::remove_dir_all(&pristine);
        crash(base, &pristine);
        let lengths = [
            0,
            1,
            whole.len() / 3,
            whole.len() / 2,
            whole.len().saturating_sub(1),
        ];
        for length in lengths {
            let _ = fs::remove_dir_all(base);
            crash(&pristine, base);
            fs::write(file, &whole[..length.min(whole.len())]).unwrap();
            seen.look(base, model, &format!("{} cut to {length}", file.display()));
        }
        let _ = fs::remove_dir_all(base);
        crash(&pristine, base);
        fs::remove_file(file).unwrap();
        seen.look(base, model, &format!("{} removed", file.display()));
    });
    assert!(seen.refused > 20 && seen.older > 2, "{seen:?}");
}

/// The journal of a small base, and where its batches begin.
fn journal(place: &Path) -> (PathBuf, Vec<u8>) {
    let path = files(place)
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn a_round_torn_in_any_way_opens_at_the_round_before() {
    let room = room();
    let place = room.path().join("base");
    let base = open(&place);
    carry(&base, &[put(b"a", b"kept", 1, 0)]);
    base.finish_round(1).unwrap();
    let kept = rustix::fs::seek(
        File::open(place.join("0.jnl")).unwrap(),
        rustix::fs::SeekFrom::Hole(0),
    );
    let whole_before = fs::read(place.join("0.jnl")).unwrap();
    let kept = kept.unwrap().min(whole_before.len() as u64);
    let used = whole_before[..usize::try_from(kept).unwrap()]
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap()
        + 1;
    carry(&base, &[put(b"a", &[9; 3_000], 2, 7), put(b"b", b"", 3, 0)]);
    base.finish_round(3).unwrap();
    let torn = room.path().join("torn");
    let mut opened = 0;
    for hole in (used..used + 3_200).step_by(131) {
        let _ = fs::remove_dir_all(&torn);
        crash(&place, &torn);
        // A power cut can keep later pages and lose earlier ones.
        let file = fs::OpenOptions::new()
            .write(true)
            .open(torn.join("0.jnl"))
            .unwrap();
        file.write_all_at(&[0; 64], hole as u64).unwrap();
        drop(file);
        let base = open(&torn);
        assert!(
            base.position() == 1 && base.stats().cut_bytes > 0,
            "hole at {hole}"
        );
        assert_eq!(value(&base, b"a").unwrap(), b"kept");
        assert_eq!(counts(&base), (1, 0));
        carry(&base, &[put(b"c", b"", 4, 0)]);
        base.finish_round(4).unwrap();
        drop(base);
        assert_eq!(counts(&open(&torn)), (2, 0));
        opened += 1;
    }
    assert!(opened > 20);
}

#[test]
fn a_batch_missing_in_the_middle_is_refused() {
    let room = room();
    let place = room.path().join("base");
    small(&place);
    let (path, bytes) = journal(&place);
    // Batches begin with the tag 1 and end with fjall's trailer.
    let ends: Vec<_> = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, window)| window == b"FJL\x03")
        .map(|(at, _)| at + 4)
        .collect();
    assert!(ends.len() > 3);
    let mut without = bytes[..ends[0]].to_vec();
    without.extend_from_slice(&bytes[ends[1]..]);
    fs::write(&path, without).unwrap();
    assert!(matches!(
        Base::open(&place, config()),
        Err(BaseError::Corrupt { .. })
    ));
}

#[test]
fn the_check_finds_what_reading_would() {
    let room = room();
    let place = room.path().join("base");
    let model = small(&place);
    let mut steps = 0;
    let report = crate::check(&place, &config(), &mut |_| steps += 1).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.entries, model.len() as u64);
    assert_eq!((report.blobs, report.position), (1, POSITION));
    assert!(report.tables > 1);
    let base = open(&place);
    // An entry without its index item, one whose checksum is wrong, and one nobody counted.
    let index: Vec<_> = base.exp.iter().map(|guard| guard.key().unwrap()).collect();
    base.exp.remove(index[0].clone()).unwrap();
    base.kv.insert(*b"unchecked", b"no header").unwrap();
    drop(base);
    // These batches carry no state: seen as a torn end, they are cut off.
    let report = crate::check(&place, &config(), &mut |_| {}).unwrap();
    assert!(report.is_sound() && report.cut_bytes > 0, "{report:?}");
    let base = open(&place);
    base.exp.remove(index[0].clone()).unwrap();
    base.kv.insert(*b"unchecked", b"no header").unwrap();
    carry(&base, &[put(b"after", b"", 99, 0)]);
    for tree in [&base.kv, &base.exp, &base.meta] {
        tree.rotate_memtable_and_wait().unwrap();
    }
    drop(base);
    let journal = journal(&place).0;
    fs::write(journal, b"").unwrap();
    let report = crate::check(&place, &config(), &mut |_| {}).unwrap();
    assert_eq!(report.problems_found, 3, "{report:?}");
}
