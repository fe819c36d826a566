//! What a failed accept means: the connection's own fault, or a resource that is used up.

use std::io;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Waits longer with every failure in a row, and says so once a second at most.
#[derive(Default)]
pub(super) struct Backoff {
    wait: Option<Duration>,
    logged: Option<tokio::time::Instant>,
}

impl Backoff {
    /// Accepting works again.
    pub(super) const fn reset(&mut self) {
        self.wait = None;
    }

    /// How long to wait before the next accept; `None` when only that one connection failed.
    pub(super) fn on_error(&mut self, error: &io::Error) -> Option<Duration> {
        if is_of_connection(error) {
            tracing::debug!(%error, "a connection failed before it was accepted");
            return None;
        }
        let wait = self.wait.map_or(FIRST, |wait| (wait * 2).min(LONGEST));
        self.wait = Some(wait);
        let now = tokio::time::Instant::now();
        if self
            .logged
            .is_none_or(|at| now.duration_since(at) >= LONGEST)
        {
            self.logged = Some(now);
            tracing::warn!(
                %error,
                "cannot accept connections; raise the file descriptor limit or lower \
                 limits.max_connections if this goes on"
            );
        }
        Some(wait)
    }
}

/// Errors of accept(2) that say nothing about the listener.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn exhaustion_waits_longer_each_time_and_a_lost_connection_does_not() {
        let mut backoff = Backoff::default();
        let exhausted = io::Error::from_raw_os_error(24); // EMFILE
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(backoff.on_error(&aborted), None);
        let waits: Vec<_> = (0..9)
            .filter_map(|_| backoff.on_error(&exhausted))
            .collect();
        assert_eq!(waits.first(), Some(&FIRST));
        assert_eq!(waits.last(), Some(&LONGEST));
        assert!(waits.is_sorted());
        backoff.reset();
        assert_eq!(backoff.on_error(&exhausted), Some(FIRST));
    }
}
