//! The committed counts: their text, and what a change may do to them.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::{Cost, Costs};

/// A rise of more than so many hundredths fails.
const RISE_PERCENT_MAX: u64 = 3;

const HEAD: &str = "\
# Instructions of one small frame, stage by stage: docs/benchmarks/counts.md says of what.
# Written by: cargo xtask bench --counts --update \"REASON\"
# `code` is everything but SHA-256's compression function; `sha256` is that, in software.
";

/// Counts, and the tools that they were made with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) compiler: String,
    pub(super) valgrind: String,
    pub(super) costs: Costs,
}

impl Baseline {
    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut this = Self {
            compiler: String::new(),
            valgrind: String::new(),
            costs: Costs::new(),
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let (name, value) = line.split_once(" = ").context(line.to_owned())?;
            match name {
                "reason" => {}
                "compiler" => this.compiler = value.trim_matches('"').to_owned(),
                "valgrind" => this.valgrind = value.trim_matches('"').to_owned(),
                stage => {
                    let cost = cost(value).with_context(|| line.to_owned())?;
                    if this.costs.insert(stage.to_owned(), cost).is_some() {
                        bail!("{stage} stands there twice");
                    }
                }
            }
        }
        Ok(this)
    }

    pub(super) fn to_text(&self, reason: &str) -> Result<String> {
        if reason.contains(['"', '\\', '\n']) {
            bail!("the reason is one line without quotes and backslashes");
        }
        let mut text = HEAD.to_owned();
        writeln!(text, "reason = \"{reason}\"")?;
        writeln!(text, "compiler = \"{}\"", self.compiler)?;
        writeln!(text, "valgrind = \"{}\"\n\n[counts]", self.valgrind)?;
        for (name, Cost { code, sha256 }) in &self.costs {
            writeln!(text, "{name} = {{ code = {code}, sha256 = {sha256} }}")?;
        }
        Ok(text)
    }

    /// What is more than `committed` allows, or is not in both.
    pub(super) fn rises(&self, committed: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, now) in &self.costs {
            let Some(then) = committed.costs.get(name) else {
                found.push(format!("{name} is not in the baseline"));
                continue;
            };
            for (part, now, then) in parts(*now, *then) {
                if is_rise(then, now) {
                    found.push(format!("{name}: {then} -> {now} instructions of {part}"));
                }
            }
        }
        for name in committed.costs.keys() {
            if !self.costs.contains_key(name) {
                found.push(format!("{name} is no longer counted"));
            }
        }
        found
    }

    /// Stages that became cheaper by more than what a rise may be.
    pub(super) fn falls(&self, committed: &Self) -> Vec<String> {
        let both = self
            .costs
            .iter()
            .filter_map(|(name, now)| Some((name, *now, *committed.costs.get(name)?)));
        both.filter(|(_, now, then)| {
            parts(*now, *then)
                .iter()
                .any(|(_, now, then)| is_rise(*now, *then))
        })
        .map(|(name, ..)| name.clone())
        .collect()
    }

    /// Tools that are not those of `committed`: a rise may be theirs.
    pub(super) fn differences_in_tools(&self, committed: &Self) -> Vec<String> {
        [
            (&self.compiler, &committed.compiler),
            (&self.valgrind, &committed.valgrind),
        ]
        .into_iter()
        .filter(|(now, then)| now != then)
        .map(|(now, then)| format!("counted with {now}, the baseline with {then}"))
        .collect()
    }

    /// For people.
    pub(super) fn table(&self, committed: Option<&Self>) -> String {
        let mut text = format!(
            "{:<16} {:>7} {:>9} {:>8} {:>9}",
            "stage", "code", "baseline", "change", "sha256"
        );
        for (name, Cost { code, sha256 }) in &self.costs {
            let then = committed.and_then(|committed| committed.costs.get(name));
            let (then, change) = then.map_or((String::new(), String::new()), |then| {
                (then.code.to_string(), change(then.code, *code))
            });
            text.push_str(&format!(
                "\n{name:<16} {code:>7} {then:>9} {change:>8} {sha256:>9}"
            ));
        }
        text
    }
}

