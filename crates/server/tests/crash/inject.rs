//! One system call fails, or the process dies in the middle of one: nobody is told what is not so,
//! the process ends, and what was acknowledged is there at the next start.

use std::path::{Path, PathBuf};

use kv_client::{Error, ErrorCode, ErrorKind};
use kv_testkit::faults::{self, Fault, Injection};
use kv_testkit::ledger::Change;
use kv_testkit::rng::Rng;
use kv_testkit::wait::until;

use crate::bounds::Cycles;
use crate::kill::new_ledger;
use crate::load::{Load, SharedLedger};
use crate::server::{BINARY, Ended, Server, Setup};
use crate::survey::settle;

const DISK: &str = "engine = \"disk\"\ndurability = \"always\"";
/// Acknowledgements after which a call that was to fail is taken as one that never comes.
const ACKNOWLEDGED_MAX: u64 = 1_500;
/// Faults are injected into the first so many calls of a kind.
const CALLS: u64 = 50;

/// What came of one injected fault.
#[derive(Default)]
struct Outcome {
    losses: Vec<String>,
    /// Faults that took place.
    injected: usize,
}

/// A directory that a killed server has left, so that a start has something to recover.
async fn left_by_a_kill(setup: &Setup, ledger: &SharedLedger, seed: u64) {
    let server = setup.start();
    let mut load = Load::start(&server, ledger, seed, 100).await;
    load.reached().await;
    server.kill();
    load.ended().await;
}

/// Writes on a server until `injection` takes place, and starts it again without.
async fn inject(setup: &Setup, injection: &Injection, seed: u64) -> Outcome {
    let ledger = new_ledger();
    if seed.is_multiple_of(2) {
        left_by_a_kill(setup, &ledger, seed).await;
    }
    let trace = setup.beside("trace");
    let server = setup.spawn_as(injection.command(Path::new(BINARY), &trace));
    let mut outcome = Outcome::default();
    match server.ready() {
        Err(ended) => judge_end(&ended, injection, &mut outcome),
        Ok(server) => work(server, &ledger, seed, (injection, &trace), &mut outcome).await,
    }
    outcome.injected = faults::injected(&trace);
    let server = match setup.spawn().ready() {
        Ok(server) => server,
        Err(ended) => {
            let text = format!("it did not start after the fault: {ended:?}");
            outcome.losses.push(text);
            return outcome;
        }
    };
    outcome.losses.extend(settle(&server, &ledger).await);
    server.kill();
    outcome
}

async fn work(
    server: Server,
    ledger: &SharedLedger,
    seed: u64,
    (injection, trace): (&Injection, &Path),
    outcome: &mut Outcome,
) {
    let mut load = Load::start(&server, ledger, seed, ACKNOWLEDGED_MAX).await;
    load.reached().await;
    if injection.fault == Fault::NoSpace {
        // That is no reason to end: there may be room again.
        resumes(&server, ledger).await;
        server.kill();
        load.ended().await;
        return;
    }
    if faults::injected(trace) == 0 {
        // The call does not come that often.
        server.kill();
        load.ended().await;
        return;
    }
    let ended = tokio::task::block_in_place(|| server.wait());
    judge_end(&ended, injection, outcome);
    for error in load.ended().await {
        if !is_honest(&error) {
            outcome.losses.push(format!("a writer was told: {error:?}"));
        }
    }
}

/// Writes until it is taken; in between it may only be refused for want of room.
async fn resumes(server: &Server, ledger: &SharedLedger) {
    let client = server.client().await.unwrap();
    until(async || {
        let intent = ledger.lock().begin(&[b"resumed"], Change::Put);
        match client.set("resumed", intent.value(b"resumed")).await {
            Ok(reply) => {
                ledger.lock().acknowledged(&intent, &[reply.version]);
                Some(())
            }
            Err(error) => {
                assert_eq!(error.code(), Some(ErrorCode::DiskFull), "{error:?}");
                ledger.lock().refused(&intent);
                None
            }
        }
    })
    .await;
    client.close().await;
}

/// The process has ended, and its code says that something was wrong.
fn judge_end(ended: &Ended, injection: &Injection, outcome: &mut Outcome) {
    let is_killed = injection.fault == Fault::Kill && ended.code.is_none();
    let is_told = injection.fault != Fault::Kill && ended.code.is_some_and(|code| code != 0);
    if !is_killed && !is_told {
        outcome.losses.push(format!("it ended with {ended:?}"));
    }
    if ended.said.contains("panicked") {
        outcome.losses.push(format!("it panicked: {}", ended.said));
    }
}

/// Whoever waited is told that nobody knows, or that the server takes no writes any more.
fn is_honest(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Server { code, .. } => matches!(
            code,
            Some(
                ErrorCode::OutcomeUnknown
                    | ErrorCode::Overloaded
                    | ErrorCode::ShuttingDown
                    | ErrorCode::ReadOnly
                    | ErrorCode::DiskFull
            )
        ),
        _ => true,
    }
}

