//! Keys differ, values are told apart, and choices have the frequencies they promise.

use super::*;

fn data(count: u64, choice: Choice, key: usize, value: usize) -> Data {
    Data::new(count, choice, key, value).unwrap()
}

#[test]
fn keys_have_their_length_and_differ() {
    for (count, bytes) in [(1, 1), (16, 1), (256, 2), (1_000_000, 16), (1000, 40)] {
        let data = data(count, Choice::Uniform, bytes, 8);
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..count.min(5_000) {
            let mut key = Vec::new();
            data.write_key(index, &mut key);
            assert_eq!(key.len(), bytes);
            assert!(key.iter().all(u8::is_ascii_alphanumeric));
            assert!(seen.insert(key), "{index} of {count}");
        }
    }
    assert!(Data::new(17, Choice::Uniform, 1, 8).is_err());
    assert!(Data::new(0, Choice::Uniform, 16, 8).is_err());
}

#[test]
fn a_value_belongs_to_its_key_and_to_no_other() {
    for len in [0, 1, 7, 8, 9, 64, 70_000] {
        let data = data(1_000, Choice::Uniform, 16, len);
        let mut value = Vec::new();
        data.write_value(7, &mut value);
        assert_eq!(value.len(), len);
        assert!(data.is_value(7, &value));
        assert_eq!(data.is_value(8, &value), len == 0);
        if let Some(last) = value.last_mut() {
            *last ^= 1;
            assert!(!data.is_value(7, &value));
            value.pop();
            assert!(!data.is_value(7, &value));
        }
    }
}

#[test]
fn uniform_keys_are_all_asked_for_alike() {
    let data = data(100, Choice::Uniform, 16, 8);
    let mut rng = Rng::new(1);
    let mut counts = [0_u32; 100];
    for _ in 0..100_000 {
        counts[usize::try_from(data.choose(&mut rng)).unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|&n| (850..1150).contains(&n)),
        "{counts:?}"
    );
}

#[test]
fn zipf_keys_have_the_frequencies_of_their_ranks() {
    for exponent in [0.7, 0.99, 1.0, 1.3] {
        let data = data(1_000, Choice::Zipf(exponent), 16, 8);
        let total: f64 = (1..=1000).map(|r| f64::from(r).powf(-exponent)).sum();
        let mut counts = vec![0_u32; 1_000];
        let mut rng = Rng::new(2);
        let draws = 400_000;
        for _ in 0..draws {
            counts[usize::try_from(data.choose(&mut rng)).unwrap()] += 1;
        }
        for rank in [1_u32, 2, 3, 10, 50] {
            let expected = f64::from(rank).powf(-exponent) / total * f64::from(draws);
            let found = f64::from(counts[rank as usize - 1]);
            let off = (found - expected).abs() / expected.sqrt();
            assert!(
                off < 5.0,
                "exponent {exponent} rank {rank}: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn the_members_of_a_batch_are_the_same_each_time_and_not_all_one() {
    let data = data(1_000_000, Choice::Uniform, 16, 8);
    let request = Request {
        verb: Verb::Get,
        first: 9,
        count: 100,
    };
    let members: Vec<_> = (0..100).map(|n| data.member(&request, n)).collect();
    assert_eq!(
        members,
        (0..100)
            .map(|n| data.member(&request, n))
            .collect::<Vec<_>>()
    );
    assert!(
        members
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 90
    );
    assert_eq!(
        data.member(
            &Request {
                count: 1,
                ..request
            },
            0
        ),
        9
    );
}
