//! Exit codes: a promise to scripts and service managers, documented in `--help`.

use std::process::{ExitCode, Termination};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A clean stop, also after a signal and a drain in time.
    Clean = 0,
    /// It failed while running.
    Failure = 1,
    /// The command line makes no sense (clap's own code).
    Usage = 2,
    /// The configuration is invalid.
    Config = 3,
    /// An address cannot be bound.
    Bind = 4,
    /// The data directory is locked or damaged.
    Data = 5,
    /// Requests were cut because the drain took too long.
    DrainTimeout = 6,
}

impl Exit {
    /// Every code with its words.
    pub const ALL: [(Self, &'static str); 7] = [
        (
            Self::Clean,
            "stopped cleanly, also by SIGTERM or SIGINT after a complete drain",
        ),
        (Self::Failure, "failed while running"),
        (Self::Usage, "wrong usage of the command line"),
        (Self::Config, "the configuration is invalid"),
        (Self::Bind, "cannot listen on an address"),
        (Self::Data, "the data directory is locked or damaged"),
        (
            Self::DrainTimeout,
            "the drain took longer than shutdown.drain_timeout",
        ),
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_at_their_numbers() {
        for (number, (exit, _)) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
        }
    }
}
