//! The thread that carries dirty entries to the base, in rounds, so that log can be given back.
//!
//! A round takes every entry that was dirty when it began, each key once, whatever became of it in
//! between. What it may rely on, and what it must not lose:
//!
//! * Only states that the log has on the disk are carried, whatever was promised: the base never
//!   knows more than recovery would.
//! * An entry that was overwritten since the round began is carried with its new state, or, if that
//!   is not on the disk yet, not at all. Before log is given back, everything staged until the end
//!   of the walk is: the state that was left out is in the log that stays.

use super::counters::add;
use super::open::WINDOW_BLOB;
use super::rounds::Next;
use super::settle::There;
use super::shard::{Call, Common, Shard, is_live};
use super::store::Store;
use crate::table::Mark;
use crate::{Entry, Now, Op, Position};
use bytes::Bytes;
use kv_base::{Base, BaseError, Carry, StoredRef};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Entries of one batch for the base.
const BATCH_ENTRIES: usize = 1_024;

/// Bytes of one batch for the base, beside its last entry.
const BATCH_BYTES: usize = 1 << 20;

/// Slots passed under one hold of a shard's lock.
const SLOTS_PER_HOLD: usize = 1_024;

/// How many slots ahead of the walk entries are fetched.
const FETCH_AHEAD: usize = 16;

/// Items of the index of expiries looked at in one step.
const SWEEP_ITEMS: usize = 1_024;

/// An entry on its way.
struct Parcel<'k> {
    hash: u64,
    key: &'k [u8],
    version: u64,
    before: Before,
    /// `None` when the key has no entry.
    entry: Option<(Bytes, Option<NonZeroU64>, u8)>,
}

/// What is known of the base's entry that a parcel takes the place of.
#[derive(Clone, Copy)]
enum Before {
    Unknown,
    Nothing,
    Plain,
    Some,
}

/// Runs until it is told to end, or the base takes nothing more.
pub(super) fn run(store: &Store) {
    loop {
        let done = match store.rounds.next() {
            Next::Close => return,
            Next::Idle => Ok(()),
            Next::Sweep => sweep(store),
            Next::Round => {
                let done = round(store);
                store.rounds.ended();
                done
            }
        };
        if let Err(error) = done {
            store.counters.trouble(&error);
            if error.is_no_space() {
                store.set_full(true);
                continue;
            }
            store.progress.fail("the base takes no writes any more");
            return;
        }
    }
}

/// One round.
pub(super) fn round(store: &Store) -> Result<(), BaseError> {
    let cut = store.staging.lock().last();
    store.staging.flush();
    if cut == store.base.position() {
        return Ok(());
    }
    if !store.progress.wait_durable(cut) || !store.sync_log(cut) {
        return Ok(());
    }
    carry_dirty(store)?;
    let staged = store.staging.lock().last();
    store.staging.flush();
    // Not only durable as promised: what the base has must not be lost from the log, and what is
    // given back must not be all there is.
    if !store.progress.wait_durable(staged) || !store.sync_log(staged) {
        return Ok(());
    }
    carry_windows(store)?;
    store.base.finish_round(cut)?;
    let clock = store.clock.latest().unix_ms();
    let released = store
        .sentinel
        .carried(cut, clock)
        .and_then(|()| store.caretaker.release(cut));
    if let Err(error) = released {
        // The log stays longer: nothing is lost, and the next round tries again.
        store
            .counters
            .trouble(format_args!("giving log back: {error}"));
    }
    add(&store.counters.rounds, 1);
    store.watch_space();
    Ok(())
}

/// Carries everything that is dirty now, in the order of the keys: the base takes it at a quarter
/// of the cost then.
pub(super) fn carry_dirty(store: &Store) -> Result<(), BaseError> {
    let keys = Keys::of(store);
    let sorted = keys.sorted();
    let mut rest = &*sorted;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |key: &&&[u8]| {
            bytes += key.len();
            bytes < BATCH_BYTES
        };
        let count = rest.iter().take(BATCH_ENTRIES).take_while(fits).count();
        let (batch, others) = rest.split_at(count.max(1));
        rest = others;
        carry_keys(store, batch, &mut || {})?;
    }
    Ok(())
}

