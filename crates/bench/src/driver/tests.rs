//! The loop against small servers in this process, honest ones and others.

use std::time::Duration;

use super::*;
use crate::protocol::{Echo, Memcached, Native, Resp};
use crate::workload::Choice;
use fakes::{Fake, Trick};
use kv_proto::{Secret, Suite};

mod fakes;

const KEY: [u8; 32] = [7; 32];

fn data(value_bytes: usize) -> Data {
    Data::new(500, Choice::Uniform, 16, value_bytes).unwrap()
}

fn plan(load: Load) -> Plan {
    Plan {
        in_flight: 8,
        load,
        refill: Refill::Each,
        warm_up: Duration::from_millis(10),
        duration: Duration::from_millis(60),
        gets: 0.7,
        batch: 1,
        seed: 1,
    }
}

fn native(suite: Suite) -> impl FnMut() -> Native {
    move || Native::new(suite, Some(("bench".into(), Secret::new(&KEY))))
}

/// Fills a server, then asks it for what it has.
fn fill_and_run<P: Protocol>(
    fake: &Fake,
    mut make: impl FnMut() -> P,
    plan: &Plan,
    data: &Data,
) -> Result<Tally> {
    let endpoint = fake.endpoint();
    let mut driver = Driver::connect(&endpoint, 1, &mut make)?;
    let fill = Plan {
        load: Load::Fill,
        warm_up: Duration::ZERO,
        ..plan.clone()
    };
    let filled = driver.run(&fill, data, &mut |_| Ok(()))?;
    assert_eq!((filled.errors.total(), filled.unanswered), (0, 0));
    driver.close()?;
    let mut driver = Driver::connect(&endpoint, 3, make)?;
    let mut marks = Vec::new();
    let tally = driver.run(plan, data, &mut |mark| {
        marks.push(mark);
        Ok(())
    })?;
    assert_eq!(marks, [Mark::Begin, Mark::End]);
    driver.close()?;
    Ok(tally)
}

#[track_caller]
fn assert_clean(tally: &Tally) {
    assert_eq!(tally.errors, Errors::default());
    assert_eq!(tally.unanswered, 0);
    assert!(tally.operations > 0, "nothing was answered");
    assert!(tally.latencies.count() > 0);
}

#[test]
fn the_native_protocol_is_driven_in_every_suite() {
    for suite in Suite::ALL {
        let fake = Fake::native(Trick::None);
        let tally = fill_and_run(&fake, native(suite), &plan(Load::Closed), &data(64)).unwrap();
        assert_clean(&tally);
    }
}

#[test]
fn replies_in_another_order_find_their_requests() {
    let fake = Fake::native(Trick::Backwards);
    let run = plan(Load::Closed);
    assert_clean(&fill_and_run(&fake, native(Suite::Hmac), &run, &data(64)).unwrap());
}

#[test]
fn values_in_several_frames_are_put_together() {
    let fake = Fake::native(Trick::Pieces);
    let run = plan(Load::Closed);
    assert_clean(&fill_and_run(&fake, native(Suite::Hmac), &run, &data(30_000)).unwrap());
}

#[test]
fn batches_are_checked_item_by_item() {
    let batched = Plan {
        batch: 10,
        gets: 1.0,
        ..plan(Load::Closed)
    };
    let fake = Fake::native(Trick::None);
    let tally = fill_and_run(&fake, native(Suite::Hmac), &batched, &data(64)).unwrap();
    assert_clean(&tally);
    assert_eq!(tally.operations % 10, 0, "each counts as ten");
    let fake = Fake::native(Trick::WrongValue);
    let tally = fill_and_run(&fake, native(Suite::Hmac), &batched, &data(64)).unwrap();
    assert!(tally.errors.wrong_value > 0);
    assert_eq!(tally.operations, 0);
}

#[test]
fn every_wrong_reply_is_counted_and_none_as_an_operation() {
    let reads = Plan {
        gets: 1.0,
        ..plan(Load::Closed)
    };
    for trick in [Trick::WrongValue, Trick::Missing, Trick::Refuse] {
        let fake = Fake::native(trick);
        let tally = fill_and_run(&fake, native(Suite::Hmac), &reads, &data(64)).unwrap();
        let errors = tally.errors;
        let of_kind = match trick {
            Trick::WrongValue => errors.wrong_value,
            Trick::Missing => errors.missing,
            _ => errors.refused,
        };
        assert!(of_kind > 0, "{trick:?}");
        assert_eq!(of_kind, errors.total(), "{trick:?}");
        assert_eq!(
            (tally.operations, tally.latencies.count()),
            (0, 0),
            "{trick:?}"
        );
    }
}

#[test]
fn a_second_reply_and_a_broken_tag_end_the_run() {
    let reads = Plan {
        gets: 1.0,
        ..plan(Load::Closed)
    };
    for (trick, text) in [
        (Trick::Twice, "not in flight"),
        (Trick::BrokenTag, "a reply"),
        (Trick::HangUp, "ended the connection"),
    ] {
        let fake = Fake::native(trick);
        let error = fill_and_run(&fake, native(Suite::Hmac), &reads, &data(64)).unwrap_err();
        assert!(format!("{error:#}").contains(text), "{trick:?}: {error:#}");
    }
}

#[test]
fn a_server_without_the_key_is_not_measured() {
    let fake = Fake::native(Trick::None);
    let other = || Native::new(Suite::Hmac, Some(("bench".into(), Secret::new(&[8; 32]))));
    assert!(Driver::connect(&fake.endpoint(), 1, other).is_err());
}

#[test]
fn resp_memcached_and_echoes_are_driven_by_the_same_loop() {
    for refill in [Refill::Batch, Refill::Each] {
        let plan = Plan {
            refill,
            ..plan(Load::Closed)
        };
        for value_bytes in [64, 20_000] {
            let data = data(value_bytes);
            let resp = Fake::resp();
            assert_clean(&fill_and_run(&resp, Resp::default, &plan, &data).unwrap());
            let memcached = Fake::memcached();
            assert_clean(&fill_and_run(&memcached, Memcached::default, &plan, &data).unwrap());
            let echo = Fake::floor();
            assert_clean(&fill_and_run(&echo, Echo::default, &plan, &data).unwrap());
        }
    }
}

#[test]
fn an_open_loop_sends_what_was_due() {
    let open = Plan {
        duration: Duration::from_millis(200),
        ..plan(Load::Open(5_000.0))
    };
    let fake = Fake::resp();
    let tally = fill_and_run(&fake, Resp::default, &open, &data(64)).unwrap();
    assert_eq!((tally.errors.total(), tally.unanswered), (0, 0));
    // Every request that was due in the 200 ms has its latency, however busy the machine is.
    let due = tally.latencies.count();
    assert!((999..=1_001).contains(&due), "{due}");
}

#[test]
fn protocols_without_batches_refuse_them() {
    let fake = Fake::resp();
    let mut driver = Driver::connect(&fake.endpoint(), 1, Echo::default).unwrap();
    let batched = Plan {
        batch: 2,
        ..plan(Load::Closed)
    };
    assert!(driver.run(&batched, &data(8), &mut |_| Ok(())).is_err());
}
