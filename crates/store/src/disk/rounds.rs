//! How the carrier's thread is asked for rounds, and how others wait for them.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Asked {
    round: bool,
    sweep: bool,
    closing: bool,
    begun: u64,
    ended: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Round,
    Sweep,
    /// Nobody asked for anything in a while.
    Idle,
    Close,
}

/// Requests to the carrier.
#[derive(Default)]
pub(super) struct Rounds {
    asked: Mutex<Asked>,
    work: Condvar,
    ended: Condvar,
}

impl Rounds {
    /// Asks for a round.
    pub(super) fn ask(&self) {
        self.asked.lock().round = true;
        self.work.notify_one();
    }

    /// Asks for a look at the base's index of expiries.
    pub(super) fn ask_sweep(&self) {
        self.asked.lock().sweep = true;
        self.work.notify_one();
    }

    /// Ends the carrier after the round under way.
    pub(super) fn close(&self) {
        self.asked.lock().closing = true;
        self.work.notify_all();
        self.ended.notify_all();
    }

    /// Asks for a round and waits until one that began after this has ended, or `patience` is
    /// over. Whether it ended.
    pub(super) fn wait_for_one(&self, patience: Duration) -> bool {
        let mut asked = self.asked.lock();
        let wanted = asked.begun + 1;
        asked.round = true;
        self.work.notify_one();
        while asked.ended < wanted && !asked.closing {
            if self.ended.wait_for(&mut asked, patience).timed_out() {
                return asked.ended >= wanted;
            }
        }
        asked.ended >= wanted
    }

    /// For the carrier: waits for a request, a second at most.
    pub(super) fn next(&self) -> Next {
        let mut asked = self.asked.lock();
        if !asked.round && !asked.sweep && !asked.closing {
            self.work.wait_for(&mut asked, Duration::from_secs(1));
        }
        if asked.closing {
            return Next::Close;
        }
        if std::mem::take(&mut asked.round) {
            asked.begun += 1;
            return Next::Round;
        }
        if std::mem::take(&mut asked.sweep) {
            return Next::Sweep;
        }
        Next::Idle
    }

    /// For the carrier: the round it began has ended.
    pub(super) fn ended(&self) {
        let mut asked = self.asked.lock();
        asked.ended = asked.begun;
        self.ended.notify_all();
    }
}
