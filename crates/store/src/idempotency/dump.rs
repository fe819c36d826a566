//! A client's window as bytes, for whoever keeps it across restarts. Big-endian:
//!
//! ```text
//! form 1 | used at u64 | 0, or 1 and forgotten through u64 |
//! (number u64 | recorded at u64 | position u64 | length u32 | answer) ...  ascending numbers
//! ```

use super::client::{Client, WINDOW};
use super::codec::Reader;
use super::{Record, Stored, Windows};
use crate::{Position, StoreError};
use std::collections::HashSet;

const FORM: u8 = 1;

impl Windows {
    /// Notes from now on which clients change.
    #[must_use]
    pub(crate) fn tracking_changes(mut self) -> Self {
        self.changed = Some(HashSet::new());
        self
    }

    /// The clients that changed since this was asked last, those included that are not known any
    /// more. Dump each, and delete what was kept of those that have no dump.
    pub(crate) fn take_changed(&mut self) -> Vec<[u8; 16]> {
        let changed = self.changed.as_mut();
        changed.map_or_else(Vec::new, |changed| changed.drain().collect())
    }

    /// What is known of a client, as of the position `through`: answers that depend on a later
    /// one are left out, and the client counts as changed again. `None` when it is not known.
    pub(crate) fn dump(&mut self, client: [u8; 16], through: Position) -> Option<Vec<u8>> {
        let head = self.heads.get(*self.clients.get(&client)?)?;
        let mut out = vec![FORM];
        out.extend(head.used_at.to_be_bytes());
        out.push(u8::from(head.forgotten.is_some()));
        out.extend(
            head.forgotten
                .iter()
                .flat_map(|number| number.to_be_bytes()),
        );
        let mut complete = true;
        for record in self.window_of(head) {
            if record.position > through {
                complete = false;
                continue;
            }
            let Ok(len) = u32::try_from(record.stored.0.len()) else {
                continue;
            };
            out.extend(record.number.to_be_bytes());
            out.extend(record.at.to_be_bytes());
            out.extend(record.position.get().to_be_bytes());
            out.extend(len.to_be_bytes());
            out.extend_from_slice(&record.stored.0);
        }
        if !complete {
            self.mark_changed(client);
        }
        Some(out)
    }

    /// Takes what [`Windows::dump`] gave of a client in the place of what is known of it. Counts as
    /// no change. The bound holds again from the next recording on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when the bytes are those of no dump; nothing has changed then.
    pub(crate) fn load(&mut self, client: [u8; 16], bytes: &[u8]) -> Result<(), StoreError> {
        let dump = Dump::read(bytes)?;
        if let Some(known) = self.clients.get(&client) {
            self.forget_client(*known);
        }
        let highest = dump.answers.last().map_or(0, |answer| answer.number);
        let mut head = Client::new(client, highest.max(dump.forgotten.unwrap_or(0)));
        head.forgotten = dump.forgotten;
        head.used_at = dump.used_at;
        let place = self.heads.push(head).ok_or(StoreError::OutOfMemory)?;
        self.clients.insert(client, place);
        for answer in dump.answers {
            self.keep(Record {
                client: place,
                number: answer.number,
                at: answer.at,
                position: answer.position,
                stored: Stored(answer.bytes.into()),
            });
        }
        self.in_order = false;
        if let Some(changed) = &mut self.changed {
            changed.remove(&client);
        }
        Ok(())
    }

    /// A client's records by ascending number.
    fn window_of<'w>(&'w self, head: &'w Client) -> impl Iterator<Item = &'w Record> {
        let lowest = head.highest.saturating_sub(WINDOW - 1);
        (lowest..=head.highest)
            .take(if head.live == 0 { 0 } else { usize::MAX })
            .filter_map(|number| self.find(head, number).map(|(_, record)| record))
    }
}

/// What a dump says.
struct Dump<'b> {
    used_at: u64,
    forgotten: Option<u64>,
    answers: Vec<Answer<'b>>,
}

struct Answer<'b> {
    number: u64,
    at: u64,
    position: Position,
    bytes: &'b [u8],
}

impl<'b> Dump<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, StoreError> {
        let mut rest = Reader(bytes);
        if rest.u8()? != FORM {
            return Err(StoreError::Corrupt);
        }
        let used_at = rest.u64()?;
        let forgotten = match rest.u8()? {
            0 => None,
            1 => Some(rest.u64()?),
            _ => return Err(StoreError::Corrupt),
        };
        let mut answers: Vec<Answer<'_>> = Vec::new();
        while rest.end().is_err() {
            let answer = Answer::read(&mut rest)?;
            let before = answers.last().map(|before| before.number).or(forgotten);
            // All within one window, above what is forgotten.
            let first = answers.first().map_or(answer.number, |first| first.number);
            if before.is_some_and(|before| answer.number <= before)
                || answer.number - first >= WINDOW
            {
                return Err(StoreError::Corrupt);
            }
            answers.push(answer);
        }
        Ok(Self {
            used_at,
            forgotten,
            answers,
        })
    }
}

impl<'b> Answer<'b> {
    fn read(rest: &mut Reader<'b>) -> Result<Self, StoreError> {
        let (number, at) = (rest.u64()?, rest.u64()?);
        let position = Position::of_version(rest.u64()?);
        let len = rest.count()?;
        Ok(Self {
            number,
            at,
            position,
            bytes: rest.slice(len)?,
        })
    }
}
