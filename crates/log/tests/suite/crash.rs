//! Power cuts with reordered sectors, at every level of durability, again and again on one store.
//!
//! The same judge is shown readers that are wrong on purpose; a judge that lets one pass fails.

use std::path::Path;

use kv_log::Position;
use proptest::prelude::*;

use crate::disk::Disk;
use crate::reference::{self, Rule};
use crate::support::{Dice, Owned, segments, try_open};

const SEGMENT: u64 = 16 << 10;
const CUTS: usize = 6;

/// What a reader made of the remains of a log.
type Recovered = Result<Vec<Owned>, String>;

/// What was written and what of it must come back.
struct Truth {
    /// Everything that is or was appended and not dropped since.
    groups: Vec<Owned>,
    /// Last position that a sync confirmed.
    synced: Position,
    /// Positions up to here were given back.
    after: Position,
}

impl Truth {
    /// After a power cut every synced group comes back, and of the others a prefix.
    fn judge_cut(&self, recovered: &Recovered) -> Result<(), String> {
        let recovered = recovered
            .as_ref()
            .map_err(|error| format!("refused, although nothing durable was lost: {error}"))?;
        self.judge_prefix(recovered)?;
        let last = recovered.last().map_or(self.after, |group| group.last);
        if last < self.synced {
            return Err(format!(
                "synced up to {}, recovered up to {last}",
                self.synced
            ));
        }
        Ok(())
    }

    /// After damage the log is refused, or loses the groups that were hit, when they are its last.
    fn judge_damage(&self, recovered: &Recovered, hit: usize) -> Result<(), String> {
        let Ok(recovered) = recovered else {
            return Ok(());
        };
        self.judge_prefix(recovered)?;
        let expected = self.groups.iter().filter(|group| group.last > self.after);
        let lost = expected.count() - recovered.len();
        if lost > hit {
            return Err(format!("{hit} groups were hit, {lost} vanished in silence"));
        }
        Ok(())
    }

    fn judge_prefix(&self, recovered: &[Owned]) -> Result<(), String> {
        let mut expected = self.groups.iter().filter(|group| group.last > self.after);
        match recovered
            .iter()
            .find(|group| expected.next() != Some(*group))
        {
            Some(group) => Err(format!(
                "positions {}..={} are wrong",
                group.first, group.last
            )),
            None => Ok(()),
        }
    }
}

/// A log on a disk, driven by dice.
struct Run {
    disk: Disk,
    truth: Truth,
    dice: Dice,
    /// Syncs after a hundred appends.
    syncs: u64,
}

impl Run {
    fn new(seed: u64, syncs: u64) -> Self {
        Self {
            disk: Disk::new(tempfile::tempdir().unwrap()),
            truth: Truth {
                groups: Vec::new(),
                synced: 0,
                after: 0,
            },
            dice: Dice::new(seed),
            syncs,
        }
    }

