//! What is found in a server after a crash.

use std::collections::BTreeMap;

use bytes::Bytes;
use kv_client::MultiplexedClient;
use kv_testkit::ledger::Found;
use kv_testkit::wait::within;

use crate::load::SharedLedger;
use crate::server::Server;

/// Entries by their keys.
pub(crate) type Entries = BTreeMap<Vec<u8>, Found>;

/// Keys in one batch of reads.
const BATCH: usize = 32;

/// Everything there is, read twice: by a scan, and key by key. Where the two disagree is told.
pub(crate) async fn survey(
    client: &MultiplexedClient,
    keys: &[Vec<u8>],
) -> Result<(Entries, Vec<String>), kv_client::Error> {
    let mut scanned = BTreeMap::new();
    let mut scan = client.scan("");
    while let Some(item) = within(scan.next()).await {
        let item = item?;
        scanned.insert(item.key.to_vec(), (item.value, item.version));
    }
    let (mut read, mut disagree) = (Entries::new(), Vec::new());
    for keys in keys.chunks(BATCH) {
        let batch = keys
            .iter()
            .fold(client.batch(), |batch, key| batch.get(key));
        for (key, reply) in keys.iter().zip(within(batch).await?) {
            let kv_client::BatchReply::Entry(entry) = reply? else {
                continue;
            };
            let by_get = entry.map(|entry| (entry.value, entry.version));
            let by_scan = scanned.remove(key);
            if by_scan != by_get {
                let version = |found: &Option<(Bytes, u64)>| found.as_ref().map(|found| found.1);
                let (by_scan, by_get) = (version(&by_scan), version(&by_get));
                let key = key.escape_ascii();
                disagree.push(format!(
                    "{key}: SCAN found version {by_scan:?}, GET {by_get:?}"
                ));
            }
            if let Some((value, version)) = by_get {
                read.insert(key.clone(), Found::read(key, &value, version));
            }
        }
    }
    // What nobody wrote, only a scan can find.
    for (key, (value, version)) in scanned {
        let found = Found::read(&key, &value, version);
        read.insert(key, found);
    }
    Ok((read, disagree))
}

/// Compares what a server has with what it owes.
pub(crate) async fn settle(server: &Server, ledger: &SharedLedger) -> Vec<String> {
    let keys = ledger.lock().keys();
    let surveyed = async {
        let client = server.client().await?;
        let surveyed = survey(&client, &keys).await;
        client.close().await;
        surveyed
    };
    match surveyed.await {
        Ok((found, mut losses)) => {
            let settled = ledger.lock().settle(&found);
            losses.extend(settled.iter().map(ToString::to_string));
            losses
        }
        Err(error) => vec![format!("cannot be read: {error}")],
    }
}
