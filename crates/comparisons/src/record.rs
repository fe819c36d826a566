//! The element of every list: six fields of the types that people send.

use serde::{Deserialize, Serialize};

/// A user, say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Large enough for eight bytes.
    pub id: u64,
    /// Twelve to twenty bytes.
    pub name: String,
    /// With three decimals, as people write them; JSON keeps those exactly and in few bytes.
    pub score: f64,
    /// True for two thirds.
    pub active: bool,
    /// Small numbers.
    pub visits: u32,
    /// Two short words.
    pub tags: Vec<String>,
}

const NAMES: [&str; 8] = [
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "Ken",
];
const TAGS: [&str; 5] = ["blue", "green", "crimson", "amber", "violet"];

/// A list of so many, always the same.
#[must_use]
pub fn records(len: usize) -> Vec<Record> {
    let mut random = crate::payload::Random::new(len as u64);
    (0..len)
        .map(|index| Record {
            id: random.next() >> 8,
            name: format!("{} {index:08}", NAMES[index % NAMES.len()]),
            score: (random.next() % 100_000) as f64 / 1_000.0,
            active: index % 3 != 0,
            visits: (random.next() % 1_000) as u32,
            tags: (0..2)
                .map(|_| TAGS[(random.next() % 5) as usize].to_owned())
                .collect(),
        })
        .collect()
}
