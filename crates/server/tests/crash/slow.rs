//! A disk that takes long to sync: reads of what is on it already do not wait, reads of what is being
//! written do.

use std::path::Path;

use kv_testkit::faults::{self, Fault, Injection};
use kv_testkit::wait::within;
use tokio::task::JoinSet;

use crate::directory::DISK;
use crate::server::{BINARY, Setup};

/// Reads in a row, each a round trip; far quicker than one slow sync.
const READS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sync_delays_reads_of_nothing_but_what_it_syncs() {
    if !faults::has_program("strace") {
        return;
    }
    let setup = Setup::new(DISK);
    let injection = Injection {
        calls: faults::SYNCS,
        fault: Fault::Slow,
        at: 0,
        paths: Vec::new(),
    };
    let command = injection.command(Path::new(BINARY), &setup.beside("trace"));
    let server = setup.spawn_as(command).ready().unwrap();
    let (client, neighbour) = (
        server.client().await.unwrap(),
        server.client().await.unwrap(),
    );
    within(client.set("there", "old")).await.unwrap();
    for round in 0..2 {
        let (mut write, mut reads) = (JoinSet::new(), JoinSet::new());
        let (value, writer) = (format!("{round}"), client.clone());
        let expected = value.clone();
        let version = within(client.get_entry("busy")).await.unwrap();
        write.spawn(async move { writer.set("busy", value).await.unwrap() });
        // Requests of one connection arrive in order: a read behind the write is of what it writes.
        while client.stats().in_flight == 0 {
            tokio::task::yield_now().await;
        }
        let reader = client.clone();
        reads.spawn(async move { reader.get("busy").await.unwrap() });
        for _ in 0..READS {
            for reader in [&client, &neighbour] {
                let there = within(reader.get("there")).await.unwrap();
                assert_eq!(there.as_deref(), Some(&b"old"[..]));
            }
        }
        assert!(
            write.try_join_next().is_none(),
            "acknowledged before the sync"
        );
        assert!(reads.try_join_next().is_none(), "shown before the sync");
        let read = within(reads.join_next()).await.unwrap().unwrap();
        assert_eq!(read.as_deref(), Some(expected.as_bytes()));
        let written = within(write.join_next()).await.unwrap().unwrap();
        assert!(version.is_none_or(|before| written.version > before.version));
    }
    server.kill();
}
