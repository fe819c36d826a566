//! What an operation does to an entry: decided here, from the entry as it is and nothing else.
//!
//! Changes nothing, so that an atomic batch can decide everything before it applies anything.

use super::decimal::Decimal;
use super::{Contents, EntryBox};
use crate::{Condition, Entry, Expiry, Op, Outcome, StoreError, Value};
use std::num::NonZeroU64;

/// What an operation will do.
pub(crate) enum Plan<'a> {
    /// Show the entry.
    Show,
    /// Nothing but answer.
    Answer(Outcome<'static>),
    /// Put this in the entry's place.
    Write(Write<'a>),
    /// Remove the entry, and show it if asked.
    Remove { previous: bool },
}

/// The entry to be.
pub(crate) struct Write<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) content_type: u8,
    pub(crate) expires_at: Option<NonZeroU64>,
    pub(crate) reply: Reply,
}

impl Write<'_> {
    /// Allocates the entry that this makes of `current`.
    pub(crate) fn entry(
        &self,
        key: &[u8],
        version: u64,
        current: Option<Entry<'_>>,
    ) -> Result<EntryBox, StoreError> {
        let contents = Contents {
            value: self.body.value(current),
            version,
            expires_at: self.expires_at,
            content_type: self.content_type,
        };
        EntryBox::new(key, &contents)
    }
}

/// The bytes to be.
pub(crate) enum Body<'a> {
    /// These.
    New(Value<'a>),
    /// A number's text.
    Number(Decimal),
    /// Those of the entry as it is.
    Same,
}

impl Body<'_> {
    /// The bytes, given the entry as it is.
    pub(crate) fn value<'v>(&'v self, current: Option<Entry<'v>>) -> Value<'v> {
        match self {
            Self::New(value) => *value,
            Self::Number(text) => Value::Inline(text.as_slice()),
            Self::Same => current.map_or(Value::Inline(&[]), |entry| entry.value),
        }
    }
}

/// How a write is answered.
#[derive(Clone, Copy)]
pub(crate) enum Reply {
    Written { previous: bool },
    Counted(i64),
}

impl Reply {
    /// The outcome of a write that gave the entry `version`.
    pub(crate) fn outcome<'e>(
        self,
        version: u64,
        expires_at: Option<NonZeroU64>,
        before: Option<Entry<'e>>,
    ) -> Outcome<'e> {
        match self {
            Self::Written { previous } => Outcome::Written {
                version,
                expires_at,
                previous: before.filter(|_| previous),
            },
            Self::Counted(value) => Outcome::Counted {
                value,
                version,
                expires_at,
            },
        }
    }

    pub(crate) const fn shows_previous(self) -> bool {
        matches!(self, Self::Written { previous: true })
    }
}

/// What `op` does to `current`, which has not expired.
pub(crate) fn plan<'a>(op: &Op<'a>, current: Option<Entry<'_>>) -> Plan<'a> {
    let condition = match *op {
        Op::Get { .. } => Condition::Always,
        Op::Set { condition, .. }
        | Op::Del { condition, .. }
        | Op::Incr { condition, .. }
        | Op::Touch { condition, .. } => condition,
    };
    let version = current.map_or(0, |entry| entry.version);
    if !condition.holds(version) {
        return Plan::Answer(Outcome::Conflict { version });
    }
    match (*op, current) {
        (Op::Get { .. } | Op::Del { .. } | Op::Touch { .. }, None) => {
            Plan::Answer(Outcome::Missing)
        }
        (Op::Get { .. }, Some(_)) => Plan::Show,
        (Op::Del { previous, .. }, Some(_)) => Plan::Remove { previous },
        (
            Op::Set {
                value,
                content_type,
                expiry,
                previous,
                ..
            },
            current,
        ) => Plan::Write(Write {
            body: Body::New(value),
            content_type,
            expires_at: expiry_after(expiry, current),
            reply: Reply::Written { previous },
        }),
        (Op::Touch { expiry, .. }, Some(entry)) => Plan::Write(Write {
            body: Body::Same,
            content_type: entry.content_type,
            expires_at: expiry_after(expiry, current),
            reply: Reply::Written { previous: false },
        }),
        (Op::Incr { delta, expiry, .. }, current) => {
            let number = match current {
                Some(entry) => Decimal::parse(entry.value.as_slice()),
                None => Some(0),
            };
            let Some(sum) = number.and_then(|number| number.checked_add(delta)) else {
                return Plan::Answer(Outcome::WrongType);
            };
            Plan::Write(Write {
                body: Body::Number(Decimal::new(sum)),
                content_type: current.map_or(0, |entry| entry.content_type),
                expires_at: expiry_after(expiry, current),
                reply: Reply::Counted(sum),
            })
        }
    }
}

fn expiry_after(expiry: Expiry, current: Option<Entry<'_>>) -> Option<NonZeroU64> {
    match expiry {
        Expiry::Never => None,
        // The first millisecond of 1970 is as long past as the second.
        Expiry::At(ms) => Some(NonZeroU64::new(ms).unwrap_or(NonZeroU64::MIN)),
        Expiry::Keep => current?.expires_at,
    }
}