/// Carries those of `keys` that are dirty and on the disk in the log. What is only acknowledged may
/// be lost in a power cut, and older writes with it: the base must not keep it then. `under_way` is
/// called while entries are neither in the base nor clean.
pub(super) fn carry_keys(
    store: &Store,
    keys: &[&[u8]],
    under_way: &mut dyn FnMut(),
) -> Result<(), BaseError> {
    let through = store.sentinel.through();
    let now = store.clock.latest();
    let looks: Vec<_> = keys.iter().map(|key| Op::Get { key }).collect();
    let mut parcels = Vec::with_capacity(keys.len());
    let mut bytes = 0;
    let mut from = 0;
    while from < looks.len() {
        let batch = looks.get(from..).unwrap_or_default();
        from += store.ahead().each(batch, |index, op, hash| {
            if bytes >= BATCH_BYTES {
                return false;
            }
            let call = store.call(hash, now, false);
            let parcel = store.with_shard(call, |shard| {
                let at = shard.table.find(hash, op.key())?;
                pick(shard, at, hash, now, through)
            });
            let key = keys.get(from + index).copied().unwrap_or_default();
            if let Some(Some(parcel)) = parcel {
                bytes += parcel.entry.as_ref().map_or(0, |(value, ..)| value.len());
                parcels.push(Parcel { key, ..parcel });
            }
            true
        });
        bytes = 0;
        under_way();
        let _handing_over = store.handing_over.lock();
        deliver(&store.base, &store.common, &parcels)?;
        add(&store.counters.carried, parcels.len() as u64);
        for parcel in parcels.drain(..) {
            let call = store.call(parcel.hash, now, false);
            store.with_shard(call, |shard| {
                shard.clean(call, parcel.key, parcel.version, parcel.there());
            });
        }
    }
    Ok(())
}

/// The keys of dirty entries, in one piece of memory.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn of(store: &Store) -> Self {
        let mut keys = Self::default();
        for locked in &store.shards {
            let mut at = 0;
            let mut slots: Option<Arc<_>> = None;
            loop {
                let shard = locked.lock();
                let current = shard.table.slots();
                if slots.as_ref().is_none_or(|it| !Arc::ptr_eq(it, current)) {
                    // The table was rebuilt, its entries lie elsewhere: once more. Keys that come
                    // twice are one when they are sorted.
                    slots = Some(Arc::clone(current));
                    at = 0;
                }
                let end = (at + SLOTS_PER_HOLD).min(current.len());
                for at in at..end {
                    shard.table.fetch(at + FETCH_AHEAD);
                    if let Some(lent) = shard.table.get(at)
                        && lent.has(Mark::Dirty)
                    {
                        keys.bytes.extend_from_slice(lent.key());
                        keys.ends.push(keys.bytes.len());
                    }
                }
                at = end;
                if at >= current.len() {
                    break;
                }
            }
        }
        keys
    }

    fn sorted(&self) -> Vec<&[u8]> {
        let mut from = 0;
        let mut keys: Vec<_> = self
            .ends
            .iter()
            .map(|&end| {
                let key = self.bytes.get(from..end).unwrap_or_default();
                from = end;
                key
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

fn pick(shard: &Shard, at: usize, hash: u64, now: Now, through: u64) -> Option<Parcel<'static>> {
    let lent = shard.table.get(at)?;
    let Entry {
        value,
        version,
        expires_at,
        content_type,
    } = lent.entry();
    if !lent.has(Mark::Dirty) || version > through {
        return None;
    }
    let before = match (lent.has(Mark::Unsure), lent.has(Mark::Stored)) {
        (true, _) => Before::Unknown,
        (false, false) => Before::Nothing,
        (false, true) if lent.has(Mark::Plain) => Before::Plain,
        (false, true) => Before::Some,
    };
    Some(Parcel {
        hash,
        key: &[],
        version,
        before,
        entry: is_live(&lent, now).then(|| (value.to_bytes(), expires_at, content_type)),
    })
}

impl Parcel<'_> {
    fn carry(&self) -> Carry<'_> {
        let key = self.key;
        let Some((value, expires_at, content_type)) = &self.entry else {
            return Carry::Remove { key };
        };
        let entry = StoredRef {
            value,
            version: self.version,
            expires_at: *expires_at,
            content_type: *content_type,
        };
        let existed = match self.before {
            Before::Unknown => None,
            Before::Nothing => Some(false),
            Before::Plain => return Carry::Replace { key, entry },
            Before::Some => Some(true),
        };
        Carry::Put {
            key,
            entry,
            existed,
        }
    }

    /// What the base has when it has taken the parcel.
    fn there(&self) -> There {
        match &self.entry {
            None => There::Nothing,
            Some((_, None, _)) => There::Plain,
            Some((_, Some(_), _)) => There::Expiring,
        }
    }
}

