//! A base beside a `BTreeMap`, through batches, rounds, sweeps, crashes and reopenings.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)>;

/// Key, value or removal, expiry.
type Change = (Vec<u8>, Option<Vec<u8>>, u64);

#[derive(Clone, Debug)]
enum Step {
    /// Changes; whether true hints are given.
    Carry(Vec<Change>, bool),
    Finish,
    Flush,
    Sweep(u64),
    Crash,
    Reopen,
    Look(Vec<u8>, Option<Vec<u8>>, bool),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(0x61), Just(0xff)], 1..4)
}

fn change() -> impl Strategy<Value = Change> {
    let value = proptest::option::weighted(0.8, vec(any::<u8>(), 0..40));
    (key(), value, prop_oneof![Just(0), 1..20_u64])
}

fn step() -> impl Strategy<Value = Step> {
    let look = (
        vec(any::<u8>(), 0..2),
        proptest::option::of(key()),
        any::<bool>(),
    );
    prop_oneof![
        6 => (vec(change(), 1..12), any::<bool>()).prop_map(|(items, hint)| Step::Carry(items, hint)),
        2 => Just(Step::Finish),
        1 => Just(Step::Flush),
        2 => (0..20_u64).prop_map(Step::Sweep),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
        3 => look.prop_map(|(prefix, after, reverse)| Step::Look(prefix, after, reverse)),
    ]
}

struct Pair {
    room: tempfile::TempDir,
    opened: usize,
    base: Option<Base>,
    model: Model,
    /// What the base holds as of the last end of a round, and the position of that.
    finished: (Model, u64),
    version: u64,
}

impl Pair {
    fn new() -> Self {
        let room = room();
        let base = open(&room.path().join("0"));
        Self {
            room,
            opened: 0,
            base: Some(base),
            model: Model::new(),
            finished: (Model::new(), 0),
            version: 0,
        }
    }

    fn base(&self) -> &Base {
        self.base.as_ref().unwrap()
    }

    fn place(&self, number: usize) -> std::path::PathBuf {
        self.room.path().join(number.to_string())
    }

    fn carry(&mut self, items: &[Change], hint: bool) {
        let before = self.model.clone();
        let first = self.version + 1;
        let items: Vec<_> = items.iter().zip(first..).collect();
        for ((key, value, expires_at), version) in &items {
            match value {
                Some(value) => {
                    let entry = (value.clone(), *version, *expires_at);
                    self.model.insert(key.clone(), entry);
                }
                None => {
                    self.model.remove(key);
                }
            }
            self.version = *version;
        }
        let mut changes = items
            .iter()
            .map(|((key, value, expires_at), version)| match value {
                None => Carry::Remove { key },
                Some(value) => Carry::Put {
                    key,
                    entry: entry(value, *version, *expires_at),
                    existed: hint.then(|| before.contains_key(key)),
                },
            });
        self.base.as_ref().unwrap().carry(&mut changes).unwrap();
    }

    fn sweep(&mut self, now: u64) {
        while self.base().sweep(now, 3, &mut |_| true).unwrap().more {}
        self.model
            .retain(|_, (_, _, expires_at)| *expires_at == 0 || *expires_at > now);
    }

    /// A crash keeps at least the last finished round; here, with nothing else synced, the
    /// engine's log would bring the rest back.
    fn crash(&mut self) {
        let from = self.place(self.opened);
        self.opened += 1;
        crash(&from, &self.place(self.opened));
        self.base = None;
        let base = open(&self.place(self.opened));
        assert_eq!(base.position(), self.finished.1);
        let keys: Vec<_> = base
            .snapshot()
            .range(b"", None, false)
            .map(|item| item.unwrap().0.to_vec())
            .collect();
        assert_eq!(base.keys(), keys.len() as u64);
        let missing: Vec<_> = self
            .model
            .iter()
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        let gone: Vec<_> = keys
            .iter()
            .filter(|key| !self.model.contains_key(*key))
            .collect();
        let puts = missing
            .iter()
            .map(|(key, (value, version, expires_at))| put(key, value, *version, *expires_at));
        let removes = gone.iter().map(|key| Carry::Remove { key });
        base.carry(&mut puts.chain(removes)).unwrap();
        self.base = Some(base);
    }

    fn reopen(&mut self) {
        self.base = None;
        self.base = Some(open(&self.place(self.opened)));
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Carry(items, hint) => self.carry(items, *hint),
            Step::Finish => {
                self.finished = (self.model.clone(), self.version);
                self.base().finish_round(self.version).unwrap();
            }
            Step::Flush => {
                let base = self.base();
                base.db.persist(fjall::PersistMode::SyncData).unwrap();
                base.kv.rotate_memtable_and_wait().unwrap();
            }
            Step::Sweep(now) => self.sweep(*now),
            Step::Crash => self.crash(),
            Step::Reopen => self.reopen(),
            Step::Look(prefix, after, reverse) => {
                self.look(prefix, after.as_deref(), *reverse);
            }
        }
        let expiring = self.model.values().filter(|entry| entry.2 != 0).count();
        assert_eq!(
            counts(self.base()),
            (self.model.len() as u64, expiring as u64)
        );
        assert_eq!(self.base().position(), self.finished.1);
    }

    fn look(&self, prefix: &[u8], after: Option<&[u8]>, reverse: bool) {
        let seen: Vec<_> = self
            .base()
            .snapshot()
            .range(prefix, after, reverse)
            .map(|item| item.unwrap())
            .map(|(key, stored)| {
                let expires_at = stored.expires_at.map_or(0, NonZeroU64::get);
                (
                    key.to_vec(),
                    (stored.value.to_vec(), stored.version, expires_at),
                )
            })
            .collect();
        let in_range = |key: &[u8]| {
            key.starts_with(prefix)
                && after.is_none_or(|after| if reverse { key < after } else { key > after })
        };
        let mut expected: Vec<_> = self
            .model
            .iter()
            .filter(|(key, _)| in_range(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_base_does_what_a_map_does(steps in vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
        pair.look(b"", None, false);
        let place = pair.place(pair.opened);
        let expected = pair.model.len() as u64;
        pair.base = None;
        let report = crate::check(&place, &config(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.problems, Vec::<String>::new());
        prop_assert_eq!((report.entries, report.stale_index_items), (expected, 0));
    }
}
