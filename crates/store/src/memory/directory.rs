//! Lets a run look at the slots of all shards without their locks, in order to fetch ahead.
//!
//! What is read here is never followed, only prefetched; a stale word costs time and nothing
//! else. What must not happen is that slots are freed while somebody reads them: readers pass a
//! gate, and slots are freed once everybody who was inside has left.

use super::slots::Slots;
use parking_lot::{RwLock, RwLockReadGuard};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Gates, so that threads do not share a cache line for each run.
const GATES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Gate(RwLock<()>);

/// The slots in use, by shard.
///
/// Invariant: each pointer comes from `Arc::into_raw`, and the directory holds that count until
/// the pointer has been replaced and every gate has been empty after that.
pub(super) struct Directory {
    gates: [Gate; GATES],
    slots: Box<[AtomicPtr<Slots>]>,
}

/// Leave to read slots. Held for microseconds, and no lock is waited for meanwhile.
pub(super) struct Peek<'d> {
    directory: &'d Directory,
    _gate: RwLockReadGuard<'d, ()>,
}

#[expect(
    unsafe_code,
    reason = "slots are shared without a lock, for prefetching"
)]
impl Directory {
    /// One shard for each of `slots`.
    pub(super) fn new(slots: impl Iterator<Item = Arc<Slots>>) -> Self {
        let slots = slots
            .map(|slots| AtomicPtr::new(Arc::into_raw(slots).cast_mut()))
            .collect();
        Self {
            gates: Default::default(),
            slots,
        }
    }

    /// Leave to read, unless slots are being exchanged at this moment. Never waits.
    #[inline]
    pub(super) fn peek(&self) -> Option<Peek<'_>> {
        let gate = self.gates.get(gate_of_this_thread())?.0.try_read()?;
        Some(Peek {
            directory: self,
            _gate: gate,
        })
    }

    /// Shows `slots` to readers from now on. Waits until nobody reads the former ones.
    pub(super) fn publish(&self, shard: usize, slots: Arc<Slots>) {
        let Some(place) = self.slots.get(shard) else {
            return;
        };
        // AcqRel: readers see the slots initialised, and the former ones come back whole.
        let former = place.swap(Arc::into_raw(slots).cast_mut(), Ordering::AcqRel);
        for gate in &self.gates {
            // Whoever passed this gate before has left it; whoever passes later finds the new
            // pointer, because this lock was released in between.
            drop(gate.0.write());
        }
        // SAFETY: the pointer came from `Arc::into_raw` by the invariant, has been replaced, and
        // no reader that loaded it is left.
        drop(unsafe { Arc::from_raw(former) });
    }
}

#[expect(
    unsafe_code,
    reason = "slots are shared without a lock, for prefetching"
)]
impl Peek<'_> {
    /// The slots of a shard, as they are or were a moment ago.
    #[inline]
    pub(super) fn slots(&self, shard: usize) -> Option<&Slots> {
        // Acquire: sees the slots initialised.
        let slots = self.directory.slots.get(shard)?.load(Ordering::Acquire);
        // SAFETY: the pointer came from `Arc::into_raw`, and its count is given up only after
        // this gate has been empty: the borrow ends with `self`, which holds the gate.
        Some(unsafe { &*slots })
    }
}

#[expect(
    unsafe_code,
    reason = "slots are shared without a lock, for prefetching"
)]
impl Drop for Directory {
    fn drop(&mut self) {
        for place in &mut self.slots {
            // SAFETY: by the invariant; `&mut self` excludes readers.
            drop(unsafe { Arc::from_raw(*place.get_mut()) });
        }
    }
}

/// Each thread keeps to one gate.
#[inline]
fn gate_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % GATES);
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_the_slots_it_sees() {
        let first = Arc::new(Slots::empty(8).unwrap());
        let directory = Directory::new([Arc::clone(&first)].into_iter());
        let (entered, wait_entered) = std::sync::mpsc::channel();
        let (leave, wait_leave) = std::sync::mpsc::channel();
        let directory = &directory;
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let peek = directory.peek().unwrap();
                let seen = peek.slots(0).unwrap();
                entered.send(()).unwrap();
                wait_leave.recv().unwrap();
                seen.len()
            });
            wait_entered.recv().unwrap();
            let writer = scope.spawn(|| directory.publish(0, Arc::new(Slots::empty(64).unwrap())));
            assert_eq!(
                Arc::strong_count(&first),
                2,
                "the directory still holds them"
            );
            leave.send(()).unwrap();
            assert_eq!(reader.join().unwrap(), 8);
            writer.join().unwrap();
        });
        assert_eq!(
            Arc::strong_count(&first),
            1,
            "given up once the reader had left"
        );
        assert_eq!(directory.peek().unwrap().slots(0).unwrap().len(), 64);
    }

    #[test]
    fn a_shard_that_does_not_exist_has_no_slots() {
        let directory = Directory::new(std::iter::empty());
        directory.publish(3, Arc::new(Slots::none()));
        assert!(directory.peek().unwrap().slots(3).is_none());
    }
}
