//! `import` and `export`: every entry comes through, and what does not is said.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{Pair, command, finish};

/// Lines for `count` entries, `k000000` and so on.
fn lines(count: u32) -> String {
    let mut text = String::new();
    for i in 0..count {
        writeln!(
            text,
            "{}",
            json!({"key": format!("k{i:06}"), "value": i.to_string()})
        )
        .unwrap();
    }
    text
}

fn count(pair: &Pair) -> usize {
    pair.ok("-o raw scan").lines().count()
}

#[test]
fn every_byte_an_empty_value_and_a_time_to_live_survive_the_round_trip() {
    let (from, to) = (Pair::start(), Pair::start());
    for byte in 0..=255u8 {
        let hex = format!("{byte:02x}00ff{byte:02x}");
        let value = vec![byte; usize::from(byte)];
        from.run_with_input(["--key-format", "hex", "set", &hex, "-"], &value)
            .code(0);
    }
    from.ok("set typed --json [1,{\"a\":null}]");
    from.ok("set session token --ttl 1h");
    from.run_with_input(["set", "large", "-"], &vec![0xe9; 3_000_000])
        .code(0);
    from.ok("export  entries.jsonl");
    let file = std::fs::read(from.server.home().join("entries.jsonl")).unwrap();
    let report = to
        .run_with_input(["-o", "json", "import", "-"], &file)
        .code(0)
        .json();
    assert_eq!(
        report,
        json!({"stored": 259, "kept": 0, "skipped": 0, "lines": 259})
    );
    let entries = |pair: &Pair| {
        let text = pair.run(["-o", "jsonl", "scan", "--values"]).code(0);
        let lines = text.text().lines().map(|line| {
            let mut entry: Value = serde_json::from_str(line).unwrap();
            let fields = entry.as_object_mut().unwrap();
            // Versions are the server's own; a time to live goes on.
            fields.remove("version");
            let ttl = fields.remove("ttl_ms").unwrap();
            (entry, ttl.is_number())
        });
        lines.collect::<Vec<_>>()
    };
    let (before, after) = (entries(&from), entries(&to));
    assert_eq!(before.len(), 259);
    assert!(before == after, "the entries differ");
    assert_eq!(before.iter().filter(|(_, expires)| *expires).count(), 1);
    let left: u64 = to.ok("ttl session").trim().parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(to.ok("get typed --json"), "[1,{\"a\":null}]\n");
    let whole = from.run(["export"]).code(0);
    assert!(whole.stderr.contains("exported 259 entries"), "{whole:?}");
    let some = from.run(["export", "ses"]).code(0);
    assert_eq!(some.json()["key"], "session");
}

#[test]
fn lines_that_cannot_be_used_are_named_and_end_it_or_are_skipped() {
    let pair = Pair::start();
    let text = "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\"}\nnonsense\n\
                {\"key\":\"c\",\"value\":\"3\"}\n";
    let stopped = pair
        .run_with_input(["-o", "json", "import", "-"], text.as_bytes())
        .code(2);
    let last = stopped.stderr.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "INPUT");
    assert_eq!(error["error"]["message"], "line 3: there is no `value`");
    assert!(
        error["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("--from-line 3")
    );
    assert_eq!(pair.ok("-o raw scan"), "a\n");

    let skipped = pair.run_with_input(
        ["-o", "json", "import", "-", "--on-error", "skip"],
        text.as_bytes(),
    );
    let skipped = skipped.code(2);
    assert_eq!(
        skipped.json(),
        json!({"stored": 2, "kept": 0, "skipped": 2, "lines": 5})
    );
    assert!(skipped.stderr.contains("line 3: ") && skipped.stderr.contains("line 4: "));
    assert_eq!(pair.ok("-o raw scan"), "a\nc\n");
    // A value beyond the server's limit is the line's own fault, too.
    let large = json!({"key": "large", "value": "x".repeat(17 << 20)}).to_string();
    let text = format!("{large}\n{}\n", json!({"key": "d", "value": ""}));
    let skipped = pair.run_with_input(["import", "-", "--on-error", "skip"], text.as_bytes());
    let skipped = skipped.code(2);
    assert!(skipped.stderr.contains("line 1: "), "{skipped:?}");
    assert_eq!(pair.ok("-o raw scan"), "a\nc\nd\n");
}

