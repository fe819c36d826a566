//! `restore`: from files that are put together here, by what the document says about them.

use std::time::{Duration, SystemTime};

use kv_testkit::process::ServerProcess;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::Pair;

/// Milliseconds since the Unix epoch, some time from now.
fn in_ms(ms: u64) -> u64 {
    let at = SystemTime::now() + Duration::from_millis(ms);
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}

/// A backup of these keys, values and expiries, two entries to a block.
fn backup(entries: &[(&str, &[u8], u64)]) -> Vec<u8> {
    let mut file = b"KVBACKUP".to_vec();
    file.extend(be32(1));
    for number in [in_ms(0), 99, 0] {
        file.extend(number.to_be_bytes());
    }
    file.extend(crc32fast::hash(&file).to_be_bytes());
    let mut digest = Sha256::new();
    let mut blocks = 0u64;
    for pair in entries.chunks(2) {
        let mut block = Vec::new();
        for (key, value, expires_at) in pair {
            block.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
            block.extend(be32(value.len()));
            block.extend(5u64.to_be_bytes());
            block.extend(expires_at.to_be_bytes());
            block.push(1);
            block.extend(key.as_bytes());
            block.extend(*value);
        }
        digest.update(&block);
        let head = [be32(block.len()), be32(pair.len())].concat();
        let crc = crc32fast::hash(&[&head[..], &block].concat());
        file.extend(head);
        file.extend(crc.to_be_bytes());
        file.extend(block);
        blocks += 1;
    }
    let mut trailer = be32(0).to_vec();
    trailer.extend(u64::try_from(entries.len()).unwrap().to_be_bytes());
    trailer.extend(blocks.to_be_bytes());
    trailer.extend(digest.finalize());
    file.extend(&trailer);
    file.extend(crc32fast::hash(&trailer).to_be_bytes());
    file
}

fn write(pair: &Pair, file: &[u8]) {
    std::fs::write(pair.server.home().join("store.kvb"), file).unwrap();
}

#[test]
fn a_backup_is_restored_with_its_times_under_new_versions() {
    let pair = Pair::start();
    let hour = in_ms(3_600_000);
    let past = in_ms(0) - 1;
    write(
        &pair,
        &backup(&[
            ("a", b"1", 0),
            ("b", b"", hour),
            ("c", b"gone", past),
            ("d", &[0xff; 70_000], 0),
            ("e", b"5", 0),
        ]),
    );
    let checked = pair
        .run(["-o", "json", "restore", "store.kvb", "--check"])
        .code(0);
    assert_eq!(
        (&checked.json()["entries"], &checked.json()["position"]),
        (&5.into(), &99.into())
    );
    assert_eq!(pair.ok("-o raw scan"), "");
    let report = pair
        .run(["-o", "json", "restore", "store.kvb"])
        .code(0)
        .json();
    assert_eq!(report, json!({"stored": 4, "kept": 0, "expired": 1}));
    assert_eq!(pair.ok("-o raw scan"), "a\nb\nd\ne\n");
    let left: u64 = pair.ok("ttl b").trim().parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(pair.run(["get", "d"]).code(0).stdout, [0xff; 70_000]);
}

#[test]
fn a_server_with_entries_is_left_alone_unless_it_is_said_what_with_them() {
    let pair = Pair::start();
    pair.ok("set a old");
    pair.ok("set z old");
    let file = backup(&[("a", b"new", 0), ("b", b"new", 0)]);
    write(&pair, &file);
    let refused = pair.run(["-o", "json", "restore", "store.kvb"]).code(1);
    assert_eq!(refused.json_error()["code"], "NOT_EMPTY");
    let merged = pair
        .run(["-o", "json", "restore", "store.kvb", "--merge"])
        .code(0);
    assert_eq!(
        (&merged.json()["stored"], &merged.json()["kept"]),
        (&1.into(), &1.into())
    );
    assert_eq!(pair.ok("mget a b z"), "old\nnew\nold\n");
    pair.run_with_input(["restore", "-", "--overwrite"], &file)
        .code(0);
    assert_eq!(pair.ok("mget a b z"), "new\nnew\nold\n");
}

#[test]
fn a_file_that_is_not_whole_is_refused_before_anything_is_written() {
    let pair = Pair::start();
    let whole = backup(&[("a", b"1", 0), ("b", b"2", 0), ("c", b"3", 0)]);
    let mut changed = whole.clone();
    changed[90] ^= 1;
    let mut longer = whole.clone();
    longer.push(7);
    let cut = whole.len() - 20;
    for (file, word) in [
        (&whole[..cut], format!("ends at byte {cut}")),
        (&changed[..], "damaged behind byte 40".to_owned()),
        (&longer[..], "goes on".to_owned()),
        (
            b"something else entirely, which is no backup",
            "does not begin".to_owned(),
        ),
        (b"", "does not begin".to_owned()),
    ] {
        write(&pair, file);
        let refused = pair.run(["-o", "json", "restore", "store.kvb"]).code(2);
        let error = refused.json_error();
        assert_eq!(error["code"], "DAMAGED");
        assert!(error["cause"].as_str().unwrap().contains(&word), "{error}");
        assert_eq!(pair.ok("-o raw scan"), "");
    }
    // A pipe cannot be read twice: it is told behind what was stored.
    let refused = pair.run_with_input(["restore", "-"], &whole[..cut]).code(2);
    assert!(refused.stderr.contains("--overwrite"), "{refused:?}");
    assert_eq!(pair.ok("-o raw scan"), "a\nb\nc\n");
}

#[test]
fn a_backup_of_an_engine_that_cannot_be_backed_up_says_what_can_be_done() {
    let pair = Pair {
        server: ServerProcess::start(["--engine", "memory"]),
    };
    pair.ok("set a 1");
    let refused = pair.run(["-o", "json", "backup", "store.kvb"]).code(3);
    let error = refused.json_error();
    assert_eq!(error["code"], "UNSUPPORTED");
    assert!(
        error["cause"].as_str().unwrap().contains("export"),
        "{error}"
    );
    assert!(!pair.server.home().join("store.kvb").exists());
}
