//! Bytes against the MessagePack specification, bad input, round trips.

use proptest::prelude::*;

use super::*;
use crate::error::{DecodeError, DecodeKind};

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out).unwrap();
    out
}

#[track_caller]
fn both_ways(value: Value, bytes: &[u8]) {
    assert_eq!(encoded(&value), bytes, "{value:?}");
    assert_eq!(Value::decode(bytes), Ok(value));
}

#[test]
fn integers_take_their_shortest_form() {
    for (number, bytes) in [
        (0_i64, &[0x00][..]),
        (127, &[0x7f]),
        (128, &[0xcc, 0x80]),
        (255, &[0xcc, 0xff]),
        (256, &[0xcd, 0x01, 0x00]),
        (65_535, &[0xcd, 0xff, 0xff]),
        (65_536, &[0xce, 0x00, 0x01, 0x00, 0x00]),
        (4_294_967_295, &[0xce, 0xff, 0xff, 0xff, 0xff]),
        (4_294_967_296, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (
            i64::MAX,
            &[0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        (-1, &[0xff]),
        (-32, &[0xe0]),
        (-33, &[0xd0, 0xdf]),
        (-128, &[0xd0, 0x80]),
        (-129, &[0xd1, 0xff, 0x7f]),
        (-32_768, &[0xd1, 0x80, 0x00]),
        (-32_769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        (-2_147_483_648, &[0xd2, 0x80, 0x00, 0x00, 0x00]),
        (
            -2_147_483_649,
            &[0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        ),
        (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        both_ways(Value::Int(number), bytes);
    }
    both_ways(Value::UInt(1 << 63), &[0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    both_ways(
        Value::UInt(u64::MAX),
        &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
    );
}

#[test]
fn the_other_scalars_are_those_of_messagepack() {
    both_ways(Value::Nil, &[0xc0]);
    both_ways(Value::Bool(false), &[0xc2]);
    both_ways(Value::Bool(true), &[0xc3]);
    both_ways(Value::Float(1.5), &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        Value::decode(&[0xca, 0x3f, 0xc0, 0, 0]),
        Ok(Value::Float(1.5))
    );
}

#[test]
fn longer_forms_of_integers_are_read_too() {
    for bytes in [
        &[0xcc, 5][..],
        &[0xcd, 0, 5],
        &[0xd0, 5],
        &[0xd1, 0, 5],
        &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
    ] {
        assert_eq!(Value::decode(bytes), Ok(Value::Int(5)));
    }
}

#[test]
fn lengths_take_their_shortest_form() {
    for (len, text, binary) in [
        (0, &[0xa0][..], &[0xc4, 0][..]),
        (31, &[0xbf], &[0xc4, 31]),
        (32, &[0xd9, 32], &[0xc4, 32]),
        (255, &[0xd9, 255], &[0xc4, 255]),
        (256, &[0xda, 1, 0], &[0xc5, 1, 0]),
        (65_535, &[0xda, 255, 255], &[0xc5, 255, 255]),
        (65_536, &[0xdb, 0, 1, 0, 0], &[0xc6, 0, 1, 0, 0]),
    ] {
        let payload = vec![b'x'; len];
        let whole = |front: &[u8]| [front, &payload].concat();
        both_ways(Value::Str("x".repeat(len)), &whole(text));
        both_ways(Value::Bytes(payload.clone()), &whole(binary));
    }
    for (len, list, map) in [
        (0, &[0x90][..], &[0x80][..]),
        (15, &[0x9f], &[0x8f]),
        (16, &[0xdc, 0, 16], &[0xde, 0, 16]),
        (65_535, &[0xdc, 255, 255], &[0xde, 255, 255]),
        (65_536, &[0xdd, 0, 1, 0, 0], &[0xdf, 0, 1, 0, 0]),
    ] {
        both_ways(
            Value::Array(vec![Value::Nil; len]),
            &[list, &vec![0xc0; len]].concat(),
        );
        let pairs = vec![(Value::Nil, Value::Int(1)); len];
        both_ways(Value::Map(pairs), &[map, &[0xc0, 1].repeat(len)].concat());
    }
}

#[test]
fn events_come_in_the_order_of_the_wire() {
    let bytes = [0x82, 0xa1, b'a', 0x92, 1, 0xc3, 0xa1, b'b', 0x80];
    let mut reader = Reader::new(&bytes);
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    assert_eq!(
        events,
        [
            Event::Map(2),
            Event::Str("a"),
            Event::Array(2),
            Event::Int(1),
            Event::Bool(true),
            Event::End,
            Event::Str("b"),
            Event::Map(0),
            Event::End,
            Event::End,
        ]
    );
    assert_eq!(reader.next_event(), Ok(None));
}

#[test]
fn skipping_passes_over_one_value_with_all_it_contains() {
    let bytes = [0x93, 0x92, 1, 0x91, 2, 7, 0xc0];
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.next_event(), Ok(Some(Event::Array(3))));
    reader.skip().unwrap();
    assert_eq!(reader.next_event(), Ok(Some(Event::Int(7))));
    reader.skip().unwrap();
    assert_eq!(reader.next_event(), Ok(Some(Event::End)));
    assert_eq!(reader.next_event(), Ok(None));
}

#[test]
fn bad_input_is_refused_where_it_is_bad() {
    for (bytes, offset, kind) in [
        (&[][..], 0, DecodeKind::Truncated),
        (&[0xc0, 0xc0], 1, DecodeKind::Trailing),
        (&[0xc1], 0, DecodeKind::Unknown(0xc1)),
        (&[0xc7, 0, 0], 0, DecodeKind::Unknown(0xc7)),
        (&[0xd4, 1, 0], 0, DecodeKind::Unknown(0xd4)),
        (&[0xd8], 0, DecodeKind::Unknown(0xd8)),
        (&[0xcc], 0, DecodeKind::Truncated),
        (&[0xcb, 0, 0, 0, 0, 0, 0, 0], 0, DecodeKind::Truncated),
        (&[0xa2, b'a'], 0, DecodeKind::Truncated),
        (&[0xa1, 0xff], 0, DecodeKind::Utf8),
        (&[0xc6, 255, 255, 255, 255], 0, DecodeKind::Truncated),
        (&[0xdb, 255, 255, 255, 255, b'a'], 0, DecodeKind::Truncated),
        // Counts beyond the bytes that are left.
        (&[0x91], 0, DecodeKind::Truncated),
        (&[0x81, 0xc0], 0, DecodeKind::Truncated),
        (&[0xdd, 255, 255, 255, 255, 0xc0], 0, DecodeKind::Truncated),
        (
            &[0xdf, 255, 255, 255, 255, 0xc0, 0xc0],
            0,
            DecodeKind::Truncated,
        ),
        // Enough for the inner array alone, not for what the outer one still owes as well.
        (&[0x93, 0x92, 0xc0, 0xc0], 1, DecodeKind::Truncated),
    ] {
        let error = DecodeError::new("typed value", offset, kind);
        assert_eq!(Value::decode(bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn every_byte_alone_is_a_value_or_an_error() {
    for byte in 0..=u8::MAX {
        if let Ok(value) = Value::decode(&[byte]) {
            assert_eq!(encoded(&value), [byte]);
        }
    }
}

#[test]
fn an_error_stays() {
    let mut reader = Reader::new(&[0x91, 0xc1]);
    assert_eq!(reader.next_event(), Ok(Some(Event::Array(1))));
    let error = reader.next_event().unwrap_err();
    assert_eq!(error.offset, 1);
    assert_eq!(reader.next_event(), Err(error));
}

#[test]
fn nesting_ends_at_the_deepest_level_and_not_one_past_it() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    let value = Value::decode(&nested(DEPTH_MAX)).unwrap();
    assert_eq!(encoded(&value), nested(DEPTH_MAX));
    let error = DecodeError::new("typed value", DEPTH_MAX, DecodeKind::OutOfRange);
    assert_eq!(Value::decode(&nested(DEPTH_MAX + 1)), Err(error));

    let mut out = vec![7];
    assert_eq!(
        Value::Array(vec![value.clone()]).encode(&mut out),
        Err(WriteError::TooDeep)
    );
    assert_eq!(out, [7]);
    let pairs = vec![(value.clone(), Value::Nil), (Value::Nil, Value::Nil)];
    assert_eq!(Value::Map(pairs).encode(&mut out), Err(WriteError::TooDeep));
    // Empty ones count as well.
    let empty = |depth: usize| [vec![0x91; depth], vec![0x90]].concat();
    assert!(Value::decode(&empty(DEPTH_MAX - 1)).is_ok());
    assert_eq!(Value::decode(&empty(DEPTH_MAX)), Err(error));
}

#[test]
fn a_tree_holds_as_many_values_as_allowed_and_not_one_more() {
    for (len, passes) in [(TREE_VALUES_MAX - 1, true), (TREE_VALUES_MAX, false)] {
        let mut bytes = vec![0xdd];
        bytes.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        bytes.resize(5 + len, 0xc0);
        assert_eq!(Value::decode(&bytes).is_ok(), passes);
    }
}

#[test]
fn hostile_nesting_needs_no_stack() {
    let deep = vec![0x91; 4 * 1024 * 1024];
    let whole = [vec![0x91; DEPTH_MAX], vec![0xc0]].concat();
    std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(move || {
            assert!(Value::decode(&deep).is_err());
            let value = Value::decode(&whole).unwrap();
            assert_eq!(encoded(&value), whole);
            assert_eq!(value.clone(), value);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn the_writer_tells_what_was_wrong() {
    let written = |write: fn(&mut Writer<'_>)| {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        write(&mut writer);
        writer.finish().map(|()| out)
    };
    assert_eq!(written(|_| {}), Err(WriteError::TooFew));
    assert_eq!(written(|w| _ = w.nil().nil()), Err(WriteError::TooMany));
    assert_eq!(written(|w| _ = w.array(2).nil()), Err(WriteError::TooFew));
    assert_eq!(
        written(|w| _ = w.array(1).nil().nil()),
        Err(WriteError::TooMany)
    );
    assert_eq!(written(|w| _ = w.map(1).str("a")), Err(WriteError::TooFew));
    assert_eq!(written(|w| _ = w.array(0)), Ok(vec![0x90]));
    assert_eq!(
        written(|w| _ = w.map(2).str("a").array(1).int(-1).str("b").map(0)),
        Ok(vec![0x82, 0xa1, b'a', 0x91, 0xff, 0xa1, b'b', 0x80])
    );
}

#[test]
fn a_map_is_looked_up_by_its_text_keys() {
    let map = Value::Map(vec![
        (Value::Int(1), Value::Nil),
        ("keys".into(), 12_u64.into()),
        ("name".into(), "kv".into()),
    ]);
    assert_eq!(map.at("keys").and_then(Value::as_u64), Some(12));
    assert_eq!(map.at("name").and_then(Value::as_str), Some("kv"));
    assert_eq!(map.at("none"), None);
    assert_eq!(Value::Nil.at("keys"), None);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i16>().prop_map(|n| Value::Int(n.into())),
        (-1e300..1e300).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 80, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(value in value()) {
        let bytes = encoded(&value);
        prop_assert_eq!(Value::decode(&bytes), Ok(value));
        for end in 0..bytes.len() {
            prop_assert!(Value::decode(&bytes[..end]).is_err(), "a prefix is not a value");
        }
        let longer = [bytes, vec![0]].concat();
        prop_assert!(Value::decode(&longer).is_err());
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = Value::decode(&bytes) {
            let again = encoded(&value);
            prop_assert!(again.len() <= bytes.len() + 4 * bytes.iter().filter(|&&b| b == 0xca).count());
            if !format!("{value:?}").contains("NaN") {
                prop_assert_eq!(Value::decode(&again), Ok(value));
            }
        }
    }
}
