//! Waking connections whose replies wait for the store: one wake-up across threads for each thread
//! and change, however many connections wait there.
//!
//! Owns, per thread that runs connections, who waits for which position, and the task that wakes them
//! on that thread. Whoever registers and then asks the store once more misses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::task::Waker;
use std::thread::ThreadId;

use kv_service::{Durable, Position, Service};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The threads on which connections of one server wait, or have waited.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<Threads>);

#[derive(Default)]
struct Threads {
    lanes: Vec<(ThreadId, Arc<Lane>)>,
    /// A task for each; they end with the server.
    tasks: JoinSet<()>,
}

/// The connections of one thread that wait.
#[derive(Default)]
struct Lane {
    /// How many of them are to be woken.
    armed: AtomicUsize,
    changed: Notify,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Option<Slot>>,
    free: Vec<usize>,
}

struct Slot {
    waker: Waker,
    /// What it waits for; `None` once it was woken.
    armed: Option<Position>,
}

impl Wakes {
    /// A place for a connection that runs on this thread. Must be called on a runtime's thread.
    pub(super) fn place(&self, service: &Arc<Service>) -> Place {
        let here = std::thread::current().id();
        let mut threads = self.0.lock();
        let known = threads.lanes.iter().find(|(thread, _)| *thread == here);
        if let Some((_, lane)) = known {
            return Place::new(Arc::clone(lane));
        }
        let lane = Arc::new(Lane::default());
        let changed = Arc::clone(&lane);
        service.on_durable(Arc::new(move || changed.on_change()));
        let task = Arc::clone(&lane).run(Arc::clone(service));
        threads.tasks.spawn(task);
        threads.lanes.push((here, Arc::clone(&lane)));
        Place::new(lane)
    }
}

impl Lane {
    /// Called by the store's thread. Costs one load when nobody waits here.
    fn on_change(&self) {
        // Pairs with the fence in `Place::arm`: either this sees who waits, or who waits sees what
        // became durable.
        fence(Ordering::SeqCst);
        if self.armed.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }

    async fn run(self: Arc<Self>, service: Arc<Service>) {
        loop {
            self.changed.notified().await;
            self.wake(service.durable());
        }
    }

    /// Wakes those whose position has passed.
    fn wake(&self, durable: Durable) {
        let mut slots = self.slots.lock();
        for slot in slots.all.iter_mut().flatten() {
            let over = |position| durable.failed || position <= durable.through;
            if slot.armed.is_some_and(over) {
                slot.armed = None;
                self.armed.fetch_sub(1, Ordering::Relaxed);
                slot.waker.wake_by_ref();
            }
        }
    }
}

/// A connection's place among those that wait. Dropped, it waits no longer.
pub(super) struct Place {
    lane: Arc<Lane>,
    index: Option<usize>,
}

impl Place {
    const fn new(lane: Arc<Lane>) -> Self {
        Self { lane, index: None }
    }

    /// Has the connection woken once `position` is durable. Ask the store after this whether it is:
    /// what happened before is not told.
    pub(super) fn arm(&mut self, waker: &Waker, position: Position) {
        let mut slots = self.lane.slots.lock();
        let known = self.index.and_then(|index| slots.all.get_mut(index));
        let was_armed = if let Some(Some(slot)) = known {
            if !slot.waker.will_wake(waker) {
                slot.waker.clone_from(waker);
            }
            slot.armed.replace(position).is_some()
        } else {
            let slot = Slot {
                waker: waker.clone(),
                armed: Some(position),
            };
            self.index = Some(slots.insert(slot));
            false
        };
        if !was_armed {
            self.lane.armed.fetch_add(1, Ordering::Relaxed);
        }
        drop(slots);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(index) = self.index else {
            return;
        };
        let mut slots = self.lane.slots.lock();
        let removed = slots.all.get_mut(index).and_then(Option::take);
        slots.free.push(index);
        if removed.is_some_and(|slot| slot.armed.is_some()) {
            self.lane.armed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Slots {
    fn insert(&mut self, slot: Slot) -> usize {
        let reused = self.free.pop();
        match reused.and_then(|index| self.all.get_mut(index)) {
            Some(place) => *place = Some(slot),
            None => self.all.push(Some(slot)),
        }
        reused.unwrap_or(self.all.len() - 1)
    }
}
