//! `bench`: a running server is measured when it is named, and only then.

use crate::support::{Pair, offline};

const QUICK: [&str; 9] = [
    "bench",
    "run",
    "--no-pinning",
    "--quick",
    "--keys",
    "100",
    "-c2",
    "-i",
    "4",
];

#[test]
fn a_server_that_is_named_is_measured_with_its_key() {
    let pair = Pair::start();
    let url = format!("kv://{}", pair.server.address());
    let arguments = [&["--url", &url], &QUICK[..]].concat();
    let ran = pair.run(arguments).code(0);
    assert!(ran.text().contains("get 2x4"), "{ran:?}");
    assert!(!ran.stderr.contains("started"), "{ran:?}");
    let keys = pair.run(["scan", "--limit", "1"]).code(0);
    assert!(!keys.text().is_empty(), "it was filled with keys");
}

#[test]
fn a_named_server_and_one_to_be_started_contradict_each_other() {
    let home = tempfile::tempdir().unwrap();
    let url = ["--url", "kv://127.0.0.1:1"];
    let ran = offline(home.path(), [&url[..], &["bench", "suite"]].concat()).code(2);
    assert!(ran.stderr.contains("E_USAGE"), "{ran:?}");
    let far = ["--url", "kv://192.0.2.1", "--key-id", "none"];
    let ran = offline(home.path(), [&far[..], &QUICK[..]].concat()).code(2);
    assert!(ran.stderr.contains("E_BENCH"), "{ran:?}");
}

#[test]
fn its_help_is_the_generators_under_this_name() {
    let home = tempfile::tempdir().unwrap();
    let ran = offline(home.path(), ["bench", "--help"]).code(0);
    assert!(ran.text().contains("Usage: kv-cli bench"), "{ran:?}");
    for command in ["run", "compare", "durable", "report"] {
        assert!(ran.text().contains(&format!("\n  {command} ")), "{ran:?}");
    }
    let ran = offline(home.path(), ["bench", "run", "--suite", "x"]).code(2);
    assert!(ran.stderr.contains("--suite"), "{ran:?}");
    let ran = offline(home.path(), ["bench", "run", "--gets", "7"]).code(2);
    assert!(ran.stderr.contains("--gets is between"), "{ran:?}");
}
