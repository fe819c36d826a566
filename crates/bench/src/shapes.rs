//! The standard shapes, by the data they need.

use crate::results::Shape;

/// Shapes that share a server and what is stored in it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What is stored, and whether there is TLS: shape fields that all members have in common.
    pub base: Shape,
    /// Whether memory per entry is measured too.
    pub memory: bool,
    /// The shapes, each with its name.
    pub shapes: Vec<(String, Shape)>,
}

/// Who is measured decides what can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Only kv: all suites.
    Ours,
    /// Every system, batches where it has them.
    Everyone,
    /// What can be asked of an echo server: reads, of one kind.
    Floor,
}

/// How a shape is named: `get 50x64`, with what differs from the usual behind it.
fn named(verb: &str, shape: Shape, also: &str) -> (String, Shape) {
    let gets = if verb == "get" { 1.0 } else { 0.0 };
    let name = format!("{verb} {}x{}{also}", shape.connections, shape.in_flight);
    (name, Shape { gets, ..shape })
}

fn sized(base: &Shape, connections: usize, in_flight: u16) -> Shape {
    Shape {
        connections,
        in_flight,
        ..base.clone()
    }
}

fn both(base: &Shape, sizes: &[(usize, u16)], also: &str) -> Vec<(String, Shape)> {
    sizes
        .iter()
        .flat_map(|&(connections, in_flight)| {
            let shape = sized(base, connections, in_flight);
            [named("get", shape.clone(), also), named("set", shape, also)]
        })
        .collect()
}

/// Durable writes, each acknowledged when the server was told to.
#[must_use]
pub(crate) fn durable(durability: &str, keys: u64) -> Group {
    let base = Shape {
        keys,
        ..Shape::default()
    };
    let shapes = [(1, 1), (50, 1), (1000, 1), (50, 64)].map(|(connections, in_flight)| {
        let shape = sized(&base, connections, in_flight);
        named("set", shape, &format!(" {durability}"))
    });
    Group {
        shapes: shapes.to_vec(),
        memory: false,
        base,
    }
}

/// Reads of stored entries, `also` saying where those are.
#[must_use]
pub(crate) fn reads(also: &str, keys: u64, sizes: &[(usize, u16)]) -> Group {
    let base = Shape {
        keys,
        ..Shape::default()
    };
    let shapes = sizes.iter().map(|&(connections, in_flight)| {
        let shape = sized(&base, connections, in_flight);
        named("get", shape, &format!(" {also}"))
    });
    Group {
        shapes: shapes.collect(),
        memory: false,
        base,
    }
}

/// The standard shapes: 16-byte keys, 64-byte values from `keys` keys, and then larger values, TLS,
/// suites and batches.
#[must_use]
pub(crate) fn standard(audience: Audience, keys: u64) -> Vec<Group> {
    let base = Shape {
        keys,
        ..Shape::default()
    };
    let mut small = both(&base, &[(1, 1), (50, 1), (1, 64), (50, 64), (1000, 1)], "");
    if audience == Audience::Ours {
        for suite in [0, 2] {
            let shape = Shape {
                suite,
                ..sized(&base, 50, 64)
            };
            small.extend([
                named("get", shape.clone(), &format!(" suite {suite}")),
                named("set", shape, &format!(" suite {suite}")),
            ]);
        }
    }
    if audience != Audience::Floor {
        let batched = Shape {
            batch: 100,
            ..sized(&base, 50, 1)
        };
        small.extend([
            named("get", batched.clone(), " batch 100"),
            named("set", batched, " batch 100"),
        ]);
    }
    let kib = Shape {
        keys: keys.min(100_000),
        value_bytes: 1_024,
        ..base.clone()
    };
    let large = Shape {
        keys: keys.min(4_096),
        value_bytes: 65_536,
        ..base.clone()
    };
    let tls = Shape {
        tls: true,
        ..base.clone()
    };
    let mut groups = vec![
        Group {
            shapes: small,
            memory: audience != Audience::Floor,
            base,
        },
        Group {
            shapes: both(&kib, &[(50, 64)], " 1 KiB"),
            memory: audience != Audience::Floor,
            base: kib,
        },
        Group {
            shapes: both(&large, &[(1, 16)], " 64 KiB"),
            memory: false,
            base: large,
        },
        Group {
            shapes: both(&tls, &[(50, 1), (1, 64), (50, 64)], " TLS"),
            memory: false,
            base: tls,
        },
    ];
    if audience == Audience::Floor {
        groups.retain(|group| !group.base.tls);
        for group in &mut groups {
            group.shapes.retain(|(_, shape)| shape.gets >= 1.0);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_members_fit_their_group() {
        for audience in [Audience::Ours, Audience::Everyone, Audience::Floor] {
            let mut names = BTreeSet::new();
            for group in standard(audience, 1_000_000) {
                for (name, shape) in group.shapes {
                    assert!(names.insert(name.clone()), "{name}");
                    let stored = |s: &Shape| (s.keys, s.key_bytes, s.value_bytes, s.tls);
                    assert_eq!(stored(&shape), stored(&group.base), "{name}");
                    assert!(shape.suite == 1 || audience == Audience::Ours, "{name}");
                    assert!(shape.batch == 1 || audience != Audience::Floor, "{name}");
                }
            }
            assert!(names.contains("get 50x64"));
        }
    }
}
