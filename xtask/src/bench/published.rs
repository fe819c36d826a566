//! `cargo xtask bench --publish [DIRECTORY] [--quick]`: everything that `docs/benchmarks.md` tells, one
//! after the other, as result files and a page with plots.
//!
//! Builds first, so that nothing but the measuring runs while it is measured. A step that fails does
//! not end the others: what the machine could not do is told at the end.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use super::{build, kv_bench, profile, profiling};
use crate::workspace::Workspace;

/// Times of one run of a shape, short, as there are many.
const SHORT: [&str; 4] = ["--duration", "0.6", "--warm-up", "0.15"];
/// 10,000 samples, which a p99.9 takes, need some seconds of single writes to a disk.
const LONG: [&str; 4] = ["--duration", "2.6", "--warm-up", "0.3"];

/// A sub-command of kv-bench, the name of its result file, its own arguments, and whether it takes
/// times and `--quick`.
struct Step {
    command: &'static str,
    name: &'static str,
    arguments: &'static [&'static str],
    times: Option<&'static [&'static str]>,
}

const STEPS: [Step; 9] = [
    Step {
        command: "compare",
        name: "compare",
        arguments: &[],
        times: Some(&SHORT),
    },
    Step {
        command: "durable",
        name: "durable-writes",
        arguments: &["--only", "always"],
        times: Some(&LONG),
    },
    Step {
        command: "durable",
        name: "durable-interval",
        arguments: &["--durability", "interval", "--only", "interval"],
        times: Some(&SHORT),
    },
    Step {
        command: "durable",
        name: "durable-reads",
        arguments: &["--only", "hot", "--only", "cold"],
        times: Some(&SHORT),
    },
    Step {
        command: "floor",
        name: "floor",
        arguments: &[],
        times: Some(&SHORT),
    },
    Step {
        command: "suite",
        name: "suites",
        arguments: &["--only", "suite"],
        times: Some(&SHORT),
    },
    Step {
        command: "client",
        name: "client",
        arguments: &[],
        times: Some(&SHORT),
    },
    Step {
        command: "sweep",
        name: "sweep",
        arguments: &["--runs", "3"],
        times: Some(&SHORT),
    },
    Step {
        command: "profile",
        name: "profile",
        arguments: &[],
        times: None,
    },
];

/// Measures all of it.
pub(super) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let (mut directory, mut quick) = (None, false);
    for &argument in arguments {
        match argument {
            "--quick" => quick = true,
            other if other.starts_with('-') => bail!("expected [DIRECTORY] [--quick], not {other}"),
            other if directory.is_none() => directory = Some(other),
            other => bail!("one directory, not {other} too"),
        }
    }
    let directory = workspace
        .root
        .join(directory.unwrap_or("target/benchmarks"));
    workspace.shell.create_dir(&directory)?;
    build(workspace)?;
    let profiled = profiling(workspace)?;
    let (begun, mut files, mut failed) = (Instant::now(), Vec::new(), Vec::new());
    for step in STEPS {
        if step.command == "profile" && !profiled {
            continue;
        }
        let file = directory.join(format!("{}.json", step.name));
        let file = file.display().to_string();
        let arguments = step.arguments_of(&file, quick);
        println!(
            "\n== {} ({:.0} s)",
            step.name,
            begun.elapsed().as_secs_f64()
        );
        let done = match step.command {
            "profile" => profile(workspace, &arguments),
            command => kv_bench(workspace, command, &arguments),
        };
        match done {
            Ok(()) => files.push(file),
            Err(error) => failed.push(format!("{}: {error:#}", step.name)),
        }
    }
    if !files.is_empty() {
        let out = directory.display().to_string();
        let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
        arguments.extend(["--out", &out]);
        kv_bench(workspace, "report", &arguments)?;
        println!("{out}/report.md: {:.0} s", begun.elapsed().as_secs_f64());
    }
    ensure!(
        failed.is_empty(),
        "not measured:\n  {}",
        failed.join("\n  ")
    );
    Ok(())
}

impl Step {
    fn arguments_of<'a>(&'a self, file: &'a str, quick: bool) -> Vec<&'a str> {
        let mut arguments = vec!["--json", file];
        match (self.times, quick) {
            (Some(_), true) => {
                // One run of everything: its own number of runs would contradict it.
                let own = self.arguments.strip_suffix(&["--runs", "3"]);
                arguments.extend(own.unwrap_or(self.arguments));
                arguments.push("--quick");
            }
            (Some(times), false) => {
                arguments.extend(self.arguments);
                arguments.extend(times);
            }
            (None, true) => arguments.extend(["--duration", "1", "--keys", "20000"]),
            (None, false) => arguments.extend(self.arguments),
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_step_writes_a_file_of_its_own_and_can_be_quick() {
        let names: BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
        for step in &STEPS {
            for quick in [false, true] {
                let arguments = step.arguments_of("x.json", quick);
                assert_eq!(arguments[..2], ["--json", "x.json"]);
                let contradicts = arguments.contains(&"--quick") && arguments.contains(&"--runs");
                assert!(!contradicts, "{arguments:?}");
            }
        }
    }
}
