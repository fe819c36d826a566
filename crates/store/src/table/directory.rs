//! Lets a run look at the slots of all shards without their locks, in order to fetch ahead.
//!
//! What is read here is never followed, only prefetched; a stale word costs time and nothing
//! else. What must not happen is that slots are freed while somebody reads them: readers pass a
//! gate, and slots that were replaced are freed once every gate has been found empty. Nobody
//! waits for that, so that a run may replace slots while it is inside a gate itself.

use super::slots::Slots;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Gates, so that threads do not share a cache line for each run.
const GATES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Gate(RwLock<()>);

/// The slots in use, by shard.
///
/// Invariant: each pointer comes from `Arc::into_raw`, and the directory holds that count until
/// the pointer has been replaced and every gate has been found empty after that.
pub(crate) struct Directory {
    gates: [Gate; GATES],
    slots: Box<[AtomicPtr<Slots>]>,
    /// Replaced, and possibly still read.
    retired: Mutex<Vec<Arc<Slots>>>,
    /// Whether there is anything in `retired`; a hint.
    has_retired: AtomicBool,
}

/// Leave to read slots.
pub(crate) struct Peek<'d> {
    directory: &'d Directory,
    _gate: RwLockReadGuard<'d, ()>,
}

#[expect(
    unsafe_code,
    reason = "slots are shared without a lock, for prefetching"
)]
impl Directory {
    /// One shard for each of `slots`.
    pub(crate) fn new(slots: impl Iterator<Item = Arc<Slots>>) -> Self {
        let slots = slots
            .map(|slots| AtomicPtr::new(Arc::into_raw(slots).cast_mut()))
            .collect();
        Self {
            gates: Default::default(),
            slots,
            retired: Mutex::default(),
            has_retired: AtomicBool::new(false),
        }
    }

    /// Leave to read, unless somebody looks at this moment whether there are readers. Never waits.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Peek<'_>> {
        let gate = self.gates.get(gate_of_this_thread())?.0.try_read()?;
        Some(Peek {
            directory: self,
            _gate: gate,
        })
    }

    /// Shows `slots` to readers from now on. The former ones are freed when nobody reads them.
    pub(crate) fn publish(&self, shard: usize, slots: Arc<Slots>) {
        let Some(place) = self.slots.get(shard) else {
            return;
        };
        // AcqRel: readers see the slots initialised, and the former ones come back whole.
        let former = place.swap(Arc::into_raw(slots).cast_mut(), Ordering::AcqRel);
        // SAFETY: the pointer came from `Arc::into_raw` by the invariant and has been replaced;
        // its count moves to `retired`, which keeps it as long as the invariant asks.
        let former = unsafe { Arc::from_raw(former) };
        self.retired.lock().push(former);
        self.has_retired.store(true, Ordering::Relaxed);
        self.reclaim();
    }

    /// Frees replaced slots, unless somebody may be reading them at this moment.
    #[inline]
    pub(crate) fn reclaim(&self) {
        // Relaxed: a hint; whoever misses it leaves the work to the next.
        if self.has_retired.load(Ordering::Relaxed) {
            self.try_reclaim();
        }
    }

    #[cold]
    fn try_reclaim(&self) {
        let Some(mut retired) = self.retired.try_lock() else {
            return;
        };
        // Everything in `retired` was replaced before. Whoever passed a gate before that has left
        // when the gate is found empty; whoever passes it later finds the new pointer, because
        // the gate's lock was released in between.
        if self.gates.iter().all(|gate| gate.0.try_write().is_some()) {
            retired.clear();
            self.has_retired.store(false, Ordering::Relaxed);
        }
    }
}

#[expect(
    unsafe_code,
    reason = "slots are shared without a lock, for prefetching"
)]
impl Peek<'_> {
    /// The slots of a shard, as they are or were a moment ago.
    #[inline]
    pub(crate) fn slots(&self, shard: usize) -> Option<&Slots> {
        // Acquire: sees the slots initialised.
        let slots = self.directory.slots.get(shard)?.load(Ordering::Acquire);
        // SAFETY: the pointer came from `Arc::into_raw`, and its count is given up only after
        // this gate was found empty: the borrow ends with `self`, which holds the gate.
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
        let peek = directory.peek().unwrap();
        let seen = peek.slots(0).unwrap();
        directory.publish(0, Arc::new(Slots::empty(64).unwrap()));
        assert_eq!(Arc::strong_count(&first), 2, "kept for the reader");
        assert_eq!(seen.len(), 8);
        assert_eq!(
            peek.slots(0).unwrap().len(),
            64,
            "the next look sees the new ones"
        );
        drop(peek);
        directory.reclaim();
        assert_eq!(
            Arc::strong_count(&first),
            1,
            "given up once the reader had left"
        );
    }

    #[test]
    fn a_reader_on_another_thread_keeps_them_as_well() {
        let first = Arc::new(Slots::empty(8).unwrap());
        let directory = Directory::new([Arc::clone(&first)].into_iter());
        let directory = &directory;
        let (entered, wait_entered) = std::sync::mpsc::channel();
        let (leave, wait_leave) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let peek = directory.peek().unwrap();
                let seen = peek.slots(0).unwrap();
                entered.send(()).unwrap();
                wait_leave.recv().unwrap();
                seen.len()
            });
            wait_entered.recv().unwrap();
            directory.publish(0, Arc::new(Slots::none()));
            directory.reclaim();
            assert_eq!(Arc::strong_count(&first), 2);
            leave.send(()).unwrap();
            assert_eq!(reader.join().unwrap(), 8);
        });
        directory.reclaim();
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn a_shard_that_does_not_exist_has_no_slots() {
        let directory = Directory::new(std::iter::empty());
        directory.publish(3, Arc::new(Slots::none()));
        assert!(directory.peek().unwrap().slots(3).is_none());
    }
}