#[test]
fn the_last_of_several_lines_with_one_key_stays_and_if_absent_keeps_what_is_there() {
    let pair = Pair::start();
    let mut text = String::new();
    for i in 0..2_000 {
        writeln!(
            text,
            "{}",
            json!({"key": format!("k{}", i % 7), "value": i.to_string()})
        )
        .unwrap();
    }
    pair.run_with_input(["import", "-"], text.as_bytes())
        .code(0);
    for i in 1_993..2_000 {
        assert_eq!(pair.ok(&format!("get k{}", i % 7)), i.to_string());
    }
    let text = "{\"key\":\"k0\",\"value\":\"new\"}\n{\"key\":\"other\",\"value\":\"new\"}\n";
    let report = pair
        .run_with_input(
            ["-o", "json", "import", "-", "--if-absent"],
            text.as_bytes(),
        )
        .code(0)
        .json();
    assert_eq!((&report["stored"], &report["kept"]), (&1.into(), &1.into()));
    assert_ne!(pair.ok("get k0"), "new");
    assert_eq!(pair.ok("get other"), "new");
}

#[test]
fn an_import_goes_on_where_its_checkpoint_says() {
    let pair = Pair::start();
    let mut text = lines(3_000);
    text.push_str("nonsense\n");
    text.push_str(
        &lines(3_010)
            .lines()
            .skip(3_000)
            .fold(String::new(), |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            }),
    );
    let import = ["import", "-", "--resume", "progress"];
    let stopped = pair.run_with_input(import, text.as_bytes()).code(2);
    assert!(
        stopped.stderr.contains("progress says where"),
        "{stopped:?}"
    );
    assert_eq!(count(&pair), 3_000);
    let progress = pair.server.home().join("progress");
    let said: Value = serde_json::from_slice(&std::fs::read(&progress).unwrap()).unwrap();
    assert_eq!(said["done"], 3_000);
    // Another input is not taken for the same.
    let other = pair.run_with_input(import, lines(5_000).replace("999", "998").as_bytes());
    assert!(other.code(2).stderr.contains("another input"));
    pair.ok("del k000000");
    let mended = text.replace("nonsense", "");
    let report = pair.run_with_input(
        ["-o", "json", "import", "-", "--resume", "progress"],
        mended.as_bytes(),
    );
    assert_eq!(report.code(0).json()["stored"], 10);
    assert!(!progress.exists());
    assert_eq!(count(&pair), 3_009, "what was done is not done again");
    let report = pair.run_with_input(
        ["-o", "json", "import", "-", "--from-line", "3002"],
        mended.as_bytes(),
    );
    assert_eq!(report.code(0).json()["stored"], 10);
}

#[test]
fn what_cannot_be_read_written_or_reached_is_told_by_its_exit_code() {
    let pair = Pair::start();
    pair.run(["import", "nowhere.jsonl"]).code(2);
    pair.run(["import", "-", "--window", "0"]).code(2);
    pair.run(["export", "", "nowhere/entries.jsonl"]).code(2);
    pair.run(["import", "-", "--from-line", "5"]).code(2);
    let home = pair.server.home().to_owned();
    let mut alone = command(&home);
    alone.args(["--url", "kv://127.0.0.1:1", "import", "-"]);
    finish(alone, lines(1).as_bytes()).code(4);
    // An export that fails leaves no half file.
    let left: Vec<_> = std::fs::read_dir(&home).unwrap().collect();
    assert!(left.iter().all(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().contains(".part")
    }));
}
