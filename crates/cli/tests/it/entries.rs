//! Commands that read and write entries.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::support::Pair;

#[test]
fn a_stranger_can_set_get_and_delete_without_any_option() {
    let pair = Pair::start();
    assert_eq!(pair.ok("set greeting hello"), "1\n");
    assert_eq!(pair.ok("get greeting"), "hello");
    assert_eq!(pair.ok("del greeting"), "1\n");
    pair.run(["get", "greeting"]).code(1);
    pair.run(["del", "greeting"]).code(1);
}

#[test]
fn every_byte_survives_standard_input_files_and_output() {
    let pair = Pair::start();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    pair.run_with_input(["set", "from-stdin", "-"], &bytes)
        .code(0);
    assert_eq!(pair.run(["get", "from-stdin"]).code(0).stdout, bytes);

    let file = pair.server.home().join("value");
    std::fs::write(&file, &bytes).unwrap();
    pair.run(["set", "from-file", "--file", "value"]).code(0);
    assert_eq!(
        pair.run(["-o", "raw", "get", "from-file"]).code(0).stdout,
        bytes
    );

    pair.run(["set", "empty", ""]).code(0);
    assert_eq!(pair.run(["get", "empty"]).code(0).stdout, b"");
    pair.run(["set", "minus", "--", "-5"]).code(0);
    assert_eq!(pair.ok("get minus"), "-5");
}

#[test]
fn keys_of_any_bytes_are_written_raw_in_hex_or_in_base64() {
    let pair = Pair::start();
    let key = OsStr::from_bytes(b"\x01\xff\xfe");
    pair.run([OsStr::new("set"), key, OsStr::new("v")]).code(0);
    assert_eq!(pair.ok("--key-format hex get 01fffe"), "v");
    assert_eq!(pair.ok("--key-format base64 get Af/+"), "v");
    assert_eq!(pair.ok("--key-format hex scan"), "01fffe\n");
    assert_eq!(pair.run(["scan"]).code(0).stdout, b"\x01\xff\xfe\n");
    let item = pair.run(["-o", "jsonl", "scan"]).code(0).json();
    assert_eq!(
        (&item["key"], &item["key_encoding"]),
        (&"Af/+".into(), &"base64".into())
    );
    pair.run(["--key-format", "hex", "get", "xyz"]).code(2);
}

#[test]
fn entries_live_as_long_as_they_are_told_to() {
    let pair = Pair::start();
    pair.ok("set session token --ttl 1h");
    let left: u64 = pair.ok("ttl session").trim().parse().unwrap();
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(pair.ok("-o human ttl session"), "1h\n");
    pair.ok("touch session --ttl 2m");
    assert_eq!(pair.ok("-o human ttl session"), "2m\n");
    pair.ok("touch session --persist");
    assert_eq!(pair.ok("ttl session"), "-1\n");
    assert_eq!(pair.ok("-o human ttl session"), "never expires\n");
    pair.run(["touch", "nothing", "--persist"]).code(1);
    pair.run(["ttl", "session", "nothing"]).code(1);
    pair.run(["touch", "session"]).code(2);
}

#[test]
fn counters_add_and_refuse_what_is_no_number() {
    let pair = Pair::start();
    assert_eq!(pair.ok("incr visits"), "1\n");
    assert_eq!(pair.ok("incr visits 41"), "42\n");
    assert_eq!(pair.ok("incr visits -50"), "-8\n");
    pair.ok("set word hello");
    assert!(
        pair.run(["incr", "word"])
            .code(3)
            .stderr
            .contains("E_WRONG_TYPE")
    );
    pair.run(["incr", "visits", "half"]).code(2);
}

#[test]
fn existence_is_told_for_each_key_and_by_the_exit_code_for_all() {
    let pair = Pair::start();
    pair.ok("mset a 1 b 2");
    assert_eq!(pair.ok("exists a b"), "1\n1\n");
    let ran = pair.run(["-o", "human", "exists", "a", "c"]).code(1);
    assert_eq!(ran.text(), "a: yes\nc: no\n");
}

#[test]
fn many_keys_take_one_round_trip_and_keep_their_order() {
    let pair = Pair::start();
    assert_eq!(pair.ok("mset b 2 a 1 --atomic"), "2\n");
    assert_eq!(pair.ok("mget a missing b"), "1\n\n2\n");
    let all = pair
        .run(["-o", "json", "mget", "a", "missing"])
        .code(0)
        .json();
    assert_eq!(all[0]["value"], "1");
    assert!(all[1]["value"].is_null() && all[1]["key"] == "missing");
    pair.run(["mset", "a", "1", "b"]).code(2);

    let keys: Vec<String> = (0..500).map(|n| format!("k{n:03}")).collect();
    let pairs = keys.iter().flat_map(|key| [key.as_str(), "v"]);
    pair.run(std::iter::once("mset").chain(pairs)).code(0);
    let ran = pair.run(std::iter::once("mget").chain(keys.iter().map(String::as_str)));
    assert_eq!(ran.code(0).text(), "v\n".repeat(500));
}

