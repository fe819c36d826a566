//! The base as it was at one moment.

use std::ops::Bound;

use bytes::Bytes;
use fjall::{Keyspace, Readable, Snapshot, UserKey};

use crate::entry::decode;
use crate::keys::{BLOB, unseal};
use crate::{BaseError, KEY_BYTES_MAX, Stored, quiet};

const DOING: &str = "read from the base";

/// The base after a certain batch. Cheap to take; while it is held, what later batches replace
/// stays on disk and in memory.
#[derive(Clone)]
pub struct BaseSnapshot {
    snapshot: Snapshot,
    kv: Keyspace,
    meta: Keyspace,
}

impl BaseSnapshot {
    pub(crate) fn new(snapshot: Snapshot, kv: Keyspace, meta: Keyspace) -> Self {
        Self { snapshot, kv, meta }
    }

    /// The entry of `key`.
    ///
    /// # Errors
    /// [`BaseError::Corrupt`] when it does not carry its checksum, [`BaseError::Io`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Stored>, BaseError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        quiet::caught(DOING, || {
            self.snapshot
                .get(&self.kv, key)
                .map_err(|error| BaseError::from_fjall(error, DOING))?
                .map(|bytes| decode(key, &bytes))
                .transpose()
        })
    }

    /// The entries whose keys begin with `prefix`, in the order of their keys or against it;
    /// with `after`, only those that come after that key in this order. An expired entry is
    /// given like any other.
    ///
    /// The iterator ends behind its first error.
    #[must_use]
    pub fn range(&self, prefix: &[u8], after: Option<&[u8]>, reverse: bool) -> Range {
        let inner = bounds(prefix, after, reverse).and_then(|bounds| {
            let iter = || Ok(self.snapshot.range(&self.kv, bounds));
            quiet::caught(DOING, iter).map_or_else(
                |error| Some(Inner::Failed(error)),
                |iter| Some(Inner::Open(Box::new(iter))),
            )
        });
        Range { inner, reverse }
    }

    /// Shows every blob to `visit`: name and value.
    ///
    /// # Errors
    /// [`BaseError::Corrupt`] when one does not carry its checksum, [`BaseError::Io`].
    pub fn blobs(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), BaseError> {
        let range: fjall::Iter =
            quiet::caught(DOING, || Ok(self.snapshot.prefix(&self.meta, [BLOB])))?;
        let mut range = Some(range);
        while let Some((key, sealed)) = quiet::fjall(DOING, || {
            let next = range.as_mut().and_then(Iterator::next);
            next.map(fjall::Guard::into_inner).transpose()
        })? {
            let name = key.get(1..).unwrap_or_default();
            let value = unseal(&key, &sealed).ok_or_else(|| {
                BaseError::corrupt(format!(
                    "the blob {} does not carry its checksum",
                    name.escape_ascii()
                ))
            })?;
            visit(name, value);
        }
        Ok(())
    }
}

/// Entries of a snapshot in the order of their keys, see [`BaseSnapshot::range`].
pub struct Range {
    inner: Option<Inner>,
    reverse: bool,
}

enum Inner {
    Open(Box<fjall::Iter>),
    Failed(BaseError),
}

impl Iterator for Range {
    type Item = Result<(Bytes, Stored), BaseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut iter = match self.inner.take()? {
            Inner::Open(iter) => iter,
            Inner::Failed(error) => return Some(Err(error)),
        };
        let next = quiet::caught(DOING, || {
            let guard = if self.reverse {
                iter.next_back()
            } else {
                iter.next()
            };
            let Some(guard) = guard else { return Ok(None) };
            let (key, bytes) = guard
                .into_inner()
                .map_err(|error| BaseError::from_fjall(error, DOING))?;
            let stored = decode(&key, &bytes)?;
            Ok(Some((Bytes::copy_from_slice(&key), stored)))
        })
        .transpose();
        if matches!(next, Some(Ok(_))) {
            self.inner = Some(Inner::Open(iter));
        }
        next
    }
}

type Bounds = (Bound<UserKey>, Bound<UserKey>);

/// The range of keys asked for; `None` when no key can be in it (fjall panics on a range whose
/// ends are the wrong way round).
fn bounds(prefix: &[u8], after: Option<&[u8]>, reverse: bool) -> Option<Bounds> {
    if prefix.len() > KEY_BYTES_MAX {
        return None;
    }
    let mut low = match prefix {
        [] => Bound::Unbounded,
        prefix => Bound::Included(prefix),
    };
    let behind = behind(prefix);
    let mut high = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    if let Some(after) = after {
        // No key is longer than the limit, so one longer stands right behind its beginning.
        let short = after.get(..KEY_BYTES_MAX).unwrap_or(after);
        if reverse {
            match after {
                [] => return None,
                _ if behind.as_deref().is_some_and(|behind| short >= behind) => {}
                _ if short.len() < after.len() => high = Bound::Included(short),
                _ => high = Bound::Excluded(short),
            }
        } else if !short.is_empty() && short >= prefix {
            low = Bound::Excluded(short);
        }
    }
    let in_order = match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(low), Bound::Included(high)) => low <= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low < high,
    };
    in_order.then(|| (low.map(UserKey::from), high.map(UserKey::from)))
}

/// The least key that is greater than every key beginning with `prefix`; none for `ff ff ..`.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut behind = prefix.get(..=last)?.to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}
