//! `backup` of a real store, and `restore` of that into another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kv_testkit::process::ServerProcess;

use crate::support::Pair;

fn disk() -> Pair {
    Pair {
        server: ServerProcess::start(["--engine", "disk"]),
    }
}

#[test]
fn a_backup_restores_to_the_same_entries() {
    let (from, to) = (disk(), disk());
    for byte in 0..=255u8 {
        let hex = format!("{byte:02x}00ff{byte:02x}");
        from.run_with_input(
            ["--key-format", "hex", "set", &hex, "-"],
            &vec![byte; usize::from(byte)],
        )
        .code(0);
    }
    from.run_with_input(["set", "large", "-"], &vec![0xe9; 3_000_000])
        .code(0);
    from.ok("set session token --ttl 1h");
    from.ok("set typed --json [1,null]");
    from.ok("set gone x");
    from.ok("del gone");
    assert_eq!(from.ok("backup store.kvb"), "259\n");
    let checked = from
        .run(["-o", "json", "restore", "store.kvb", "--check"])
        .code(0);
    assert_eq!(checked.json()["entries"], 259);
    let file = std::fs::read(from.server.home().join("store.kvb")).unwrap();
    // Standard output is the same file, of another moment.
    let piped = from.run(["backup", "-"]).code(0);
    assert_eq!(piped.stdout.len(), file.len());
    assert!(piped.stderr.contains("259 entries"), "{}", piped.stderr);

    std::fs::write(to.server.home().join("store.kvb"), &file).unwrap();
    assert_eq!(to.ok("restore store.kvb"), "259\n");
    let values = |pair: &Pair| {
        pair.run(["-o", "raw", "scan", "--values", "-0"])
            .code(0)
            .stdout
    };
    assert!(values(&from) == values(&to), "the entries differ");
    let left: u64 = to.ok("ttl session").trim().parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(to.ok("get typed --json"), "[1,null]\n");
}

#[test]
fn a_backup_is_of_one_moment_while_others_write() {
    let (from, to) = (disk(), disk());
    from.ok("mset --atomic a 0 z 0");
    let mut lines = String::new();
    for i in 0..20_000 {
        lines.push_str(&format!("{{\"key\":\"m{i:05}\",\"value\":\"{i}\"}}\n"));
    }
    from.run_with_input(["import", "-"], lines.as_bytes())
        .code(0);
    let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let number = round.to_string();
                from.run(["mset", "--atomic", "a", &number, "z", &number])
                    .code(0);
                begun.store(true, Ordering::Relaxed);
            }
        });
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        for _ in 0..5 {
            let file = from.run(["backup", "-"]).code(0).stdout;
            to.run_with_input(["restore", "-", "--overwrite"], &file)
                .code(0);
            let both = to.ok("mget a z");
            let (a, z) = both.trim().split_once('\n').unwrap();
            assert_eq!(a, z, "a backup of two moments");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(to.ok("-o raw scan").lines().count(), 20_002);
}