#[test]
fn values_that_fill_more_than_one_message_come_together() {
    let pair = Pair::start();
    let value = vec![b'v'; 10 << 20];
    for key in ["a", "b"] {
        pair.run_with_input(["set", key, "-"], &value).code(0);
    }
    let all = pair.run(["mget", "a", "b"]).code(0).stdout;
    assert_eq!(all.len(), 2 * (value.len() + 1));
    let ran = pair
        .run_with_input(["set", "c", "-"], &vec![0; 17 << 20])
        .code(2);
    assert!(
        ran.stderr.contains("larger than the server takes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_scan_is_in_order_either_way_and_may_be_cut_anywhere() {
    let pair = Pair::start();
    pair.ok("mset u:1 a u:2 b u:3 c v:1 d");
    assert_eq!(pair.ok("scan"), "u:1\nu:2\nu:3\nv:1\n");
    assert_eq!(pair.ok("scan u: --reverse"), "u:3\nu:2\nu:1\n");
    assert_eq!(pair.ok("scan u: --limit 2 --values"), "u:1\ta\nu:2\tb\n");
    assert_eq!(pair.ok("scan u: --after u:2"), "u:3\n");
    assert_eq!(pair.ok("scan nothing:"), "");
    assert_eq!(pair.ok("scan -0 u: --limit 2"), "u:1\0u:2\0");
    assert_eq!(pair.ok("-o json scan nothing:"), "[]\n");
}

#[test]
fn a_prefix_is_deleted_only_with_a_yes() {
    let pair = Pair::start();
    let pairs: Vec<String> = (0..1_200)
        .flat_map(|n| [format!("t:{n}"), "v".to_owned()])
        .collect();
    pair.run(std::iter::once("mset".to_owned()).chain(pairs))
        .code(0);
    pair.ok("set other v");
    let refused = pair.run(["del", "--prefix", "t:"]).code(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(pair.ok("del --prefix t: --yes"), "1200\n");
    assert_eq!(pair.ok("scan"), "other\n");
    assert_eq!(pair.ok("del --prefix t: -y"), "0\n");
}

#[test]
fn typed_values_go_in_and_come_out_as_json() {
    let pair = Pair::start();
    let document = r#"{"name":"Ada","tags":["a",1,-2.5,null,true],"raw":{"$base64":"AP8="}}"#;
    pair.run(["set", "user", "--json", document]).code(0);
    let ran = pair.run(["get", "user", "--json"]).code(0);
    assert_eq!(ran.text(), format!("{document}\n"));
    let ran = pair.run(["-o", "human", "get", "user"]).code(0);
    assert_eq!(ran.text(), format!("{document}\n"));
    let ran = pair
        .run(["-o", "json", "get", "user", "--json"])
        .code(0)
        .json();
    assert_eq!(ran["value"]["name"], "Ada");
    // Without --json, a program gets the bytes: a map of three in MessagePack.
    assert_eq!(
        pair.run(["get", "user"]).code(0).stdout.first(),
        Some(&0x83)
    );
    pair.run(["set", "user", "--json", "{"]).code(2);
    pair.ok("set plain text");
    assert!(
        pair.run(["get", "plain", "--json"])
            .code(3)
            .stderr
            .contains("E_WRONG_TYPE")
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let pair = Pair::start();
    let pairs: Vec<String> = (0..2_000)
        .flat_map(|n| [format!("{n:0>100}"), "v".to_owned()])
        .collect();
    pair.run(std::iter::once("mset".to_owned()).chain(pairs))
        .code(0);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-cli"));
    command
        .args(["scan"])
        .env_clear()
        .env("HOME", pair.server.home())
        .env("XDG_STATE_HOME", pair.server.home().join("state"))
        .env("KV_URL", format!("kv://{}", pair.server.address()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // More than a pipe holds is on its way, and nobody reads it.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_server_tells_about_itself_and_its_connections() {
    let pair = Pair::start();
    pair.ok("set a 1");
    let info = pair.run(["-o", "json", "info"]).code(0).json();
    assert_eq!(info["keyspace"]["keys"], 1);
    let one = pair.run(["-o", "json", "info", "keyspace"]).code(0).json();
    assert!(one.get("server").is_none());
    assert!(pair.ok("info keyspace").contains("keyspace.keys\t1\n"));
    pair.run(["info", "nonsense"]).code(3);

    let clients = pair.run(["-o", "json", "clients"]).code(0).json();
    let software = clients[0]["software"].as_str().unwrap();
    assert!(software.starts_with("kv-cli/"), "{clients}");
    pair.run(["clients", "kill", "999999"]).code(1);

    let pings = pair.run(["-o", "jsonl", "ping", "--count", "3"]).code(0);
    assert_eq!(pings.text().lines().count(), 3);
    assert!(pings.stderr.contains("3 round trips"));
}