/// Both parts of a cost: name, now, then.
fn parts(now: Cost, then: Cost) -> [(&'static str, u64, u64); 2] {
    [
        ("code", now.code, then.code),
        ("SHA-256", now.sha256, then.sha256),
    ]
}

fn is_rise(then: u64, now: u64) -> bool {
    now.saturating_mul(100) > then.saturating_mul(100 + RISE_PERCENT_MAX)
}

/// In tenths of a percent, rounded away from zero, so that no change looks like none.
fn change(then: u64, now: u64) -> String {
    let sign = match now.cmp(&then) {
        std::cmp::Ordering::Less => '-',
        std::cmp::Ordering::Equal => return "0 %".to_owned(),
        std::cmp::Ordering::Greater => '+',
    };
    let tenths = now
        .abs_diff(then)
        .saturating_mul(1000)
        .div_ceil(then.max(1));
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

/// `{ code = 1, sha256 = 2 }`
fn cost(text: &str) -> Option<Cost> {
    let inside = text.strip_prefix("{ code = ")?.strip_suffix(" }")?;
    let (code, sha256) = inside.split_once(", sha256 = ")?;
    Some(Cost {
        code: code.parse().ok()?,
        sha256: sha256.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(costs: &[(&str, u64, u64)]) -> Baseline {
        let costs = costs.iter().map(|(name, code, sha256)| {
            let (code, sha256) = (*code, *sha256);
            ((*name).to_owned(), Cost { code, sha256 })
        });
        Baseline {
            compiler: "rustc 1".to_owned(),
            valgrind: "valgrind-1".to_owned(),
            costs: costs.collect(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let written = baseline(&[("get-sign", 168, 10_104), ("get-verify", 711, 0)]);
        let text = written.to_text("a test").unwrap();
        assert_eq!(Baseline::parse(&text).unwrap(), written);
        assert!(text.contains("reason = \"a test\""), "{text}");
        assert!(written.to_text("a \"quote\"").is_err());
        assert!(Baseline::parse("get-sign = 168\n").is_err());
        assert!(Baseline::parse(&format!("{text}{}", text.lines().last().unwrap())).is_err());
    }

    #[test]
    fn three_per_cent_pass_and_more_do_not() {
        let then = baseline(&[("a", 1000, 2000)]);
        assert!(baseline(&[("a", 1030, 2060)]).rises(&then).is_empty());
        assert_eq!(baseline(&[("a", 1031, 2000)]).rises(&then).len(), 1);
        assert_eq!(baseline(&[("a", 1031, 2061)]).rises(&then).len(), 2);
        // What cost nothing may not begin to.
        let then = baseline(&[("a", 1000, 0)]);
        assert_eq!(baseline(&[("a", 1000, 1)]).rises(&then).len(), 1);
    }

    #[test]
    fn a_stage_that_is_new_or_gone_does_not_pass() {
        let (one, two) = (
            baseline(&[("a", 1, 0)]),
            baseline(&[("a", 1, 0), ("b", 1, 0)]),
        );
        assert_eq!(one.rises(&two), ["b is no longer counted"]);
        assert_eq!(two.rises(&one), ["b is not in the baseline"]);
    }

    #[test]
    fn a_fall_is_told_and_passes() {
        let (then, now) = (baseline(&[("a", 1000, 0)]), baseline(&[("a", 900, 0)]));
        assert!(now.rises(&then).is_empty());
        assert_eq!(now.falls(&then), ["a"]);
        assert!(then.falls(&then).is_empty());
    }

    #[test]
    fn other_tools_are_told() {
        let then = baseline(&[]);
        let mut now = baseline(&[]);
        assert!(now.differences_in_tools(&then).is_empty());
        now.compiler = "rustc 2".to_owned();
        assert_eq!(now.differences_in_tools(&then).len(), 1);
    }

    #[test]
    fn changes_are_rounded_away_from_none() {
        assert_eq!(change(1000, 1000), "0 %");
        assert_eq!(change(1000, 1031), "+3.1 %");
        assert_eq!(change(10_000, 10_001), "+0.1 %");
        assert_eq!(change(1000, 899), "-10.1 %");
    }
}
