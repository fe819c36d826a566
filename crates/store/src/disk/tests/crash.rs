//! Crashes between any two steps: the directory is copied as a kill or a power cut would leave it, and
//! opened. The store must be as it was at one position, with all that was acknowledged.

use super::*;
use crate::idempotency::Verdict;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const KEYS: u8 = 6;
const CLIENT: [u8; 16] = [9; 16];

#[derive(Clone, Copy, Debug)]
enum Act {
    Set {
        key: u8,
        expires: bool,
    },
    Del {
        key: u8,
    },
    Incr {
        key: u8,
    },
    Pair {
        keys: [u8; 2],
    },
    Named {
        key: u8,
    },
    /// What is staged goes to the log, and to the disk or not.
    Append {
        sync: bool,
    },
    /// The part of a round in front of its end.
    Carry,
    Windows,
    Round,
    Sweep,
    SweepBase,
    Evict {
        key: u8,
    },
    Wait,
    /// The process ends in an orderly way and begins anew.
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = || 0..KEYS;
    let act = prop_oneof![
        6 => (key(), any::<bool>()).prop_map(|(key, expires)| Act::Set { key, expires }),
        3 => key().prop_map(|key| Act::Del { key }),
        3 => key().prop_map(|key| Act::Incr { key }),
        3 => (key(), key()).prop_map(|(a, b)| Act::Pair { keys: [a, b] }),
        3 => key().prop_map(|key| Act::Named { key }),
        6 => any::<bool>().prop_map(|sync| Act::Append { sync }),
        3 => Just(Act::Carry),
        2 => Just(Act::Windows),
        3 => Just(Act::Round),
        1 => Just(Act::Sweep),
        1 => Just(Act::SweepBase),
        3 => key().prop_map(|key| Act::Evict { key }),
        2 => Just(Act::Wait),
        1 => Just(Act::Reopen),
    ];
    vec(act, 1..60)
}

/// Value, version and expiry of each key.
type State = BTreeMap<Vec<u8>, (Vec<u8>, u64, Option<u64>)>;

struct World {
    rig: Rig,
    now: Now,
    state: State,
    /// The state at each position that was taken last under one hold of the stage.
    states: BTreeMap<u64, State>,
    /// Answered operations, by the position of their answer.
    answers: Vec<(u64, u64)>,
    number: u64,
    /// The log as it is on the disk for sure, and how far it reaches.
    synced: (TempDir, u64),
    appended: u64,
}

fn config(config: &mut DiskConfig) {
    config.durability = Durability::Os;
    config.cache_bytes = 64 << 10;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            copy_file(&entry.path(), &to);
        }
    }
}

/// Leaves out what is zeros: most of a prepared file.
fn copy_file(from: &Path, to: &Path) {
    use std::os::unix::fs::FileExt as _;
    let (from, to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let len = from.metadata().unwrap().len();
    to.set_len(len).unwrap();
    let mut block = vec![0; 64 << 10];
    let mut at = 0;
    while at < len {
        let read = from.read_at(&mut block, at).unwrap();
        let bytes = &block[..read];
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, at).unwrap();
        }
        at += read as u64;
    }
}

