//! The Wireshark dissector (`docs/wireshark`) against a capture made from the golden vectors.
//!
//! Needs tshark. Without it the tests say so and pass, except where the environment variable `CI` is
//! set: there a missing tool fails.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that says what is missing"
)]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn docs(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(path)
}

/// Whether tshark is there. `false` only outside of CI, after saying that it is missing.
fn installed() -> bool {
    let found = Command::new("tshark")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "tshark is not installed, and CI is set"
        );
        eprintln!("not checked: tshark is not installed");
    }
    found
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{stderr}");
    output
}

/// tshark with the dissector, over the sample capture.
fn tshark(arguments: &[&str]) -> Output {
    let output = run(Command::new("tshark")
        .arg("-X")
        .arg(format!("lua_script:{}", docs("wireshark/kv.lua").display()))
        .arg("-r")
        .arg(docs("wireshark/sample.pcap"))
        .args(["-Y", "kv"])
        .args(arguments));
    let stderr = String::from_utf8_lossy(&output.stderr).replace("kv.lua", "");
    assert!(!stderr.to_lowercase().contains("lua"), "{stderr}");
    output
}

/// What does not depend on the version of tshark: numbers of experts go, booleans are 0 or 1.
fn strip(node: &Value) -> Value {
    let drop = ["_ws.expert.group", "_ws.expert.severity", "_ws.malformed"];
    match node {
        Value::Array(items) => items.iter().map(strip).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !drop.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), strip(value)))
            .collect(),
        Value::String(text) if text == "True" => "1".into(),
        Value::String(text) if text == "False" => "0".into(),
        other => other.clone(),
    }
}

#[test]
fn the_dissector_shows_every_frame_of_the_sample_as_expected() {
    if !installed() {
        return;
    }
    let output = tshark(&["-T", "json", "-J", "kv", "--no-duplicate-keys"]);
    let packets: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packets = packets.as_array().unwrap();
    let text = std::fs::read_to_string(docs("wireshark/expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let expected = expected.as_array().unwrap();
    assert!(expected.len() > 50, "the expectation is nearly empty");
    assert_eq!(
        packets.len(),
        expected.len(),
        "number of packets with frames"
    );
    for (index, (packet, expected)) in packets.iter().zip(expected).enumerate() {
        let shown = strip(&packet["_source"]["layers"]["kv"]);
        assert_eq!(&shown, expected, "packet {index} of those with frames");
    }
}

#[test]
fn the_port_is_a_preference() {
    if !installed() {
        return;
    }
    let lines = |arguments: &[&str]| tshark(arguments).stdout.split(|&b| b == b'\n').count() - 1;
    let all = lines(&[]);
    assert!(all > 50, "{all} packets");
    assert_eq!(lines(&["-o", "kv.port:7778"]), 0);
    assert_eq!(lines(&["-o", "kv.port:7777"]), all);
}
