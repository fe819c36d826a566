//! `cargo xtask fuzz`: runs the libFuzzer targets of `crates/fuzz`.
//!
//! The targets are the files of `fuzz_targets`; `kv-testkit`'s corpus test keeps that list, the
//! seeds and the registry of functions equal. New inputs are gathered below `target`, so that a
//! run leaves the committed seeds as they were.

use anyhow::{Context, Result, bail, ensure};
use xshell::{Cmd, cmd};

use crate::tools;
use crate::workspace::Workspace;

/// Carries a planted bug: a harness that does not find it finds nothing.
const CANARY: &str = "canary";
const SMOKE_SECONDS: u64 = 5;
const CANARY_SECONDS: u64 = 60;

/// Runs all targets briefly, or one for a while.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let targets = targets(workspace)?;
    match arguments {
        ["--smoke"] => {
            require_cargo_fuzz(workspace)?;
            for target in targets.iter().filter(|target| *target != CANARY) {
                libfuzzer(workspace, target, SMOKE_SECONDS)?.run()?;
            }
            canary(workspace)
        }
        [target, rest @ ..] if targets.iter().any(|name| name == target) => {
            require_cargo_fuzz(workspace)?;
            let time = match rest {
                [] => 60,
                ["--time", time] => seconds(time)?,
                _ => bail!("expected --time DURATION, found {}", rest.join(" ")),
            };
            Ok(libfuzzer(workspace, target, time)?.run()?)
        }
        _ => bail!("expected --smoke or one of: {}", targets.join(", ")),
    }
}

/// The planted bug must be found, otherwise the whole run proves nothing.
fn canary(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.shell;
    let artifacts = workspace.root.join("target/fuzz/canary-artifacts");
    sh.remove_path(&artifacts)?;
    sh.create_dir(&artifacts)?;
    let prefix = format!("-artifact_prefix={}/", artifacts.display());
    let result = libfuzzer(workspace, CANARY, CANARY_SECONDS)?
        .arg(prefix)
        .ignore_stderr()
        .run();
    let found = sh.read_dir(&artifacts)?.len();
    ensure!(
        result.is_err() && found > 0,
        "the canary's planted bug was not found within {CANARY_SECONDS} s"
    );
    println!("the canary's planted bug was found, as it must be");
    Ok(())
}

fn libfuzzer<'a>(workspace: &'a Workspace, target: &str, seconds: u64) -> Result<Cmd<'a>> {
    let sh = &workspace.shell;
    let gathered = workspace.root.join("target/fuzz").join(target);
    sh.create_dir(&gathered)?;
    let seeds = format!("crates/fuzz/corpus/{target}");
    let time = format!("-max_total_time={seconds}");
    let command = cmd!(
        sh,
        "cargo fuzz run --fuzz-dir crates/fuzz {target} {gathered} {seeds} -- {time} -verbosity=0 -print_final_stats=1 -rss_limit_mb=2048 -timeout=10"
    );
    // The sanitizer's flags are unstable; the toolchain stays the one that everything else uses.
    Ok(command.env("RUSTC_BOOTSTRAP", "1"))
}

fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let directory = workspace.root.join("crates/fuzz/fuzz_targets");
    let files = workspace.shell.read_dir(directory)?;
    let names = files
        .iter()
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned));
    Ok(names.collect())
}

fn require_cargo_fuzz(workspace: &Workspace) -> Result<()> {
    ensure!(
        tools::has_cargo_command(workspace, "fuzz"),
        "cargo-fuzz is not installed: cargo install cargo-fuzz"
    );
    Ok(())
}

/// Whole seconds in `60s`, `5m` or `1h`.
fn seconds(text: &str) -> Result<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or(text);
    let number: u64 = number
        .parse()
        .with_context(|| format!("not a duration: {text}"))?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => bail!("not a duration: {text}; say 60s, 5m or 1h"),
    };
    number.checked_mul(factor).context("too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(seconds("60s").unwrap(), 60);
        assert_eq!(seconds("5m").unwrap(), 300);
        assert_eq!(seconds("1h").unwrap(), 3600);
        for bad in ["", "60", "s", "60 s", "-1s", "1d"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
