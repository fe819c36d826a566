//! Tells the server what it was built from: commit, target and compiler.
//!
//! The commit comes from `KV_COMMIT`, as packagers set it, else from git, and only for builds with
//! optimisation: a debug build would be rebuilt at each commit to say something of little use.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=KV_COMMIT");
    let commit = std::env::var("KV_COMMIT").ok().or_else(commit_of_release);
    tell("KV_BUILD_COMMIT", commit);
    tell("KV_BUILD_TARGET", std::env::var("TARGET").ok());
    tell("KV_BUILD_RUSTC", compiler());
}

fn tell(name: &str, value: Option<String>) {
    let value = value.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env={name}={value}");
}

fn commit_of_release() -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        println!("cargo::rerun-if-changed=build.rs");
        return None;
    }
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    output("git", &["rev-parse", "--short=12", "HEAD"])
}

/// `1.88.0` of `rustc 1.88.0 (6b00bc388 2025-06-23)`.
fn compiler() -> Option<String> {
    let version = output(&std::env::var("RUSTC").ok()?, &["--version"])?;
    version.split(' ').nth(1).map(str::to_owned)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
