//! File descriptors: when there are none left, and thousands of them that do nothing.

use std::net::SocketAddr;
use std::time::Duration;

use kv_testkit::raw::RawClient;
use kv_testkit::wait::{until, within};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::program::{Program, session};

/// Processor time of a process so far, user and system.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may have spaces: utime and stime are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|&at: &usize| fields.get(at).unwrap().parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process, in KiB.
fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn without_descriptors_it_serves_those_it_has_and_does_not_spin() {
    let (program, address) = Program::start_with("[limits]\nwaiting_timeout = \"50m\"", Some(64));
    let mut inside = session(address).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(within(TcpStream::connect(address)).await.unwrap());
    }
    program.line("cannot accept connections", 1);
    let before = cpu(program.pid());
    for round in 0..100u32 {
        inside.set(b"k", &round.to_be_bytes()).await.unwrap();
    }
    // It says so once a second: this is one later.
    program.line("cannot accept connections", 2);
    let used = cpu(program.pid()).saturating_sub(before);
    println!("{used:?} of processor time for a second without descriptors");
    assert!(used < Duration::from_millis(600), "{used:?}");
    assert_eq!(
        inside.get(b"k").await.unwrap().unwrap(),
        99u32.to_be_bytes()
    );
    drop(crowd);
    drop(inside);
    let again = until(async || {
        crate::program::try_session(address, &crate::program::KEY)
            .await
            .ok()
    });
    let mut again = again.await;
    assert!(again.get(b"k").await.unwrap().is_some());
    drop(again);
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.wait().code, Some(0));
}

async fn sessions(address: SocketAddr, count: usize) -> Vec<RawClient<TcpStream>> {
    let mut tasks = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..count {
        if tasks.len() >= 32 {
            open.push(tasks.join_next().await.unwrap().unwrap());
        }
        tasks.spawn(async move { session(address).await });
    }
    open.extend(tasks.join_all().await);
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_connections_cost_little_and_are_all_there() {
    const CONNECTIONS: usize = 5_000;
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS as u64 + 500;
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        println!(
            "not checked: at most {:?} file descriptors here",
            limit.maximum
        );
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must allow {wanted} file descriptors"
        );
        return;
    }
    limit.current = limit.current.map(|current| current.max(wanted));
    setrlimit(Resource::Nofile, limit).unwrap();
    let (program, address) = Program::start_with("", Some(wanted));
    // What the first ones bring up is not theirs.
    let warm = sessions(address, 100).await;
    let before = rss(program.pid());
    let mut idle = sessions(address, CONNECTIONS - warm.len()).await;
    let after = rss(program.pid());
    let each = (after - before) as f64 / (CONNECTIONS - warm.len()) as f64;
    println!(
        "{before} KiB with 100 connections, {after} KiB with {CONNECTIONS}: {each:.2} KiB each"
    );
    assert!(each < 24.0, "{each:.2} KiB per idle connection");
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.get(b"k").await.unwrap(), None);
    }
    drop((warm, idle));
    program.signal(rustix::process::Signal::TERM);
    assert_eq!(program.wait().code, Some(0));
}