    /// Opens the log, lets the judge see what it shows, writes for a while, and leaves it without
    /// a word.
    fn write(&mut self) -> Result<(), String> {
        let opened = try_open(self.disk.path(), SEGMENT, self.truth.after);
        let opened = opened.map_err(|error| error.to_string())?;
        self.truth.judge_prefix(&opened.groups)?;
        self.disk.synced();
        let mut log = opened.log;
        self.truth.groups.retain(|group| group.last <= log.last());
        // What was shown is durable.
        self.truth.synced = log.last();
        let caretaker = log.caretaker();
        for _ in 0..self.dice.roll(40) {
            match self.dice.roll(20) {
                0 => {
                    caretaker.prepare().unwrap();
                    self.disk.kept_house();
                }
                1 => {
                    // The base has it, so it is no longer asked of the log.
                    self.truth.after = self.truth.after.max(caretaker.sealed_through());
                    caretaker.release(self.truth.after).unwrap();
                    self.disk.kept_house();
                }
                _ => {
                    let bytes = [0, 40, 300, 900, 3_000, 20_000][self.dice.roll(6) as usize];
                    let group = Owned::behind(log.last(), 1 + self.dice.roll(5), bytes);
                    let before = log.segment_count();
                    log.append(group.group()).unwrap();
                    self.disk.appended();
                    if log.segment_count() > before {
                        self.truth.synced = group.first - 1;
                    }
                    self.truth.groups.push(group);
                }
            }
            if self.dice.percent(self.syncs) {
                log.sync().unwrap();
                self.disk.synced();
                self.truth.synced = log.last();
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        self.disk = Disk::new(self.disk.cut(&mut self.dice));
    }
}

fn library(dir: &Path, after: Position) -> Recovered {
    let opened = try_open(dir, SEGMENT, after);
    opened
        .map(|opened| opened.groups)
        .map_err(|error| error.to_string())
}

/// Cuts the power a few times, and lets the judge see what `read` makes of the remains. The library
/// writes, whoever reads.
fn cut_again_and_again(
    seed: u64,
    syncs: u64,
    read: impl Fn(&Path, Position) -> Recovered,
) -> Result<(), String> {
    let mut run = Run::new(seed, syncs);
    for _ in 0..CUTS {
        run.write()?;
        run.cut();
        let recovered = read(run.disk.path(), run.truth.after);
        run.truth.judge_cut(&recovered)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_synced_group_outlives_a_power_cut(seed: u64, syncs in prop_oneof![Just(100), Just(20), Just(3), Just(0)]) {
        let result = cut_again_and_again(seed, syncs, |dir, after| {
            // On a copy: the next opening of the real one finds the remains untouched.
            let copy = crate::support::copy(dir);
            let first = library(copy.path(), after);
            let again = library(copy.path(), after);
            assert_eq!(first, again, "recovery is repeatable");
            assert_eq!(first, reference::read(dir, after, Rule::BySynced), "as documented");
            first
        });
        prop_assert_eq!(result, Ok(()));
    }

    #[test]
    fn recovery_that_is_interrupted_finds_the_same_again(seed: u64, syncs in prop_oneof![Just(20), Just(0)]) {
        let mut run = Run::new(seed, syncs);
        run.write().unwrap();
        run.cut();
        let whole = library(crate::support::copy(run.disk.path()).path(), run.truth.after);
        run.truth.judge_cut(&whole).unwrap();
        for _ in 0..3 {
            // Recovery made a segment, or wrote the tail again, and the power failed before its end.
            let names = segments(run.disk.path());
            library(run.disk.path(), run.truth.after).unwrap();
            for path in segments(run.disk.path()) {
                if !names.contains(&path) && run.dice.percent(70) {
                    std::fs::remove_file(path).unwrap();
                }
            }
            let again = library(crate::support::copy(run.disk.path()).path(), run.truth.after);
            prop_assert_eq!(&again, &whole);
        }
    }

    #[test]
    fn a_damaged_sector_is_refused_or_costs_the_last_group(seed: u64) {
        prop_assert_eq!(damage_a_sector(seed, library), Ok(()));
    }
}

/// Everything is synced, then one sector reads as zeros or noise.
fn damage_a_sector(seed: u64, read: impl Fn(&Path, Position) -> Recovered) -> Result<(), String> {
    let mut run = Run::new(seed, 100);
    run.write()?;
    run.write()?;
    let mut paths = segments(run.disk.path());
    let newest = paths.len() - 1;
    let path = paths.swap_remove(newest);
    let mut bytes = std::fs::read(&path).unwrap();
    let sectors = bytes.len().div_ceil(512);
    let sector = run.dice.roll(sectors as u64) as usize;
    let noise = run.dice.percent(50);
    let (from, to) = (sector * 512, sector * 512 + 512);
    let offsets = reference::offsets(&path);
    let is_hit = |group: &&[usize]| group[0] < to && group[1] > from;
    let hit = offsets.windows(2).filter(is_hit).count();
    for byte in bytes.chunks_mut(512).nth(sector).unwrap() {
        *byte = if noise { run.dice.roll(256) as u8 } else { 0 };
    }
    std::fs::write(&path, bytes).unwrap();
    run.truth
        .judge_damage(&read(run.disk.path(), run.truth.after), hit)
}

/// How many of some seeds the judge objects to.
fn objections(check: impl Fn(u64) -> Result<(), String>) -> usize {
    (0..24).filter(|seed| check(*seed).is_err()).count()
}

#[test]
fn canary_a_reader_that_takes_any_later_group_for_damage_is_found_by_power_cuts() {
    let read = |rule| move |dir: &Path, after| reference::read(dir, after, rule);
    assert_eq!(
        objections(|seed| cut_again_and_again(seed, 0, read(Rule::BySynced))),
        0
    );
    let found = objections(|seed| cut_again_and_again(seed, 0, read(Rule::AnyLaterIsDamage)));
    assert!(found > 2, "found in {found} of 24 runs");
}

#[test]
fn canary_a_reader_that_never_sees_damage_is_found_by_damage() {
    let read = |rule| move |dir: &Path, after| reference::read(dir, after, rule);
    assert_eq!(
        objections(|seed| damage_a_sector(seed, read(Rule::BySynced))),
        0
    );
    let found = objections(|seed| damage_a_sector(seed, read(Rule::NothingIsDamage)));
    assert!(found > 2, "found in {found} of 24 runs");
}

#[test]
fn canary_the_judge_objects_to_every_kind_of_wrong_recovery() {
    let mut groups: Vec<Owned> = Vec::new();
    for _ in 0..6 {
        let after = groups.last().map_or(0, |group| group.last);
        groups.push(Owned::behind(after, 2, 30));
    }
    let truth = Truth {
        synced: groups[3].last,
        after: groups[0].last,
        groups,
    };
    let right = |count: usize| truth.groups[1..=count].to_vec();
    for count in 3..6 {
        assert_eq!(truth.judge_cut(&Ok(right(count))), Ok(()));
    }
    let mut swapped = right(5);
    swapped.swap(1, 2);
    let mut gap = right(5);
    gap.remove(1);
    let mut altered = right(5);
    altered[4].payload[29] ^= 1;
    let mut retimed = right(5);
    retimed[0].time_ms += 1;
    let mut more = right(5);
    more.push(Owned::behind(12, 1, 3));
    let mut again = right(5);
    again.insert(1, again[0].clone());
    let too_early = truth.groups.clone();
    let refused = Err("refused".to_owned());
    let wrong = [
        right(2),
        Vec::new(),
        swapped,
        gap,
        altered,
        retimed,
        more,
        again,
        too_early,
    ];
    for recovered in wrong.into_iter().map(Ok).chain([refused]) {
        assert!(truth.judge_cut(&recovered).is_err(), "{recovered:?}");
    }
}
