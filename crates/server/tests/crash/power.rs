//! The power is cut while the server writes: what was acknowledged before is there.

use std::sync::Arc;

use kv_client::MultiplexedClient;
use kv_testkit::faults::say;
use kv_testkit::ledger::Script;
use kv_testkit::powercut::{Volume, available};
use kv_testkit::rng::Rng;
use kv_testkit::wait::within;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bounds::Cycles;
use crate::directory::prefix;
use crate::kill::new_ledger;
use crate::load::{Load, SharedLedger, bulk};
use crate::server::Setup;
use crate::survey::settle;

/// Little enough for a small volume.
const SMALL: &str = "min_free_bytes = \"1MiB\"\nlog_bytes = \"8MiB\"\ncache_bytes = \"8MiB\"";
/// Acknowledgements before a cut, at most.
const ACKNOWLEDGED_MAX: usize = 600;
const VOLUME_MIB: u64 = 512;
/// Cycles on one volume: recoveries pile up, but a test that fails need not be long ago.
const CYCLES_PER_VOLUME: u64 = 50;

/// Cuts the power once in each cycle. Everything that was lost.
async fn run(durability: &str, cycles: &mut Cycles, total: &mut u64) -> Vec<String> {
    let mut losses = Vec::new();
    'volumes: loop {
        let mut volume = Volume::ext4(VOLUME_MIB).unwrap();
        let storage = format!("engine = \"disk\"\ndurability = \"{durability}\"\n{SMALL}");
        let setup = Setup::at(volume.path().join("data"), &storage);
        let ledger = new_ledger();
        for _ in 0..CYCLES_PER_VOLUME {
            let Some(seed) = cycles.next() else {
                *total += ledger.lock().counts().acknowledged;
                break 'volumes;
            };
            let found = cycle(&mut volume, &setup, &ledger, seed).await;
            losses.extend(found.into_iter().map(|loss| format!("seed {seed}: {loss}")));
        }
        *total += ledger.lock().counts().acknowledged;
    }
    losses
}

/// Starts the server, lets it write, cuts the power, and looks at what is there at the next start.
async fn cycle(
    volume: &mut Volume,
    setup: &Setup,
    ledger: &SharedLedger,
    seed: u64,
) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let server = match setup.spawn().ready() {
        Ok(server) => server,
        Err(ended) => return vec![format!("it did not start: {ended:?}")],
    };
    let armed = volume.arm().unwrap();
    if rng.below(6) == 0 {
        // More than the log takes: the cut may come while entries are moved.
        bulk(&server, ledger).await;
    }
    let target = rng.below(ACKNOWLEDGED_MAX) as u64 + 1;
    let mut load = Load::start(&server, ledger, seed, target).await;
    load.reached().await;
    ledger.lock().cut();
    tokio::task::block_in_place(|| armed.cut());
    let mut losses = Vec::new();
    if rng.below(2) == 0 {
        // The machine is gone at once.
        server.kill();
    } else {
        // The disk is gone first: a server that notices ends by itself.
        let ended = tokio::task::block_in_place(|| server.wait());
        if ended.code == Some(0) {
            losses.push("it ended with 0 when its disk was gone".to_owned());
        }
    }
    load.ended().await;
    volume.mount_again().unwrap();
    match setup.spawn().ready() {
        Ok(server) => {
            losses.extend(settle(&server, ledger).await);
            server.kill();
        }
        Err(ended) => losses.push(format!("it did not start: {ended:?}")),
    }
    losses
}

/// One writer, one write after the other, on a small set of keys, until its connection ends.
async fn write_on(
    client: MultiplexedClient,
    mut script: Script,
    count: Arc<Semaphore>,
    syncs_at: u64,
    volume: std::fs::File,
) -> Script {
    for at in 0.. {
        if at == syncs_at {
            // Something is on the disk, as it would be after a while.
            rustix::fs::syncfs(&volume).unwrap();
        }
        let key = format!("small.{}", at % 13);
        let result = if at % 5 == 4 {
            script.delete(key.as_bytes());
            client.delete(&key).await.map(drop)
        } else {
            let value = script.put(key.as_bytes());
            client.set(&key, value).await.map(drop)
        };
        if result.is_err() {
            break;
        }
        count.add_permits(1);
    }
    script
}

