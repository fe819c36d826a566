//! How a running server is told what to do.
//!
//! Requests are counted, not queued: asking for a reload ten times is asking for one, and a request to
//! stop is never lost behind others.

use std::sync::Arc;

use tokio::sync::watch;

/// What a running server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Finish what is in flight and stop; the second one stops at once.
    Stop,
    /// Read the configuration, certificates and keys again.
    Reload,
}

/// Tells a running server what to do. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    stops: watch::Sender<u32>,
    reloads: watch::Sender<u32>,
}

impl Control {
    /// Sends a command; a server that has ended ignores it.
    pub fn send(&self, command: Command) {
        let requests = match command {
            Command::Stop => &self.0.stops,
            Command::Reload => &self.0.reloads,
        };
        requests.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Ends when it was asked to stop so many times.
    pub(crate) async fn stopped(&self, times: u32) {
        let mut stops = self.0.stops.subscribe();
        // The sender lives in `self`, so the wait cannot end in an error.
        let _ = stops.wait_for(|&count| count >= times).await;
    }

    /// Changes with every request to reload, also with those before this call.
    pub(crate) fn reloads(&self) -> watch::Receiver<u32> {
        let mut reloads = self.0.reloads.subscribe();
        if *reloads.borrow() > 0 {
            reloads.mark_changed();
        }
        reloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_request_is_lost_and_reloads_add_up_to_one() {
        let control = Control::default();
        for _ in 0..1_000 {
            control.send(Command::Reload);
        }
        control.send(Command::Stop);
        control.stopped(1).await;
        let second = tokio::time::timeout(std::time::Duration::ZERO, control.stopped(2));
        assert!(second.await.is_err());
        control.send(Command::Stop);
        control.stopped(2).await;

        let mut reloads = control.reloads();
        assert!(reloads.has_changed().unwrap());
        reloads.changed().await.unwrap();
        assert!(!reloads.has_changed().unwrap());
    }
}
