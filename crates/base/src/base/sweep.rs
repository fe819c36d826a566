//! Removing what has expired, by the index and from a cursor.
//!
//! The cursor is the index key to look at next. It is kept in memory only: what is removed stays
//! in fjall as tombstones until they are compacted, and walking over them from the start each
//! time would cost more with each item removed. A new entry that expires before the cursor moves
//! it back; an item the engine held back is visited again when everything due was seen.

use std::ops::Bound;

use fjall::{OwnedWriteBatch, UserKey};

use super::{Base, Writer};
use crate::entry::{Header, decode_header};
use crate::keys::{IndexKey, index_parts, unseal};
use crate::state::State;
use crate::{BaseError, quiet};

const SWEEPING: &str = "sweep expired entries";

/// What one call of [`Base::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries removed.
    pub removed: u64,
    /// Index items removed whose entry is gone or has another expiry.
    pub stale: u64,
    /// Entries due that the engine did not let go.
    pub held_back: u64,
    /// Index items or entries that could not be read; they are left and passed over.
    pub unreadable: u64,
    /// Whether there may be more that is due.
    pub more: bool,
}

/// Where the next sweep begins.
#[derive(Default)]
pub(super) struct Cursor {
    /// First index key to look at; none: the least.
    next: Option<UserKey>,
    /// Least index key passed over because the engine held its entry back.
    held_back: Option<UserKey>,
}

impl Cursor {
    /// An item was added to the index.
    pub(super) fn seen(&mut self, index: IndexKey) {
        if let Some(next) = &mut self.next
            && index.as_slice() < &**next
        {
            *next = index.into();
        }
    }
}

/// What to do with one item of the index.
enum Verdict {
    Expired,
    Stale,
    HeldBack,
    Unreadable,
}

impl Base {
    /// Looks at up to `budget` items of the index that are due at or before `now_ms` and removes
    /// the entries that really expire then, with their items; items of entries that are gone or
    /// expire at another time are removed too. `may_remove` is asked for each key before its entry
    /// is removed: `false` when a newer entry is under way; it must not write to the base. One
    /// atomic batch, part of the round
    /// like [`Base::carry`].
    ///
    /// # Errors
    /// As [`Base::carry`]; an entry that cannot be read is no error but counted.
    pub fn sweep(
        &self,
        now_ms: u64,
        budget: usize,
        may_remove: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Swept, BaseError> {
        let mut writer = self.writer();
        let mut swept = Swept::default();
        let mut state = writer.state;
        let mut batch = self.batch(budget);
        let due = self.due(&writer, now_ms, budget)?;
        swept.more = due.len() == budget;
        for (index, sealed) in &due {
            let verdict = self.judge(index, sealed, may_remove, &mut state, &mut batch)?;
            match verdict {
                Verdict::Expired => swept.removed += 1,
                Verdict::Stale => swept.stale += 1,
                Verdict::Unreadable => swept.unreadable += 1,
                Verdict::HeldBack => {
                    swept.held_back += 1;
                    let least = &mut writer.sweep.held_back;
                    if least.as_ref().is_none_or(|least| index < least) {
                        *least = Some(index.clone());
                    }
                }
            }
        }
        if !batch.is_empty() {
            self.commit(&mut writer, batch, state)?;
        }
        if let Some((last, _)) = due.last() {
            let mut next = last.to_vec();
            next.push(0);
            writer.sweep.next = Some(next.into());
        }
        if !swept.more && writer.sweep.held_back.is_some() {
            writer.sweep.next = writer.sweep.held_back.take();
        }
        Ok(swept)
    }

    /// The next items of the index that are due.
    fn due(
        &self,
        writer: &Writer,
        now_ms: u64,
        budget: usize,
    ) -> Result<Vec<(UserKey, fjall::UserValue)>, BaseError> {
        let low = match &writer.sweep.next {
            Some(next) => Bound::Included(next.clone()),
            None => Bound::Unbounded,
        };
        let high = match now_ms.checked_add(1) {
            Some(behind) => Bound::Excluded(UserKey::from(behind.to_be_bytes())),
            None => Bound::Unbounded,
        };
        if let (Bound::Included(low), Bound::Excluded(high)) = (&low, &high)
            && low >= high
        {
            return Ok(Vec::new());
        }
        quiet::fjall(SWEEPING, || {
            self.exp
                .range((low, high))
                .take(budget)
                .map(fjall::Guard::into_inner)
                .collect()
        })
    }

    /// Decides on one item, and puts what follows into `batch` and `state`.
    fn judge(
        &self,
        index: &UserKey,
        sealed: &[u8],
        may_remove: &mut dyn FnMut(&[u8]) -> bool,
        state: &mut State,
        batch: &mut OwnedWriteBatch,
    ) -> Result<Verdict, BaseError> {
        let (Some(due), Some(key)) = (index_parts(index), unseal(index, sealed)) else {
            return Ok(Verdict::Unreadable);
        };
        match self.header(key) {
            Ok(Some(header)) if header == due => {
                if !may_remove(key) {
                    return Ok(Verdict::HeldBack);
                }
                batch.remove(&self.kv, key);
                batch.remove(&self.exp, index.clone());
                state.count(true, false);
                state.count_expiring(true, false);
                Ok(Verdict::Expired)
            }
            Ok(_) => {
                batch.remove(&self.exp, index.clone());
                Ok(Verdict::Stale)
            }
            Err(BaseError::Corrupt { .. }) => Ok(Verdict::Unreadable),
            Err(error) => Err(error),
        }
    }

    fn header(&self, key: &[u8]) -> Result<Option<Header>, BaseError> {
        self.raw(key)?
            .map(|bytes| decode_header(key, &bytes))
            .transpose()
    }
}