fn name(key: u8) -> Vec<u8> {
    vec![b'k', key]
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            rig: Rig::new(config),
            now: NOW,
            state: State::new(),
            states: BTreeMap::from([(0, State::new())]),
            answers: Vec::new(),
            number: 0,
            synced: (TempDir::new().unwrap(), 0),
            appended: 0,
        };
        world.note_synced();
        world
    }

    fn last(&self) -> u64 {
        self.rig.store.staging.lock().last()
    }

    fn note_synced(&mut self) {
        let dir = TempDir::new().unwrap();
        copy(&self.rig.dir.path().join("log"), dir.path());
        self.synced = (dir, self.appended);
    }

    fn append(&mut self, sync: bool) {
        self.rig.append(sync);
        self.appended = self.last();
        if sync {
            self.rig.log.sync().unwrap();
            self.rig.store.sentinel.synced(self.rig.log.durable());
            self.rig.store.progress.raise_synced(self.rig.log.durable());
            self.note_synced();
        }
    }

    fn write(&mut self, ops: &[Op<'_>]) {
        for op in ops {
            self.rig.store.load(self.now, op.key(), true).unwrap();
        }
        let before = self.last();
        if let [op] = ops {
            self.rig.run(self.now, &[*op]);
        } else {
            let (applied, _) = self.rig.store.run_atomic(
                self.now,
                ops,
                &mut |_: usize, _: Outcome<'_>, _| {},
                true,
            );
            assert_eq!(applied, Atomic::Applied);
        }
        self.note(before, ops);
    }

    /// Brings the model to where the store is.
    fn note(&mut self, before: u64, ops: &[Op<'_>]) {
        if self.last() == before {
            return;
        }
        for op in ops {
            let key = op.key();
            match self.rig.run(self.now, &[Op::Get { key }]).pop().unwrap() {
                OwnedOutcome::Found(entry) => {
                    let expires_at = entry.expires_at.map(std::num::NonZeroU64::get);
                    let known = (entry.value.to_vec(), entry.version, expires_at);
                    if let Some(before) = self.state.get(key) {
                        assert!(before.1 <= known.1, "versions rise");
                    }
                    self.state.insert(key.to_vec(), known);
                }
                _ => drop(self.state.remove(key)),
            }
        }
        self.states.insert(self.last(), self.state.clone());
    }

    fn act(&mut self, act: Act) {
        let value = self.last().to_string().into_bytes();
        match act {
            Act::Set { key, expires } => {
                let expiry = if expires {
                    until(self.now, 3)
                } else {
                    Expiry::Never
                };
                self.write(&[set(&name(key), &value, expiry)]);
            }
            Act::Del { key } => self.write(&[Op::Del {
                key: &name(key),
                condition: Condition::Always,
                previous: false,
            }]),
            Act::Incr { key } => self.write(&[Op::Incr {
                key: &name(key),
                delta: 1,
                expiry: Expiry::Keep,
                condition: Condition::Always,
            }]),
            Act::Pair { keys } => {
                let [a, b] = keys.map(name);
                self.write(&[&a, &b].map(|key| set(key, &value, Expiry::Never)));
            }
            Act::Named { key } => {
                self.number += 1;
                let operation = OperationId {
                    client: CLIENT,
                    number: self.number,
                };
                let (key, before) = (name(key), self.last());
                let ops = [set(&key, &value, Expiry::Never)];
                let (outcome, after) = self
                    .rig
                    .store
                    .execute_named(self.now, operation, &ops, false);
                assert!(matches!(outcome, BatchOutcome::Done(_)));
                self.answers.push((after, self.number));
                self.rig.store.load(self.now, &key, true).unwrap();
                self.note(before, &ops);
            }
            other => self.move_on(other),
        }
    }

    /// What clients do not ask for.
    fn move_on(&mut self, act: Act) {
        match act {
            Act::Append { sync } => self.append(sync),
            Act::Carry => carrier::carry_dirty(&self.rig.store).unwrap(),
            Act::Windows => carrier::carry_windows(&self.rig.store).unwrap(),
            Act::Round => {
                self.append(true);
                carrier::round(&self.rig.store).unwrap();
                // Segments may have been given back.
                self.note_synced();
            }
            Act::Sweep => drop(self.rig.store.sweep(self.now, 1_000)),
            Act::SweepBase => {
                let through = self.rig.store.sentinel.through();
                if through == self.last() {
                    carrier::sweep_with(&self.rig.store, &mut |_| {}).unwrap();
                }
            }
            Act::Evict { key } => {
                let key = name(key);
                if self.rig.marks(&key).is_some_and(|[dirty, ..]| !dirty) {
                    self.rig.evict(&key);
                }
            }
            Act::Wait => {
                self.now = self.rig.store.clock.advance(self.now.plus_ms(2));
                let now = self.now.unix_ms();
                let live = |at: &Option<u64>| at.is_none_or(|at| at > now);
                self.state.retain(|_, (.., at)| live(at));
            }
            Act::Reopen => {
                self.append(true);
                let last = self.last();
                let now = self.now;
                let rig = std::mem::replace(&mut self.rig, Rig::new(config));
                self.rig = rig.reopened(now);
                self.note_synced();
                assert_eq!(self.last(), last);
                self.check(&self.rig, last);
            }
            Act::Set { .. } | Act::Del { .. } | Act::Incr { .. } => {}
            Act::Pair { .. } | Act::Named { .. } => {}
        }
    }

    /// The store is as it was at `last`.
    fn check(&self, rig: &Rig, last: u64) {
        let (_, state) = self.states.range(..=last).next_back().unwrap();
        let now = self.now.unix_ms();
        for key in (0..KEYS).map(name) {
            rig.store.load(self.now, &key, true).unwrap();
            let found = match rig.run(self.now, &[Op::Get { key: &key }]).pop().unwrap() {
                OwnedOutcome::Found(entry) => Some((
                    entry.value.to_vec(),
                    entry.version,
                    entry.expires_at.map(std::num::NonZeroU64::get),
                )),
                _ => None,
            };
            let wanted = state
                .get(&key)
                .filter(|(.., at)| at.is_none_or(|at| at > now));
            assert_eq!(found.as_ref(), wanted, "{key:?} at {last}");
        }
        let mut stage = rig.store.staging.lock();
        let windows = &mut stage.windows;
        for (position, number) in self.answers.iter().copied() {
            let operation = OperationId {
                client: CLIENT,
                number,
            };
            let repeat = matches!(windows.check(self.now, operation), Verdict::Repeat(..));
            assert_eq!(
                repeat,
                position <= last,
                "operation {number} at {position}, {last}"
            );
        }
    }

    fn crash(&self, power: bool) {
        let dir = TempDir::new().unwrap();
        // Writes out what the base still holds in memory: it may have been, at any time.
        assert!(self.rig.store.base.is_healthy());
        copy(self.rig.dir.path(), dir.path());
        if power {
            std::fs::remove_dir_all(dir.path().join("log")).unwrap();
            copy(self.synced.0.path(), &dir.path().join("log"));
        }
        let mut rig = Rig::open(dir, |it| {
            config(it);
            it.now = self.now;
        });
        let last = rig.store.staging.lock().last();
        let acknowledged = if power { self.synced.1 } else { self.appended };
        assert_eq!(last, acknowledged);
        self.check(&rig, last);
        rig.run(self.now, &[set(b"another", b"x", Expiry::Never)]);
        rig.round();
        // Everything is in the base: its numbers are what there is, the expired included.
        let mut keys = 0;
        for entry in rig.store.base.snapshot().range(b"", None, false) {
            entry.unwrap();
            keys += 1;
        }
        assert_eq!((rig.store.keys(), rig.store.base.keys()), (keys, keys));
        self.check(&rig, last);
    }
}

impl Rig {
    /// Ends and begins anew.
    fn reopened(self, now: Now) -> Self {
        let Self {
            store,
            log,
            _lock,
            dir,
        } = self;
        store.sentinel.close(now.unix_ms()).unwrap();
        drop((store, log, _lock));
        Self::open(dir, |it| {
            config(it);
            it.now = now;
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_the_store_as_it_was_at_one_position(acts in acts()) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        world.crash(false);
        // What is acknowledged and not synced is what a power cut takes: carried, it would stay.
        for act in [Act::Append { sync: false }, Act::Carry, Act::Windows] {
            world.act(act);
        }
        world.crash(true);
    }
}