/// Cuts the power under one writer; how many of its writes are left, and how many there were.
async fn cut_one(volume: &mut Volume, setup: &Setup, seed: u64) -> Result<(usize, usize), String> {
    let mut rng = Rng::new(seed);
    let server = setup.start();
    let armed = volume.arm().unwrap();
    let client = server.client().await.unwrap();
    let target = rng.below(ACKNOWLEDGED_MAX) + 2;
    let syncs_at = rng.below(target) as u64;
    let count = Arc::new(Semaphore::new(0));
    let directory = std::fs::File::open(volume.path()).unwrap();
    let mut writer = JoinSet::new();
    writer.spawn(write_on(
        client,
        Script::default(),
        Arc::clone(&count),
        syncs_at,
        directory,
    ));
    let reached = within(count.acquire_many(u32::try_from(target).unwrap())).await;
    reached.unwrap().forget();
    tokio::task::block_in_place(|| armed.cut());
    server.kill();
    let script = writer.join_next().await.unwrap().unwrap();
    volume.mount_again().unwrap();
    let server = setup
        .spawn()
        .ready()
        .map_err(|ended| format!("{ended:?}"))?;
    let left = prefix(&server, &script).await;
    server.kill();
    let left = left.ok_or("what is left is not what the first writes made")?;
    Ok((left, script.len()))
}

/// Where acknowledged writes may be lost, those are the newest ones, and no others.
async fn loses_only_the_newest(mut cycles: Cycles, durability: &str) {
    let mut volume = Volume::ext4(VOLUME_MIB).unwrap();
    let (mut left, mut written, mut faults) = (0, 0, Vec::new());
    for seed in cycles.by_ref() {
        let data = volume.path().join(format!("data-{seed}"));
        let setup = Setup::at(data, &format!("engine = \"disk\"\n{durability}\n{SMALL}"));
        match cut_one(&mut volume, &setup, seed).await {
            Ok((some, all)) => {
                left += some;
                written += all;
            }
            Err(fault) => faults.push(format!("seed {seed}: {fault}")),
        }
        std::fs::remove_dir_all(setup.data()).unwrap();
    }
    cycles.settle(format_args!("{left} of {written} writes left"), &faults);
    assert!(left > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_a_power_cut_loses_the_newest_writes_only() {
    if is_possible() {
        let name = "without_syncs_a_power_cut_loses_the_newest_writes_only";
        let cycles = Cycles::new(name, 8, 1_000);
        loses_only_the_newest(cycles, "durability = \"os\"").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_syncs_a_power_cut_loses_the_newest_writes_only() {
    if is_possible() {
        let name = "between_syncs_a_power_cut_loses_the_newest_writes_only";
        let cycles = Cycles::new(name, 8, 1_000);
        let durability = "durability = \"interval\"\nsync_interval = \"10ms\"";
        loses_only_the_newest(cycles, durability).await;
    }
}

/// Whether volumes can be made here; says so when not.
fn is_possible() -> bool {
    let possible = available();
    if let Err(missing) = &possible {
        say(&format!("not checked: {missing}"));
    }
    possible.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if !is_possible() {
        return;
    }
    let mut cycles = Cycles::new("a_power_cut_loses_nothing_that_was_acknowledged", 30, 1_000);
    let mut total = 0;
    let losses = run("always", &mut cycles, &mut total).await;
    cycles.settle(format_args!("{total} writes acknowledged"), &losses);
    assert!(total > 0);
}

/// The canary: what is acknowledged before it is on disk, a power cut loses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_are_not_synced_are_found_by_a_power_cut() {
    if !is_possible() {
        return;
    }
    let mut cycles = Cycles::new("writes_that_are_not_synced_are_found_by_a_power_cut", 3, 3);
    let mut total = 0;
    let losses = run("os", &mut cycles, &mut total).await;
    cycles.report(format_args!(
        "{total} writes acknowledged, {} losses, as must be",
        losses.len()
    ));
    assert!(
        losses.iter().any(|loss| loss.contains("is gone")),
        "{losses:#?}"
    );
}
