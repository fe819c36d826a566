//! Tells the program what it was built from: commit and target.
//!
//! The commit comes from `KV_COMMIT`, as packagers set it, else from git, and only for builds with
//! optimisation: a debug build would be rebuilt at each commit to say something of little use.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=KV_COMMIT");
    let commit = std::env::var("KV_COMMIT")
        .ok()
        .or_else(commit_of_release)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=KV_BUILD_COMMIT={commit}");
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=KV_BUILD_TARGET={target}");
}

fn commit_of_release() -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        println!("cargo::rerun-if-changed=build.rs");
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
