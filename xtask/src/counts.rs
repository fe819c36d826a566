//! `cargo xtask bench --counts`: the instructions that one small frame costs, stage by stage, held
//! against the committed baseline.
//!
//! The ways and their stages are `kv-counts`'s; this runs it under valgrind's callgrind, which counts
//! the same on a busy machine as on an idle one. What stands in `docs/benchmarks/counts.toml` is what
//! a change has to keep to, or to change with a reason in the same commit.

mod baseline;
mod dump;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use xshell::cmd;

use crate::tools;
use crate::workspace::Workspace;
use baseline::Baseline;

const BASELINE: &str = "docs/benchmarks/counts.toml";
const WAYS: [&str; 2] = ["get", "set"];
const STAGES: [&str; 6] = [
    "verify",
    "decode",
    "look_up",
    "look_up_run",
    "encode",
    "sign",
];

/// What one stage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    /// Instructions outside of SHA-256's compression function.
    code: u64,
    /// Instructions inside of it, in software.
    sha256: u64,
}

/// Way and stage, as `get-verify`, and its cost.
type Costs = BTreeMap<String, Cost>;

/// Measures, then compares with the baseline or, with `--update REASON`, replaces it.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let path = workspace.root.join(BASELINE);
    let Some(current) = measure(workspace)? else {
        return Ok(());
    };
    match arguments {
        [] => compare(&path, &current),
        ["--update", reason] if !reason.trim().is_empty() => {
            fs::write(&path, current.to_text(reason)?)?;
            println!("{}", current.table(None));
            println!("wrote {BASELINE}; commit it with what changed the counts");
            Ok(())
        }
        _ => bail!("expected nothing or --update \"REASON\""),
    }
}

/// The step of CI: without arguments, and never an update.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(workspace, &[])
}

fn compare(path: &Path, current: &Baseline) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let committed = Baseline::parse(&text)?;
    println!("{}", current.table(Some(&committed)));
    for line in current.differences_in_tools(&committed) {
        println!("note: {line}");
    }
    for name in current.falls(&committed) {
        println!("note: {name} became cheaper; update the baseline so that it stays so");
    }
    let rises = current.rises(&committed);
    ensure!(
        rises.is_empty(),
        "more instructions than {BASELINE} allows:\n  {}\nmake them fewer, or say why in the same \
         commit: cargo xtask bench --counts --update \"REASON\"",
        rises.join("\n  ")
    );
    println!("no stage costs more than the baseline allows");
    Ok(())
}

/// Builds and counts; `None` where that cannot be done and need not be.
fn measure(workspace: &Workspace) -> Result<Option<Baseline>> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("the baseline is for x86-64 Linux: nothing was counted");
        return Ok(None);
    }
    if !tools::is_on_path(workspace, "valgrind") {
        ensure!(
            !Workspace::is_ci(),
            "valgrind is not installed; .ci/run installs it"
        );
        println!("valgrind is not installed: NOTHING WAS COUNTED (apt-get install valgrind)");
        return Ok(None);
    }
    let sh = &workspace.shell;
    cmd!(sh, "cargo build --quiet --release --package kv-counts").run()?;
    let mut costs = Costs::new();
    for way in WAYS {
        count(workspace, way, &mut costs)?;
    }
    Ok(Some(Baseline {
        compiler: cmd!(sh, "rustc --version").quiet().read()?,
        valgrind: cmd!(sh, "valgrind --version").quiet().read()?,
        costs,
    }))
}

/// Goes one way under callgrind, which writes a file at the exit of every stage.
fn count(workspace: &Workspace, way: &str, costs: &mut Costs) -> Result<()> {
    let sh = &workspace.shell;
    let target = workspace.target();
    let program = target.join("release/kv-counts");
    let directory = target.join("counts").join(way);
    sh.remove_path(&directory)?;
    sh.create_dir(&directory)?;
    let file = directory.join("out");
    // Two spellings of one pattern: callgrind keeps a single action for each.
    let (entry, exit) = ("kv_counts::stages::*", "*::stages::*");
    cmd!(
        sh,
        "valgrind -q --tool=callgrind --callgrind-out-file={file} --compress-strings=no --compress-pos=no --zero-before={entry} --dump-after={exit} {program} {way}"
    )
    // Symbols are looked up before the first stage, not in it.
    .env("LD_BIND_NOW", "1")
    .ignore_stderr()
    .run()?;

    // Each stage is passed twice, and the second time counts: files are numbered from 1 on.
    let mut numbered: Vec<(usize, _)> = sh
        .read_dir(&directory)?
        .into_iter()
        .filter_map(|path| {
            let number = path.extension()?.to_str()?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    numbered.sort();
    ensure!(
        numbered.len() == 2 * STAGES.len(),
        "{} stages were passed, expected {} twice; is a stage inlined or renamed?",
        numbered.len(),
        STAGES.len()
    );
    for (_, path) in numbered {
        let text = fs::read_to_string(&path)?;
        let dump = dump::parse(&text).with_context(|| path.display().to_string())?;
        let stage = dump.trigger.rsplit("::").next().unwrap_or_default();
        ensure!(STAGES.contains(&stage), "unknown stage: {}", dump.trigger);
        let name = format!("{way}-{}", stage.replace('_', "-"));
        costs.insert(name, dump.cost);
    }
    Ok(())
}
