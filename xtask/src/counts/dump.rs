//! One file of callgrind: which stage it is of, and what that stage cost.
//!
//! The format: `fn=` names the function to which the cost lines below it belong; a `calls=` line is
//! followed by one line with the cost of what was called, which is counted where it stands itself.

use anyhow::{Context, Result, ensure};

use super::Cost;

/// Functions whose instructions are SHA-256's own.
const SHA256: &str = "sha2::sha256::";

pub(super) struct Dump {
    /// The function at whose exit the file was written.
    pub(super) trigger: String,
    pub(super) cost: Cost,
}

/// Reads one file, and checks that every instruction was seen exactly once.
pub(super) fn parse(text: &str) -> Result<Dump> {
    let mut cost = Cost { code: 0, sha256: 0 };
    let mut in_sha256 = false;
    let mut of_a_call = false;
    let (mut trigger, mut summary) = (None, None);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("desc: Trigger: --dump-after=") {
            trigger = Some(name.to_owned());
        } else if let Some(number) = line.strip_prefix("summary: ") {
            summary = Some(number.trim().parse::<u64>()?);
        } else if let Some(name) = line.strip_prefix("fn=") {
            in_sha256 = name.starts_with(SHA256);
        } else if line.starts_with("calls=") {
            of_a_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let instructions = line.split_whitespace().nth(1);
            let instructions: u64 = instructions.context("a line without a cost")?.parse()?;
            match (std::mem::take(&mut of_a_call), in_sha256) {
                (true, _) => {}
                (false, true) => cost.sha256 += instructions,
                (false, false) => cost.code += instructions,
            }
        }
    }
    let summary = summary.context("no summary")?;
    let sum = cost.code + cost.sha256;
    ensure!(
        sum == summary && sum > 0,
        "the lines add up to {sum} instructions, the summary says {summary}"
    );
    Ok(Dump {
        trigger: trigger.context("no trigger")?,
        cost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
version: 1
desc: Trigger: --dump-after=kv_counts::stages::sign

events: Ir
summary: 130

fl=???
fn=(below main)
cfn=kv_counts::stages::sign
calls=0 0
0 130

fn=kv_counts::stages::sign
10 7
fi=other.rs
12 3
cfn=sha2::sha256::compress256
calls=1 81
12 120

fn=sha2::sha256::compress256
81 100
cfn=memcpy
calls=2 0
82 20

fn=memcpy
0 20
";

    #[test]
    fn every_instruction_is_counted_once_and_where_it_is() {
        let dump = parse(FILE).unwrap();
        assert_eq!(dump.trigger, "kv_counts::stages::sign");
        assert_eq!(
            dump.cost,
            Cost {
                code: 30,
                sha256: 100
            }
        );
    }

    #[test]
    fn lines_that_do_not_add_up_are_refused() {
        assert!(parse(&FILE.replace("81 100", "81 99")).is_err());
        assert!(parse(&FILE.replace("calls=2 0\n", "")).is_err());
        assert!(parse(&FILE.replace("desc: Trigger", "desc: Other")).is_err());
        assert!(parse("desc: Trigger: --dump-after=a\nsummary: 0\n").is_err());
        assert!(parse("").is_err());
    }
}
