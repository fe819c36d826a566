//! GET, SET, DEL, compare-and-set and INCR as eight clients see them, through kills and restarts:
//! each key's history has an explanation.

use kv_client::{Error, ErrorCode, ErrorKind, MultiplexedClient, Retry};
use kv_testkit::history::{Answer, Ask, Recorder};
use kv_testkit::linearizability::check;
use kv_testkit::rng::Rng;
use tokio::task::JoinSet;

use crate::bounds::Cycles;
use crate::server::{Server, Setup};

const CLIENTS: usize = 8;
const OPERATIONS: usize = 2_000;
/// Lives of the server in one history: it is killed between them.
const LIVES: usize = 4;
const KEYS: usize = 4;

/// One client, one operation at a time.
struct Caller {
    client: MultiplexedClient,
    number: usize,
    history: Recorder,
    rng: Rng,
    /// Versions it has seen, for its conditions.
    versions: [u64; KEYS],
}

impl Caller {
    /// Makes so many operations, or as many as there are answers to.
    async fn work(mut self, operations: usize) {
        for at in 0..operations {
            let key = self.rng.below(KEYS);
            let ask = self.ask(key, at);
            let name = format!("key.{key}");
            let id = self.history.begin(self.number, name.as_bytes(), ask);
            let result = self.call(&name, ask).await;
            let is_over = match &result {
                Ok(_) => false,
                Err(error) => !matches!(error.kind(), ErrorKind::Server { .. }),
            };
            let answer = result.unwrap_or_else(|error| answer_of(&error));
            if let Answer::Written(version)
            | Answer::Entry(Some((_, version)))
            | Answer::Conflict(version) = answer
            {
                self.versions[key] = version;
            }
            self.history.end(name.as_bytes(), id, answer);
            if is_over {
                return;
            }
        }
    }

    fn ask(&mut self, key: usize, at: usize) -> Ask {
        // No two writes have the same number, and sums stay between them.
        let number = ((self.rng.next() >> 24) as i64) << 20 | (at as i64) << 4;
        match self.rng.below(10) {
            0..3 => Ask::Get,
            3..5 => Ask::Set(number),
            5..7 => Ask::Incr(1 + self.rng.below(3) as i64),
            7..9 => Ask::Cas {
                version: self.versions[key],
                number,
            },
            _ => Ask::Del,
        }
    }

    async fn call(&self, key: &str, ask: Ask) -> Result<Answer, Error> {
        Ok(match ask {
            Ask::Get => {
                let entry = self.client.get_entry(key).await?;
                Answer::Entry(entry.map(|entry| {
                    let text = std::str::from_utf8(&entry.value).unwrap();
                    (text.parse().unwrap(), entry.version)
                }))
            }
            Ask::Set(number) => {
                let reply = self.client.set(key, number.to_string()).await?;
                Answer::Written(reply.version)
            }
            Ask::Del => Answer::Deleted(self.client.delete(key).await?),
            Ask::Incr(by) => Answer::Sum(self.client.incr(key, by).await?),
            Ask::Cas { version, number } => {
                let call = self.client.set(key, number.to_string());
                let call = match version {
                    0 => call.if_absent(),
                    version => call.if_version(version),
                };
                Answer::Written(call.await?.version)
            }
        })
    }
}

/// What a call that failed says about its effect.
fn answer_of(error: &Error) -> Answer {
    match (error.kind(), error.retry()) {
        (
            ErrorKind::Server {
                code: Some(ErrorCode::Conflict),
                version,
                ..
            },
            _,
        ) => Answer::Conflict(version.unwrap_or_default()),
        (_, Retry::OutcomeUnknown) => Answer::Unknown,
        _ => Answer::Refused,
    }
}

/// One life of a server: eight clients at once; every life but the last ends in the middle of their
/// work.
async fn live(server: Server, history: &Recorder, rng: &mut Rng, is_last: bool) {
    let mut tasks = JoinSet::new();
    let operations = OPERATIONS / CLIENTS / LIVES;
    for number in 0..CLIENTS {
        let caller = Caller {
            client: server.client().await.unwrap(),
            number,
            history: history.clone(),
            rng: Rng::new(rng.next()),
            versions: [0; KEYS],
        };
        tasks.spawn(caller.work(operations));
    }
    if is_last {
        tasks.join_all().await;
        server.kill();
    } else {
        // The first to be through ends the life of all others: they are close behind.
        tasks.join_next().await.unwrap().unwrap();
        server.kill();
        tasks.join_all().await;
    }
    history.gone();
}

/// Records a history and judges it key by key: what has no explanation.
async fn judge(storage: &str, seed: u64) -> (usize, Vec<String>) {
    let setup = Setup::new(storage);
    let history = Recorder::default();
    let mut rng = Rng::new(seed);
    for life in 1..=LIVES {
        match setup.spawn().ready() {
            Ok(server) => live(server, &history, &mut rng, life == LIVES).await,
            Err(ended) => return (0, vec![format!("seed {seed}: did not start: {ended:?}")]),
        }
    }
    let mut operations = 0;
    let mut faults = Vec::new();
    for (key, history) in history.histories() {
        operations += history.operations.len();
        if let Err(verdict) = check(&history) {
            faults.push(format!("seed {seed}, {}: {verdict}", key.escape_ascii()));
        }
    }
    (operations, faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_through_kills_has_an_explanation() {
    let name = "every_history_through_kills_has_an_explanation";
    let mut cycles = Cycles::new(name, 12, 1_000);
    let (mut total, mut faults) = (0, Vec::new());
    for seed in cycles.by_ref() {
        let (operations, found) = judge("engine = \"disk\"\ndurability = \"always\"", seed).await;
        total += operations;
        faults.extend(found);
    }
    cycles.settle(
        format_args!("{total} operations of {CLIENTS} clients"),
        &faults,
    );
    assert!(total > 0);
}

/// The canary: an engine that keeps nothing answers after its restart what nothing explains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_keeps_nothing_has_histories_without_explanation() {
    let (operations, faults) = judge("engine = \"memory\"", 1).await;
    assert!(operations > OPERATIONS / 2, "{operations}");
    assert!(!faults.is_empty());
}

/// The memory engine itself is right, as long as nobody kills it: what the canary finds is the kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_not_killed_has_an_explanation_for_everything() {
    let setup = Setup::new("engine = \"memory\"");
    let history = Recorder::default();
    live(setup.start(), &history, &mut Rng::new(1), true).await;
    let histories = history.histories();
    assert_eq!(histories.len(), KEYS);
    for (key, history) in histories {
        let judged = check(&history);
        assert!(judged.is_ok(), "{}: {judged:?}", key.escape_ascii());
    }
}
