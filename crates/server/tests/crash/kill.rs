//! `kill -9` at a random moment, again and again on one directory: everything acknowledged is there,
//! no batch is half there, no version goes back, what was removed stays so.

use kv_testkit::ledger::Ledger;
use kv_testkit::rng::Rng;
use parking_lot::Mutex;
use std::sync::Arc;

use crate::bounds::Cycles;
use crate::load::{Load, SharedLedger, bulk};
use crate::server::Setup;
use crate::survey::settle;

/// Acknowledgements before a kill, at most.
const ACKNOWLEDGED_MAX: usize = 1_500;
/// Looks at a process that starts before it is killed, at most: about as long as a start takes.
const LOOKS_MAX: usize = 60_000;

/// Kills the server once in each cycle while it writes, and in some while it starts. Everything that
/// was lost.
pub(crate) async fn run(setup: &Setup, cycles: &mut Cycles, ledger: &SharedLedger) -> Vec<String> {
    let mut losses = Vec::new();
    for seed in cycles {
        let mut rng = Rng::new(seed);
        let server = match setup.spawn().ready() {
            Ok(server) => server,
            Err(ended) => {
                losses.push(format!("seed {seed}: it did not start: {ended:?}"));
                break;
            }
        };
        let found = settle(&server, ledger).await;
        losses.extend(found.into_iter().map(|loss| format!("seed {seed}: {loss}")));
        if rng.below(8) == 0 {
            // More than the log takes: the kill may come while entries are moved.
            bulk(&server, ledger).await;
        }
        let target = rng.below(ACKNOWLEDGED_MAX) as u64 + 1;
        let mut load = Load::start(&server, ledger, seed, target).await;
        load.reached().await;
        server.kill();
        load.ended().await;
        for _ in 0..rng.below(3) {
            kill_at_start(setup, &mut rng);
        }
    }
    losses
}

/// Kills a server at some moment of its start. A moment is a number of looks at it: nothing that it
/// does can be waited for from outside at every one of its steps.
fn kill_at_start(setup: &Setup, rng: &mut Rng) {
    let mut server = setup.spawn();
    for _ in 0..rng.below(LOOKS_MAX) {
        if server.is_over() {
            return;
        }
    }
    server.kill();
}

pub(crate) fn new_ledger() -> SharedLedger {
    Arc::new(Mutex::new(Ledger::new()))
}

/// So little memory and log that entries are moved to the ordered files and read from there.
const SMALL: &str = "cache_bytes = \"8MiB\"\nbase_cache_bytes = \"1MiB\"\nlog_bytes = \"8MiB\"";

/// Kills again and again with this durability, and then a stop in order.
async fn keeps_everything(durability: &str, mut cycles: Cycles) {
    let storage = format!("engine = \"disk\"\ndurability = \"{durability}\"\n{SMALL}");
    let (setup, ledger) = (Setup::new(&storage), new_ledger());
    let server = setup.start();
    bulk(&server, &ledger).await;
    server.kill();
    let mut losses = run(&setup, &mut cycles, &ledger).await;
    let server = setup.start();
    losses.extend(settle(&server, &ledger).await);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    losses.extend(settle(&setup.start(), &ledger).await);
    let counts = ledger.lock().counts();
    cycles.settle(format_args!("{counts:?}"), &losses);
    assert!(counts.acknowledged > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let name = "a_kill_loses_nothing_that_was_acknowledged";
    keeps_everything("always", Cycles::new(name, 20, u64::MAX)).await;
}

/// Without a sync before the acknowledgement the system still has what the process wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_without_syncs_either() {
    let name = "a_kill_loses_nothing_without_syncs_either";
    keeps_everything("os", Cycles::new(name, 5, 100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_between_syncs_either() {
    let name = "a_kill_loses_nothing_between_syncs_either";
    keeps_everything("interval", Cycles::new(name, 5, 100)).await;
}

/// The canary: an engine that keeps nothing, under the same harness.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_keeps_nothing_is_found_by_a_kill() {
    let setup = Setup::new("engine = \"memory\"");
    let ledger = new_ledger();
    let mut cycles = Cycles::new("an_engine_that_keeps_nothing_is_found_by_a_kill", 2, 2);
    let losses = run(&setup, &mut cycles, &ledger).await;
    let counts = ledger.lock().counts();
    assert!(counts.acknowledged > 0, "{counts:?}");
    cycles.report(format_args!(
        "{counts:?}, {} losses, as must be",
        losses.len()
    ));
    assert!(
        losses.iter().any(|loss| loss.contains("is gone")),
        "{losses:#?}"
    );
}
