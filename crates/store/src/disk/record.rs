//! What a group of the log holds: records of the state after each write, not of what was asked.
//!
//! ```text
//! put      kind 1 | content type | key length u16 | value length u32 | version u64 | expiry u64 | key | value
//! delete   kind 2 | 0            | key length u16 | 0 u32            | version u64 | 0 u64      | key
//! result   kind 3 | 0            | 0 u16          | length u32       | position u64 | time u64  | client 16 | number u64 | bytes
//! ```
//!
//! The checksum is the group's. An expiry of 0 is none.

use crate::{Entry, OperationId, Value};
use std::num::NonZeroU64;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const RESULT: u8 = 3;

/// The front every record has.
const FRONT_BYTES: usize = 24;

const CLIENT_BYTES: usize = 16;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'r> {
    /// The entry of a key is this one now.
    Put { key: &'r [u8], entry: Entry<'r> },
    /// A key has no entry any more.
    Delete { key: &'r [u8], version: u64 },
    /// How a named operation was answered.
    Result {
        operation: OperationId,
        position: u64,
        time_ms: u64,
        outcome: &'r [u8],
    },
}

/// A group whose checksum is right and whose content is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record at byte {at} of the group is malformed")]
pub(super) struct Malformed {
    at: usize,
}

/// Appends the record of an entry. Key and value have the lengths engines take.
pub(super) fn put(buffer: &mut Vec<u8>, key: &[u8], entry: &Entry<'_>) {
    let value = entry.value.as_slice();
    let expires_at = entry.expires_at.map_or(0, NonZeroU64::get);
    front(
        buffer,
        [PUT, entry.content_type],
        [key.len(), value.len()],
        [entry.version, expires_at],
    );
    buffer.extend_from_slice(key);
    buffer.extend_from_slice(value);
}

/// Appends the record of a deletion.
pub(super) fn delete(buffer: &mut Vec<u8>, key: &[u8], version: u64) {
    front(buffer, [DELETE, 0], [key.len(), 0], [version, 0]);
    buffer.extend_from_slice(key);
}

/// Appends the record of an answer.
pub(super) fn result(
    buffer: &mut Vec<u8>,
    operation: OperationId,
    position: u64,
    time_ms: u64,
    outcome: &[u8],
) {
    front(buffer, [RESULT, 0], [0, outcome.len()], [position, time_ms]);
    buffer.extend_from_slice(&operation.client);
    buffer.extend_from_slice(&operation.number.to_be_bytes());
    buffer.extend_from_slice(outcome);
}

#[inline]
fn front(buffer: &mut Vec<u8>, bytes: [u8; 2], lengths: [usize; 2], numbers: [u64; 2]) {
    let [key_len, value_len] = lengths;
    // Lengths were checked where the operation came in; the reader checks the sum again.
    let key_len = u16::try_from(key_len).unwrap_or(u16::MAX).to_be_bytes();
    let value_len = u32::try_from(value_len).unwrap_or(u32::MAX).to_be_bytes();
    let [first, second] = numbers.map(u64::to_be_bytes);
    let mut front = [0; FRONT_BYTES];
    let (head, rest) = front.split_at_mut(2);
    head.copy_from_slice(&bytes);
    let (place, rest) = rest.split_at_mut(2);
    place.copy_from_slice(&key_len);
    let (place, rest) = rest.split_at_mut(4);
    place.copy_from_slice(&value_len);
    let (place, rest) = rest.split_at_mut(8);
    place.copy_from_slice(&first);
    rest.copy_from_slice(&second);
    buffer.extend_from_slice(&front);
}

/// The records of a group's payload, in order; ends with the first that is malformed.
pub(super) fn records(payload: &[u8]) -> Records<'_> {
    Records { payload, at: 0 }
}

/// See [`records`].
pub(super) struct Records<'r> {
    payload: &'r [u8],
    at: usize,
}

impl<'r> Records<'r> {
    fn take(&mut self, len: usize) -> Option<&'r [u8]> {
        let bytes = self.payload.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn read(&mut self) -> Option<Record<'r>> {
        let [kind, content_type] = self.number()?;
        let key_len = usize::from(u16::from_be_bytes(self.number()?));
        let value_len = usize::try_from(u32::from_be_bytes(self.number()?)).ok()?;
        let first = u64::from_be_bytes(self.number()?);
        let second = u64::from_be_bytes(self.number()?);
        match kind {
            PUT if key_len > 0 => {
                let key = self.take(key_len)?;
                let value = Value::Inline(self.take(value_len)?);
                let entry = Entry {
                    value,
                    version: first,
                    expires_at: NonZeroU64::new(second),
                    content_type,
                };
                Some(Record::Put { key, entry })
            }
            DELETE if key_len > 0 && value_len == 0 => {
                let key = self.take(key_len)?;
                Some(Record::Delete {
                    key,
                    version: first,
                })
            }
            RESULT if key_len == 0 => {
                let client = self.number::<CLIENT_BYTES>()?;
                let number = u64::from_be_bytes(self.number()?);
                Some(Record::Result {
                    operation: OperationId { client, number },
                    position: first,
                    time_ms: second,
                    outcome: self.take(value_len)?,
                })
            }
            _ => None,
        }
    }
}

impl<'r> Iterator for Records<'r> {
    type Item = Result<Record<'r>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        if at >= self.payload.len() {
            return None;
        }
        let record = self.read().ok_or(Malformed { at });
        if record.is_err() {
            self.at = self.payload.len();
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(value: &[u8], version: u64, expires_at: u64) -> Entry<'_> {
        Entry {
            value: Value::Inline(value),
            version,
            expires_at: NonZeroU64::new(expires_at),
            content_type: 3,
        }
    }

    #[test]
    fn each_record_comes_back_as_it_was() {
        let operation = OperationId {
            client: [7; 16],
            number: 12,
        };
        let mut buffer = Vec::new();
        put(&mut buffer, b"key", &entry(b"value", 5, 99));
        delete(&mut buffer, b"other", 6);
        put(&mut buffer, b"k", &entry(b"", 7, 0));
        result(&mut buffer, operation, 8, 44, b"answer");
        let all: Vec<_> = records(&buffer).map(Result::unwrap).collect();
        assert_eq!(
            all,
            [
                Record::Put {
                    key: b"key",
                    entry: entry(b"value", 5, 99)
                },
                Record::Delete {
                    key: b"other",
                    version: 6
                },
                Record::Put {
                    key: b"k",
                    entry: entry(b"", 7, 0)
                },
                Record::Result {
                    operation,
                    position: 8,
                    time_ms: 44,
                    outcome: b"answer"
                },
            ]
        );
    }

    #[test]
    fn a_cut_payload_is_malformed_where_it_was_cut() {
        let mut buffer = Vec::new();
        put(&mut buffer, b"key", &entry(b"value", 5, 99));
        let whole = buffer.len();
        delete(&mut buffer, b"other", 6);
        for end in whole + 1..buffer.len() {
            let mut records = records(&buffer[..end]);
            assert!(records.next().unwrap().is_ok());
            assert_eq!(records.next(), Some(Err(Malformed { at: whole })));
            assert_eq!(records.next(), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            for record in records(&bytes) {
                if let Ok(Record::Put { key, .. }) = record {
                    prop_assert!(!key.is_empty());
                }
            }
        }
    }
}
