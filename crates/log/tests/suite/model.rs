//! Any order of calls against a list of groups in memory.

use proptest::prelude::*;

use crate::support::{Owned, open};

#[derive(Clone, Debug)]
enum Call {
    Append {
        writes: u64,
        bytes: usize,
    },
    Sync,
    Prepare,
    /// Gives back what is before this share of the positions, in hundredths.
    Release(u64),
    /// Closes and opens, perhaps with segments of another size.
    Reopen {
        segment_bytes: u64,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = prop_oneof![0_usize..200, 200_usize..5_000, 8_000_usize..40_000];
    prop_oneof![
        12 => (1_u64..9, bytes).prop_map(|(writes, bytes)| Call::Append { writes, bytes }),
        2 => Just(Call::Sync),
        1 => Just(Call::Prepare),
        1 => (0_u64..=100).prop_map(Call::Release),
        1 => prop_oneof![Just(8 << 10), Just(16 << 10), Just(50_000)]
            .prop_map(|segment_bytes| Call::Reopen { segment_bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list_of_groups(calls in prop::collection::vec(call(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut list: Vec<Owned> = Vec::new();
        let mut after = 0;
        let mut log = open(dir.path(), 8 << 10, 0).log;
        for call in calls {
            match call {
                Call::Append { writes, bytes } => {
                    let group = Owned::behind(log.last(), writes, bytes);
                    log.append(group.group()).unwrap();
                    list.push(group);
                }
                Call::Sync => {
                    log.sync().unwrap();
                    prop_assert_eq!(log.durable(), log.last());
                }
                Call::Prepare => {
                    log.caretaker().prepare().unwrap();
                    prop_assert!(log.caretaker().spare_count() > 0);
                }
                Call::Release(share) => {
                    after = after.max(log.last() * share / 100);
                    log.caretaker().release(after).unwrap();
                    list.retain(|group| group.last > after);
                    prop_assert!(log.caretaker().spare_count() <= 2);
                }
                Call::Reopen { segment_bytes } => {
                    let last = log.last();
                    drop(log);
                    let opened = open(dir.path(), segment_bytes, after);
                    prop_assert_eq!(&opened.groups, &list);
                    prop_assert_eq!(opened.recovery.torn, None);
                    log = opened.log;
                    prop_assert_eq!(log.last(), last);
                }
            }
            prop_assert_eq!(log.last(), list.last().map_or(after, |group| group.last).max(after));
        }
        drop(log);
        prop_assert_eq!(open(dir.path(), 8 << 10, after).groups, list);
    }
}
