//! Four writers whose every acknowledgement goes into a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kv_client::{BatchReply, Error, ErrorKind, MultiplexedClient, Retry};
use kv_testkit::ledger::{Change, Found, Intent, Ledger};
use kv_testkit::rng::Rng;
use kv_testkit::wait::within;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::server::Server;

const WRITERS: usize = 4;
/// Tasks of one writer, each with keys of its own and one write under way.
const LANES: usize = 4;
const KEYS: usize = 48;
/// Entries that are written once and are more than the table in memory holds.
const BULK: usize = 240;
/// Pairs of keys that all writers write.
const PAIRS: usize = 8;
/// A server that refuses this many in a row takes no writes any more.
const REFUSED_MAX: usize = 200;

pub(crate) type SharedLedger = Arc<Mutex<Ledger>>;

/// Tells when there were enough acknowledgements.
struct Progress {
    target: u64,
    count: AtomicU64,
    reached: Notify,
}

/// Writers at work.
pub(crate) struct Load {
    lanes: JoinSet<Vec<Error>>,
    progress: Arc<Progress>,
    errors: Vec<Error>,
}

impl Load {
    /// Begins writing; [`reached`](Self::reached) comes after `target` acknowledgements, and the
    /// writers go on until they cannot.
    pub(crate) async fn start(
        server: &Server,
        ledger: &SharedLedger,
        seed: u64,
        target: u64,
    ) -> Self {
        let progress = Arc::new(Progress {
            target,
            count: AtomicU64::new(0),
            reached: Notify::new(),
        });
        let mut load = Self {
            lanes: JoinSet::new(),
            progress: Arc::clone(&progress),
            errors: Vec::new(),
        };
        for writer in 0..WRITERS {
            // A server that is about to fail may take no session: its writer has nothing to do.
            let Ok(client) = server.client().await else {
                continue;
            };
            for lane in 0..LANES {
                let lane = Lane {
                    client: client.clone(),
                    ledger: Arc::clone(ledger),
                    progress: Arc::clone(&progress),
                    name: writer * LANES + lane,
                    rng: Rng::new(
                        seed.wrapping_mul(31)
                            .wrapping_add((writer * LANES + lane) as u64),
                    ),
                };
                load.lanes.spawn(lane.work());
            }
            if writer == 0 {
                let ledger = Arc::clone(ledger);
                load.lanes.spawn(watch(client, ledger, Rng::new(seed)));
            }
        }
        load
    }

    /// Waits for the target, or until no writer can go on.
    pub(crate) async fn reached(&mut self) {
        let reached = self.progress.reached.notified();
        tokio::pin!(reached);
        loop {
            tokio::select! {
                () = &mut reached => return,
                ended = self.lanes.join_next() => match ended {
                    Some(errors) => self.errors.extend(errors.unwrap()),
                    None => return,
                },
            }
        }
    }

    /// Waits until every writer has stopped; what each was told that was not an acknowledgement.
    pub(crate) async fn ended(mut self) -> Vec<Error> {
        while let Some(errors) = self.lanes.join_next().await {
            self.errors.extend(errors.unwrap());
        }
        self.errors
    }
}

/// Writes the entries that do not fit in memory.
pub(crate) async fn bulk(server: &Server, ledger: &SharedLedger) {
    let client = server.client().await.unwrap();
    let mut writes = JoinSet::new();
    for at in 0..BULK {
        let (client, ledger) = (client.clone(), Arc::clone(ledger));
        writes.spawn(async move {
            let key = format!("bulk.{at}");
            let intent = ledger.lock().begin(&[key.as_bytes()], Change::Put);
            let value = intent.value(key.as_bytes());
            let reply = within(client.set(key, value)).await.unwrap();
            ledger.lock().acknowledged(&intent, &[reply.version]);
        });
    }
    while let Some(written) = writes.join_next().await {
        written.unwrap();
    }
    client.close().await;
}

/// Reads what is being written: nobody may be shown what a crash takes away.
async fn watch(client: MultiplexedClient, ledger: SharedLedger, mut rng: Rng) -> Vec<Error> {
    loop {
        let key = match rng.below(4) {
            0 => format!("pair.{}.a", rng.below(PAIRS)),
            _ => format!("lane.{}.{}", rng.below(WRITERS * LANES), rng.below(KEYS)),
        };
        let look = ledger.lock().look(key.as_bytes());
        match client.get_entry(&key).await {
            Ok(Some(entry)) => {
                let found = Found::read(key.as_bytes(), &entry.value, entry.version);
                ledger.lock().seen(key.as_bytes(), look, &found);
            }
            Ok(None) => {}
            Err(error) => return vec![error],
        }
    }
}

struct Lane {
    client: MultiplexedClient,
    ledger: SharedLedger,
    progress: Arc<Progress>,
    name: usize,
    rng: Rng,
}

impl Lane {
    async fn work(mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut refused = 0;
        while refused < REFUSED_MAX {
            let intent = self.plan();
            match self.write(&intent).await {
                Ok(versions) => {
                    refused = 0;
                    self.ledger.lock().acknowledged(&intent, &versions);
                    if self.progress.count.fetch_add(1, Ordering::Relaxed) + 1
                        == self.progress.target
                    {
                        self.progress.reached.notify_one();
                    }
                }
                Err(error) => {
                    refused += 1;
                    match error.retry() {
                        Retry::OutcomeUnknown => self.ledger.lock().unknown(&intent),
                        _ => self.ledger.lock().refused(&intent),
                    }
                    let is_lost = !matches!(error.kind(), ErrorKind::Server { .. });
                    errors.push(error);
                    if is_lost {
                        break;
                    }
                }
            }
        }
        errors
    }

    fn plan(&mut self) -> Intent {
        let (lane, rng) = (self.name, &mut self.rng);
        let change = if rng.below(5) == 0 {
            Change::Delete
        } else {
            Change::Put
        };
        let mut ledger = self.ledger.lock();
        match rng.below(8) {
            0 => {
                let pair = rng.below(PAIRS);
                let (a, b) = (format!("pair.{pair}.a"), format!("pair.{pair}.b"));
                // The order of removals by several writers would be nobody's to know.
                ledger.begin(&[a.as_bytes(), b.as_bytes()], Change::Put)
            }
            1 => {
                let (a, b) = (format!("lane.{lane}.a"), format!("lane.{lane}.b"));
                ledger.begin(&[a.as_bytes(), b.as_bytes()], change)
            }
            _ => {
                let key = format!("lane.{lane}.{}", rng.below(KEYS));
                ledger.begin(&[key.as_bytes()], change)
            }
        }
    }

    async fn write(&self, intent: &Intent) -> Result<Vec<u64>, Error> {
        match (intent.keys(), intent.change()) {
            ([key], Change::Put) => {
                let reply = self.client.set(key, intent.value(key)).await?;
                Ok(vec![reply.version])
            }
            ([key], Change::Delete) => {
                self.client.delete(key).await?;
                Ok(Vec::new())
            }
            (keys, change) => {
                let batch = keys
                    .iter()
                    .fold(self.client.batch(), |batch, key| match change {
                        Change::Put => batch.set(key, intent.value(key)),
                        Change::Delete => batch.delete(key),
                    });
                let replies = batch.atomic().await?;
                let versions = replies.into_iter().map(|reply| match reply {
                    Ok(BatchReply::Set(reply)) => Ok(reply.version),
                    Ok(_) => Ok(0),
                    Err(error) => Err(error),
                });
                versions.collect()
            }
        }
    }
}
