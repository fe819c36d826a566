//! The wall clock of a server, as a value that is passed in: read once per wake-up, never going back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use kv_store::Now;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> Now;
}

/// The system's clock, held back where it goes backwards: what has expired stays expired.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        // Relaxed: the number orders no other memory. Written only when it moves, so that cores
        // share the line most of the time.
        let latest = self.latest.load(Ordering::Relaxed);
        if ms > latest {
            self.latest.fetch_max(ms, Ordering::Relaxed);
        }
        Now::from_unix_ms(ms.max(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = SystemClock::default();
        let first = clock.now();
        assert!(first.unix_ms() > 1_700_000_000_000);
        clock
            .latest
            .store(first.unix_ms() + 60_000, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms(), first.unix_ms() + 60_000);
    }
}