/// Faults at the Nth call for every N that is asked for; each on a fresh directory.
async fn series(cycles: &mut Cycles, injection: &Injection) -> (usize, Vec<String>) {
    let (mut injected, mut losses) = (0, Vec::new());
    for seed in cycles.by_ref() {
        let setup = Setup::new(DISK);
        let at = u32::try_from((seed - 1) % CALLS + 1).unwrap();
        let paths = injection.paths.iter();
        let injection = Injection {
            at,
            paths: paths.map(|path| setup.data().join(path)).collect(),
            ..injection.clone()
        };
        let outcome = inject(&setup, &injection, seed).await;
        injected += outcome.injected.min(1);
        let told = |loss| format!("seed {seed}, {:?} at call {at}: {loss}", injection.fault);
        losses.extend(outcome.losses.into_iter().map(told));
    }
    (injected, losses)
}

/// The files of a store that are written to, below its directory.
async fn written_files() -> Vec<PathBuf> {
    let setup = Setup::new(DISK);
    let ledger = new_ledger();
    left_by_a_kill(&setup, &ledger, 1).await;
    let trace = setup.beside("trace");
    let command = faults::observe(faults::WRITES, Path::new(BINARY), &trace);
    let server = setup.spawn_as(command).ready().unwrap();
    let mut load = Load::start(&server, &ledger, 2, ACKNOWLEDGED_MAX).await;
    load.reached().await;
    server.kill();
    load.ended().await;
    faults::files(&trace, setup.data()).into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_ends_the_server_and_loses_nothing() {
    if !faults::has_program("strace") {
        return;
    }
    let mut cycles = Cycles::new(
        "a_sync_that_fails_ends_the_server_and_loses_nothing",
        12,
        1_000,
    );
    let injection = Injection {
        calls: faults::SYNCS,
        fault: Fault::Io,
        at: 1,
        paths: Vec::new(),
    };
    let (injected, losses) = series(&mut cycles, &injection).await;
    cycles.settle(format_args!("{injected} faults took place"), &losses);
    assert!(injected > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_server_and_loses_nothing() {
    if !faults::has_program("strace") {
        return;
    }
    let paths = written_files().await;
    assert!(!paths.is_empty());
    let mut cycles = Cycles::new(
        "a_write_that_fails_ends_the_server_and_loses_nothing",
        12,
        1_000,
    );
    let injection = Injection {
        calls: faults::WRITES,
        fault: Fault::Io,
        at: 1,
        paths,
    };
    let (injected, losses) = series(&mut cycles, &injection).await;
    cycles.settle(format_args!("{injected} faults took place"), &losses);
    assert!(injected > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_room_is_made_again_and_the_server_goes_on() {
    if !faults::has_program("strace") {
        return;
    }
    let paths = written_files().await;
    let name = "a_write_without_room_is_made_again_and_the_server_goes_on";
    let mut cycles = Cycles::new(name, 4, 1_000);
    let injection = Injection {
        calls: faults::WRITES,
        fault: Fault::NoSpace,
        at: 1,
        paths,
    };
    let (injected, losses) = series(&mut cycles, &injection).await;
    cycles.settle(format_args!("{injected} faults took place"), &losses);
    assert!(injected > 0);
}

/// Kills the server as it enters its Nth call of a kind, while it recovers; again and again, until
/// it comes through. What it recovers in the end is everything.
async fn recover_with_kills(setup: &Setup, ledger: &SharedLedger, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut outcome = Outcome::default();
    left_by_a_kill(setup, ledger, seed).await;
    let trace = setup.beside("trace");
    for _ in 0..4 {
        let calls = [faults::WRITES, faults::SYNCS, faults::CHANGES];
        let injection = Injection {
            calls: calls.get(rng.below(calls.len())).unwrap(),
            fault: Fault::Kill,
            at: u32::try_from(rng.below(40) + 1).unwrap(),
            paths: Vec::new(),
        };
        let server = setup.spawn_as(injection.command(Path::new(BINARY), &trace));
        match server.ready() {
            Ok(server) => drop(server.kill()),
            Err(ended) => judge_end(&ended, &injection, &mut outcome),
        }
        outcome.injected += 1;
    }
    match setup.spawn().ready() {
        Ok(server) => {
            outcome.losses.extend(settle(&server, ledger).await);
            server.kill();
        }
        Err(ended) => outcome
            .losses
            .push(format!("it does not recover: {ended:?}")),
    }
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_killed_at_any_call_is_done_by_a_later_one() {
    if !faults::has_program("strace") {
        return;
    }
    let name = "a_recovery_that_is_killed_at_any_call_is_done_by_a_later_one";
    let mut cycles = Cycles::new(name, 12, 1_000);
    let (setup, ledger) = (Setup::new(DISK), new_ledger());
    let (mut kills, mut losses) = (0, Vec::new());
    for seed in cycles.by_ref() {
        let outcome = recover_with_kills(&setup, &ledger, seed).await;
        kills += outcome.injected;
        let told = |loss| format!("seed {seed}: {loss}");
        losses.extend(outcome.losses.into_iter().map(told));
    }
    cycles.settle(format_args!("{kills} starts under strace"), &losses);
}
