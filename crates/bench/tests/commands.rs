//! The program from outside: it measures the floor it starts, writes results, and reports them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kv_bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kv-bench"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn text(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

const QUICK: [&str; 6] = ["--duration", "0.05", "--warm-up", "0.01", "--runs", "3"];

#[test]
fn a_running_server_is_measured_reported_and_its_processor_time_read() {
    let mut floor = Command::new(env!("CARGO_BIN_EXE_kv-bench"))
        .args(["floor-server", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = floor.stdout.take().unwrap();
    let floor = Ended(floor);
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let pid = floor.0.id().to_string();
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("run.json");
    let json = json.to_str().unwrap();

    let mut arguments = vec![
        "run",
        "--system",
        "floor",
        "--address",
        address,
        "--pid",
        &pid,
    ];
    arguments.extend([
        "--no-fill",
        "--keys",
        "1000",
        "-c",
        "2",
        "-i",
        "4",
        "--json",
        json,
    ]);
    arguments.extend(QUICK);
    let table = text(kv_bench(&arguments));
    assert!(table.contains("get 2x4"), "{table}");

    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let median = &results["records"][0]["median"];
    assert!(median["rate"].as_f64().unwrap() > 0.0);
    assert!(median["server_cpu_us"].is_f64(), "{median}");
    assert_eq!(median["errors"]["wrong_value"], 0);
    assert_eq!(results["records"][0]["runs"].as_array().unwrap().len(), 3);

    let out = directory.path().join("page");
    text(kv_bench(&["report", json, "--out", out.to_str().unwrap()]));
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(page.contains("| get 2x4 |"), "{page}");
}

#[test]
fn a_server_is_started_for_a_run_and_ended_after_it() {
    let mut arguments = vec!["run", "--system", "floor", "--no-fill", "--keys", "1000"];
    arguments.extend(["-c", "1", "-i", "1", "--rate", "2000"]);
    arguments.extend(QUICK);
    let table = text(kv_bench(&arguments));
    assert!(table.contains("get 1x1"), "{table}");
}

#[test]
fn shapes_that_make_no_sense_are_refused_in_words() {
    for (arguments, word) in [
        (&["--gets", "1.5"][..], "--gets"),
        (&["--rate", "0"], "--rate"),
        (&["--batch", "0"], "--batch"),
        (&["--zipf", "0"], "--zipf"),
        (&["--duration", "0"], "--duration"),
        (&["--runs", "0"], "--runs"),
        (&["--address", "192.0.2.1:1"], "loopback"),
        (&["--server-env", "X"], "NAME=VALUE"),
        (&["--key-bytes", "1"], "bytes to differ"),
    ] {
        let mut all = vec!["run", "--system", "floor", "--no-fill", "--no-pinning"];
        all.extend(arguments);
        let output = kv_bench(&all);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
}

#[test]
fn a_signal_ends_the_server_too() {
    let mut bench = Ended(
        Command::new(env!("CARGO_BIN_EXE_kv-bench"))
            .args(["run", "--system", "floor", "--no-fill", "--keys", "1000"])
            .args(["--runs", "9", "--duration", "0.3", "--warm-up", "0.01"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // The first words come after the first run: the server is there.
    let mut line = String::new();
    let stderr = bench.0.stderr.take().unwrap();
    BufReader::new(stderr).read_line(&mut line).unwrap();
    assert!(line.starts_with("run 1"), "{line}");
    let children = format!("/proc/{0}/task/{0}/children", bench.0.id());
    let server: u32 = std::fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let term = Command::new("kill").arg(bench.0.id().to_string()).status();
    assert!(term.unwrap().success());
    assert_eq!(bench.0.wait().unwrap().code(), Some(143));
    assert!(!std::path::Path::new(&format!("/proc/{server}")).exists());
}
