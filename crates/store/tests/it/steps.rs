//! Random steps for the model test: few keys, so that they meet.

use kv_store::conformance::{Cond, Step, StepOp};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..60)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(op(), 1..12).prop_map(Step::Run),
        1 => vec(op(), 70..150).prop_map(Step::Run),
        4 => vec(op(), 1..8).prop_map(Step::Atomic),
        2 => (prefix(), any::<bool>(), 1_usize..6)
            .prop_map(|(prefix, reverse, items)| Step::Scan { prefix, reverse, items }),
        1 => (0_usize..20).prop_map(|budget| Step::Sweep { budget }),
        3 => (0_u64..40).prop_map(|ms| Step::Wait { ms }),
        1 => (0_u64..100).prop_map(|ms| Step::ClockBack { ms }),
    ]
}

fn op() -> impl Strategy<Value = StepOp> {
    prop_oneof![
        4 => key().prop_map(|key| StepOp::Get { key }),
        6 => (key(), value(), ttl(), cond(), any::<bool>()).prop_map(
            |(key, value, ttl, cond, previous)| StepOp::Set { key, value, ttl, cond, previous }
        ),
        3 => (key(), cond(), any::<bool>())
            .prop_map(|(key, cond, previous)| StepOp::Del { key, cond, previous }),
        3 => (key(), any::<i8>(), ttl(), cond()).prop_map(|(key, delta, ttl, cond)| {
            StepOp::Incr { key, delta: delta.into(), ttl, cond }
        }),
        2 => (key(), ttl(), cond()).prop_map(|(key, ttl, cond)| StepOp::Touch { key, ttl, cond }),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0_u8..12).prop_map(|n| vec![b'a' + n % 3, n]),
        3 => (0_u16..400).prop_map(|n| n.to_be_bytes().to_vec()),
        1 => (0_u8..3).prop_map(|n| vec![n; 300]),
    ]
}

fn prefix() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        (0_u8..4).prop_map(|n| vec![b'a' + n]),
        Just(vec![0, 1])
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        4 => vec(any::<u8>(), 0..100),
        1 => vec(any::<u8>(), 200..600),
        1 => (16_380_usize..16_390, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn ttl() -> impl Strategy<Value = Option<Option<u64>>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(None)),
        3 => (0_u64..60).prop_map(|ms| Some(Some(ms))),
    ]
}

fn cond() -> impl Strategy<Value = Cond> {
    prop_oneof![
        6 => Just(Cond::Always),
        1 => Just(Cond::Absent),
        1 => Just(Cond::Present),
        2 => Just(Cond::Current),
        1 => Just(Cond::Stale),
    ]
}
