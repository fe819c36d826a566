//! Where connections run: on the runtime that accepts them, or on one single-threaded runtime per
//! core.
//!
//! A connection stays on its thread for life, so its wake-ups never cross cores and its buffers stay
//! warm. `docs/design/0007-one-runtime-per-core.md` has the figures.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kv_service::{Closure, Listener, Metrics};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections handed to a thread and not yet begun. The accept loop waits when it is full.
const HANDOVER_MAX: usize = 256;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Makes the task on the thread that runs it, so that its sockets belong to that thread's reactor.
type Job = Box<dyn FnOnce() -> Task + Send>;

/// The threads that run connections. With none, connections run where they are accepted.
pub(crate) struct Workers {
    here: JoinSet<()>,
    lanes: Vec<Lane>,
    shared: Arc<Count>,
    metrics: Arc<Metrics>,
}

struct Lane {
    jobs: mpsc::Sender<Job>,
    open: Arc<AtomicUsize>,
}

/// How many connections are open on the threads.
struct Count {
    open: AtomicUsize,
    ended: Notify,
    /// Cut what is left.
    abort: CancellationToken,
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system gives no thread or no reactor.
    pub(crate) fn start(threads: usize, metrics: Arc<Metrics>) -> io::Result<Self> {
        let shared = Arc::new(Count {
            open: AtomicUsize::new(0),
            ended: Notify::new(),
            abort: CancellationToken::new(),
        });
        let mut lanes = Vec::with_capacity(threads);
        for index in 0..threads {
            let (jobs, receiver) = mpsc::channel(HANDOVER_MAX);
            let open = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let lane = Running {
                jobs: receiver,
                open: Arc::clone(&open),
                shared: Arc::clone(&shared),
                metrics: Arc::clone(&metrics),
            };
            std::thread::Builder::new()
                .name(format!("kv-worker-{index}"))
                .spawn(move || runtime.block_on(lane.run()))?;
            lanes.push(Lane { jobs, open });
        }
        Ok(Self {
            here: JoinSet::new(),
            lanes,
            shared,
            metrics,
        })
    }

    /// Whether connections run where they are accepted.
    pub(crate) const fn are_here(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Runs a connection on the thread and the reactor that accepted it.
    pub(crate) fn spawn_here(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.here.spawn(task);
    }

    /// Runs a connection on the thread with the fewest.
    pub(crate) async fn spawn<F, T>(&mut self, make: F)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let Some(lane) = self
            .lanes
            .iter()
            .min_by_key(|lane| lane.open.load(Ordering::Relaxed))
        else {
            return self.spawn_here(make());
        };
        lane.open.fetch_add(1, Ordering::Relaxed);
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        let job: Job = Box::new(move || Box::pin(make()));
        if lane.jobs.send(job).await.is_err() {
            // The thread is gone, which only a panic of the runtime itself does.
            lane.open.fetch_sub(1, Ordering::Relaxed);
            self.shared.open.fetch_sub(1, Ordering::SeqCst);
            tracing::error!("a worker thread is gone; the connection is lost");
        }
    }

    /// Ends when a connection that ran here has ended; never when there is none.
    pub(crate) async fn reap(&mut self) {
        match self.here.join_next().await {
            Some(ended) => note(&ended, &self.metrics),
            None => std::future::pending().await,
        }
    }

    /// Waits for all connections to end, at most so long; how many had to be cut.
    pub(crate) async fn drain(mut self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        let mut cut = 0;
        while !self.here.is_empty() {
            match tokio::time::timeout_at(deadline, self.here.join_next()).await {
                Ok(Some(ended)) => note(&ended, &self.metrics),
                Ok(None) => break,
                Err(_elapsed) => {
                    cut += self.here.len();
                    self.here.shutdown().await;
                }
            }
        }
        loop {
            let ended = self.shared.ended.notified();
            let open = self.shared.open.load(Ordering::SeqCst);
            if open == 0 {
                return cut;
            }
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                self.shared.abort.cancel();
                return cut + open;
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.abort.cancel();
    }
}

/// A worker thread's loop.
struct Running {
    jobs: mpsc::Receiver<Job>,
    open: Arc<AtomicUsize>,
    shared: Arc<Count>,
    metrics: Arc<Metrics>,
}

impl Running {
    async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut accepting = true;
        while accepting || !tasks.is_empty() {
            tokio::select! {
                () = self.shared.abort.cancelled() => {
                    let cut = tasks.len();
                    tasks.shutdown().await;
                    self.shared.open.fetch_sub(cut, Ordering::SeqCst);
                    self.shared.ended.notify_one();
                    return;
                }
                Some(ended) = tasks.join_next() => self.on_end(&ended),
                job = self.jobs.recv(), if accepting => match job {
                    Some(job) => {
                        tasks.spawn(job());
                    }
                    None => accepting = false,
                }
            }
        }
    }

    fn on_end(&self, ended: &Result<(), JoinError>) {
        note(ended, &self.metrics);
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.shared.ended.notify_one();
    }
}

fn note(ended: &Result<(), JoinError>, metrics: &Metrics) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics.panicked();
        metrics.closed(Listener::Native, Closure::Internal);
        tracing::error!(%error, "a connection's task panicked; the connection is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn connections_are_spread_over_the_threads_and_drained() {
        let metrics = Arc::new(Metrics::new(1, 1));
        let mut workers = Workers::start(2, metrics).unwrap();
        let seen = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        for _ in 0..10 {
            let (seen, gate) = (Arc::clone(&seen), Arc::clone(&gate));
            let task = move || async move {
                let name = std::thread::current().name().unwrap_or_default().to_owned();
                seen.lock().unwrap().insert(name);
                gate.acquire().await.unwrap().forget();
            };
            workers.spawn(task).await;
        }
        gate.add_permits(10);
        assert_eq!(workers.drain(Duration::from_secs(10)).await, 0);
        assert_eq!(seen.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_cut_and_counted() {
        for threads in [0, 1] {
            let metrics = Arc::new(Metrics::new(1, 1));
            let mut workers = Workers::start(threads, metrics).unwrap();
            workers.spawn(std::future::pending::<()>).await;
            workers.spawn(|| async {}).await;
            assert!(workers.drain(Duration::from_millis(20)).await >= 1);
        }
    }
}