fn deliver(base: &Base, common: &Common, parcels: &[Parcel<'_>]) -> Result<(), BaseError> {
    if parcels.is_empty() {
        return Ok(());
    }
    // Before the first entry becomes clean: see the field.
    common.base_is_empty.store(false, Ordering::Relaxed);
    base.carry(&mut parcels.iter().map(Parcel::carry))
}

/// Carries all of a shard that nobody else has yet, and takes it out of memory.
pub(super) fn carry_replayed(
    shard: &mut Shard,
    number: usize,
    common: &Common,
    base: &Base,
) -> Result<(), BaseError> {
    let now = Now::from_unix_ms(0);
    let mut keys = shard.dirty_keys();
    keys.sort_unstable();
    for keys in keys.chunks(BATCH_ENTRIES) {
        let parcels: Vec<_> = keys
            .iter()
            .filter_map(|key| {
                let hash = common.seed.hash(key);
                let at = shard.table.find(hash, key)?;
                let parcel = pick(shard, at, hash, now, u64::MAX)?;
                Some(Parcel { key, ..parcel })
            })
            .collect();
        deliver(base, common, &parcels)?;
        for parcel in parcels {
            let call = Call {
                common,
                shard: number,
                hash: parcel.hash,
                now,
                patient: true,
            };
            shard.clean(call, parcel.key, parcel.version, parcel.there());
            if let Some(at) = shard.table.find(parcel.hash, parcel.key) {
                shard.forget(call, at);
            }
        }
    }
    Ok(())
}

/// Puts the answers to named operations into the base that were recorded since the last round, and
/// whose effects are on the disk in the log.
pub(super) fn carry_windows(store: &Store) -> Result<(), BaseError> {
    let through = Position::of_version(store.sentinel.through());
    let changed = store.staging.lock().windows.take_changed();
    for client in changed {
        let name = [WINDOW_BLOB, &client].concat();
        let dump = store.staging.lock().windows.dump(client, through);
        match dump {
            Some(bytes) => store.base.put_blob(&name, &bytes)?,
            None => store.base.remove_blob(&name)?,
        }
    }
    Ok(())
}

/// Removes what has expired in the base, as long as there is any and nothing else to do.
fn sweep(store: &Store) -> Result<(), BaseError> {
    sweep_with(store, &mut |_| {})
}

/// As [`sweep`]; `under_way` is called for each key between its release and its removal.
pub(super) fn sweep_with(store: &Store, under_way: &mut dyn FnMut(&[u8])) -> Result<(), BaseError> {
    let now = store.clock.latest();
    let mut going: Vec<Box<[u8]>> = Vec::new();
    let mut may_remove = |key: &[u8]| {
        let call = store.call_for(key, now, false);
        let may = store.with_shard(call, |shard| shard.let_go(call, key)) == Some(true);
        if may {
            going.push(key.into());
            under_way(key);
        }
        may
    };
    let _handing_over = store.handing_over.lock();
    let swept = store
        .base
        .sweep(now.unix_ms(), SWEEP_ITEMS, &mut may_remove)?;
    // Between the question and the removal a reader may have found the entry in the base.
    for key in going {
        let call = store.call_for(&key, now, false);
        store.with_shard(call, |shard| shard.gone(call, &key));
    }
    add(&store.counters.expired, swept.removed);
    if swept.more {
        store.rounds.ask_sweep();
    }
    Ok(())
}
