//! What becomes of a call that its connection did not answer: one pure function over the cause, how
//! far the request got, and the command table.

use kv_proto::{Opcode, Repeat};

use crate::error::{ErrorKind, Retry};

/// How far a request got before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Its last byte did not leave: the server cannot have applied it.
    No,
    /// It left as a whole, or may have.
    Maybe,
}

/// Why a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its connection was lost.
    Lost,
    /// Its time was over.
    TimedOut,
}

/// What to do with it.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// Send it again on the next connection, while its time lasts.
    Again,
    /// Tell the caller.
    Fail(ErrorKind, Retry),
}

/// Whether the server knows a repeat of the request for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It carries an operation number.
    Yes,
    No,
}

/// Decides by (cause, how far it got, what the command table allows).
pub(crate) fn decide(ended: Ended, sent: Sent, opcode: Opcode, named: Named) -> Fate {
    let repeatable = match (opcode.info().repeat, ended, named) {
        (Repeat::Safe, ..) => true,
        // After its time nobody repeats it under the same number any more.
        (Repeat::WithIdempotency, Ended::Lost, Named::Yes) => true,
        (Repeat::WithIdempotency | Repeat::Never, ..) => sent == Sent::No,
    };
    match (ended, repeatable) {
        (Ended::Lost, true) => Fate::Again,
        (Ended::Lost, false) => Fate::Fail(ErrorKind::OutcomeUnknown, Retry::OutcomeUnknown),
        (Ended::TimedOut, true) => Fate::Fail(ErrorKind::Timeout, Retry::Safe),
        (Ended::TimedOut, false) => Fate::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R: read, W: write, by the command table.
    #[test]
    fn the_whole_table_of_causes_and_commands() {
        for &opcode in Opcode::ALL {
            let read = opcode.info().repeat == Repeat::Safe;
            for sent in [Sent::No, Sent::Maybe] {
                let again = read || sent == Sent::No;
                match decide(Ended::Lost, sent, opcode, Named::No) {
                    Fate::Again => assert!(again, "{opcode:?} {sent:?}"),
                    Fate::Fail(kind, retry) => {
                        assert!(!again, "{opcode:?} {sent:?}");
                        assert!(matches!(kind, ErrorKind::OutcomeUnknown));
                        assert_eq!(retry, Retry::OutcomeUnknown);
                    }
                }
                let Fate::Fail(ErrorKind::Timeout, retry) =
                    decide(Ended::TimedOut, sent, opcode, Named::No)
                else {
                    panic!("a timeout is told to the caller: {opcode:?}");
                };
                let expected = if again {
                    Retry::Safe
                } else {
                    Retry::OutcomeUnknown
                };
                assert_eq!(retry, expected, "{opcode:?} {sent:?}");
            }
        }
    }

    #[test]
    fn sent_writes_are_never_repeated() {
        for opcode in [
            Opcode::Set,
            Opcode::Del,
            Opcode::Incr,
            Opcode::Touch,
            Opcode::Batch,
        ] {
            assert!(matches!(
                decide(Ended::Lost, Sent::Maybe, opcode, Named::No),
                Fate::Fail(..)
            ));
        }
        for opcode in [
            Opcode::Get,
            Opcode::Scan,
            Opcode::Ping,
            Opcode::Info,
            Opcode::Kill,
        ] {
            assert!(matches!(
                decide(Ended::Lost, Sent::Maybe, opcode, Named::No),
                Fate::Again
            ));
        }
    }

    #[test]
    fn a_write_with_a_number_is_repeated_until_its_time_is_over() {
        for &opcode in Opcode::ALL {
            if opcode.info().repeat != Repeat::WithIdempotency {
                continue;
            }
            let lost = decide(Ended::Lost, Sent::Maybe, opcode, Named::Yes);
            assert!(matches!(lost, Fate::Again), "{opcode:?}");
            let late = decide(Ended::TimedOut, Sent::Maybe, opcode, Named::Yes);
            assert!(
                matches!(late, Fate::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown)),
                "{opcode:?}"
            );
        }
    }
}
