//! Waking connections whose replies wait for the store: one wake-up across threads for each thread
//! and change, however many connections wait there.
//!
//! Owns, per thread that runs connections, who waits for which position, and the task that wakes them
//! on that thread. Whoever registers and then asks the store once more misses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
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
    /// Whether somebody has begun to wait since the store was asked to flush, who says so by `flush`.
    waits_anew: AtomicBool,
    flush: Notify,
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
        let task = Arc::clone(&lane).flush(Arc::clone(service));
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

    /// Has the store flush once the connections that are ready now have executed what they read, so
    /// that their writes share a sync.
    async fn flush(self: Arc<Self>, service: Arc<Service>) {
        loop {
            self.flush.notified().await;
            tokio::task::yield_now().await;
            // Relaxed: both sides are on this thread.
            self.waits_anew.store(false, Ordering::Relaxed);
            service.flush();
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
        if !self.lane.waits_anew.swap(true, Ordering::Relaxed) {
            self.lane.flush.notify_one();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kv_service::{Engine as _, MemoryConfig, MemoryEngine, Op, Outcome};
    use kv_testkit::engine::DurableEngine;
    use std::task::{Context, Poll, Wake};

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn taken(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    fn at(position: u64) -> Position {
        Position::of_version(position)
    }

    /// An engine with so many writes that are not durable.
    fn staged(writes: u32) -> (Arc<DurableEngine>, Arc<Service>) {
        let memory = Arc::new(MemoryEngine::new(MemoryConfig::default()));
        let engine = DurableEngine::new(memory);
        for _ in 0..writes {
            let op = Op::Incr {
                key: b"n",
                delta: 1,
                expiry: kv_service::Expiry::Never,
                condition: kv_service::Condition::Always,
            };
            let ignore = &mut |_: usize, _: Outcome<'_>, _: Position| {};
            engine.run(kv_service::Now::from_unix_ms(1), &[op], ignore);
        }
        (engine.clone(), Arc::new(Service::new(engine)))
    }

    #[test]
    fn a_change_wakes_the_threads_task_once_and_that_wakes_whom_it_concerns() {
        let (engine, service) = staged(10);
        let lane = Arc::new(Lane::default());
        let changed = Arc::clone(&lane);
        engine.on_durable(Arc::new(move || changed.on_change()));
        let task = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut run = Box::pin(Arc::clone(&lane).run(service));
        let mut poll = || {
            let poll = run.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(poll, Poll::Pending);
        };
        poll();
        engine.advance_to(at(1));
        assert_eq!(task.taken(), 0, "nobody waits");
        let connections: Vec<_> = (0..1_000).map(|_| Arc::new(Count::default())).collect();
        let mut places: Vec<_> = connections
            .iter()
            .zip((2..=5).cycle())
            .map(|(count, position)| {
                let mut place = Place::new(Arc::clone(&lane));
                place.arm(&Waker::from(Arc::clone(count)), at(position));
                place
            })
            .collect();
        let woken = || connections.iter().map(|count| count.taken()).sum::<usize>();
        for position in 2..=4 {
            engine.advance_to(at(position));
        }
        assert_eq!(task.taken(), 1, "one wake-up across threads");
        assert_eq!(woken(), 0);
        poll();
        assert_eq!(woken(), 750);
        // A place is armed for one position at a time, and forgotten when it is dropped.
        let waker = Waker::from(Arc::clone(&connections[3]));
        places[3].arm(&waker, at(9));
        places[3].arm(&waker, at(6));
        places.truncate(4);
        assert_eq!(lane.armed.load(Ordering::SeqCst), 1);
        engine.advance_to(at(6));
        poll();
        assert_eq!((connections[3].taken(), woken()), (1, 0));
        places[0].arm(&waker, at(10));
        engine.fail();
        poll();
        assert_eq!(woken(), 1, "what never comes is not waited for");
        drop(places);
        let slots = lane.slots.lock();
        assert!(slots.all.iter().all(Option::is_none));
        assert_eq!(
            (slots.free.len(), lane.armed.load(Ordering::SeqCst)),
            (1_000, 0)
        );
    }

    #[tokio::test]
    async fn a_thread_registers_with_the_store_once() {
        let (engine, service) = staged(2);
        let wakes = Wakes::default();
        let mut places = [wakes.place(&service), wakes.place(&service)];
        assert!(Arc::ptr_eq(&places[0].lane, &places[1].lane));
        let count = Arc::new(Count::default());
        for (place, position) in places.iter_mut().zip([1, 2]) {
            place.arm(&Waker::from(Arc::clone(&count)), at(position));
        }
        for _ in 0..2 {
            engine.advance_to(at(engine.durable_in_truth().get() + 1));
            kv_testkit::wait::until(async || (count.taken() == 1).then_some(())).await;
        }
    }
}
