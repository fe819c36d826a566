//! How far a long command is: one line that changes on a terminal, one now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::output::plural;

/// Between two changes of a line on a terminal.
const TERMINAL: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const LINES: Duration = Duration::from_secs(10);

/// Tells how far it is on standard error.
pub(in crate::commands) struct Progress {
    doing: &'static str,
    /// About how many there are.
    total: Option<u64>,
    is_terminal: bool,
    began: Instant,
    shown: Instant,
    is_shown: bool,
}

impl Progress {
    /// Begins now; `doing` is such as `restored`.
    pub(in crate::commands) fn new(doing: &'static str, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            doing,
            total,
            is_terminal: io::stderr().is_terminal(),
            began: now,
            shown: now,
            is_shown: false,
        }
    }

    /// How many there are about, once that is known.
    pub(in crate::commands) fn expect(&mut self, total: u64) {
        self.total = Some(total).filter(|&total| total > 0);
    }

    /// Whether it is time to say something: also the time for a checkpoint.
    pub(in crate::commands) fn is_due(&self) -> bool {
        let every = if self.is_terminal { TERMINAL } else { LINES };
        self.shown.elapsed() >= every
    }

    /// Says it, if it is time.
    pub(in crate::commands) fn at(&mut self, count: u64) {
        if !self.is_due() {
            return;
        }
        let text = text(self.doing, count, self.total, self.began.elapsed());
        // Nothing can be done about a closed standard error.
        let _ = if self.is_terminal {
            write!(io::stderr().lock(), "\r{text}\x1b[K")
        } else {
            writeln!(io::stderr().lock(), "{text}")
        };
        self.is_shown = self.is_terminal;
        self.shown = Instant::now();
    }

    /// Takes the line away, so that something else can be said.
    pub(in crate::commands) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(doing: &str, count: u64, total: Option<u64>, elapsed: Duration) -> String {
    let ms = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let rate = count.saturating_mul(1_000) / ms;
    let share = total
        .map(|total| count.saturating_mul(100) / total.max(1))
        // An estimate may be passed.
        .map(|percent| format!(", {}%", percent.min(99)))
        .unwrap_or_default();
    let entries = if count == 1 { "entry" } else { "entries" };
    format!("{doing} {count} {entries}{share}, {rate} per second")
}

/// `1 entry`, `2 entries`.
pub(in crate::commands) fn entries(count: u64) -> String {
    match count {
        1 => plural(count, "entry"),
        _ => format!("{count} entries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_how_much_of_all_and_how_fast() {
        let second = Duration::from_secs(2);
        assert_eq!(
            text("restored", 500, Some(1_000), second),
            "restored 500 entries, 50%, 250 per second"
        );
        assert_eq!(
            text("imported", 1, None, Duration::ZERO),
            "imported 1 entry, 1000 per second"
        );
        assert!(text("x", 3, Some(2), second).contains("99%"));
    }
}
