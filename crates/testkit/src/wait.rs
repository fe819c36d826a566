//! Waiting in tests: for an event, under a deadline, never for a time.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// Far beyond what anything in a test takes, so that only what hangs is hit by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future` and gives its output; a test in which it never comes fails and says where.
///
/// # Panics
/// When it takes longer than half a minute.
#[track_caller]
#[expect(clippy::panic, reason = "a test that hangs has failed")]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_elapsed) => panic!("nothing happened for {PATIENCE:?} at {place}"),
        }
    }
}

/// Asks again and again until the answer is something. Each question should itself wait for the
/// other side (a round trip), so that asking is not spinning.
///
/// # Panics
/// When there is no answer for half a minute.
#[track_caller]
pub fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(async move {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
}
