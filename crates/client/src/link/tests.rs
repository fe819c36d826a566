use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use kv_proto::Opcode;

use super::queue::{Place, Standing};
use super::slots::Entry;
use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn insert(slots: &mut Slots) -> u32 {
    slots
        .insert(Opcode::Get, 0, Entry::Waiting(Waker::noop().clone()))
        .unwrap()
}

#[test]
fn an_id_is_never_zero_never_of_the_servers_half_and_means_one_request() {
    let mut slots = Slots::new(IdSpace::DEFAULT);
    let mut live = HashSet::new();
    for round in 0..100_000_u32 {
        let id = insert(&mut slots);
        assert!(id != 0 && id < 1 << 31);
        assert!(live.insert(id), "{id} is in flight twice");
        if round % 3 != 0 || live.len() > 1_000 {
            let gone = *live.iter().next().unwrap();
            live.remove(&gone);
            slots.remove(gone);
        }
        assert_eq!(slots.live(), live.len());
    }
}

#[test]
fn tiny_generations_wrap_and_an_earlier_id_stays_unknown() {
    let mut slots = Slots::new(IdSpace::with_generations(3));
    let orphan = insert(&mut slots);
    let mut seen = Vec::new();
    for _ in 0..7 {
        let id = insert(&mut slots);
        assert_ne!(id, orphan, "an id in flight was given away again");
        assert!(id != 0);
        if let Some(&last) = seen.last() {
            assert_ne!(id, last);
            assert!(
                slots.get_mut(last).is_none(),
                "a reply to {last} would reach {id}"
            );
        }
        slots.remove(id);
        seen.push(id);
    }
    assert_eq!(
        seen[0..3],
        seen[3..6],
        "three generations, then the first again"
    );
    assert!(slots.get_mut(orphan).is_some());
}

#[test]
fn slots_are_used_again_in_the_order_in_which_they_were_freed() {
    let mut slots = Slots::new(IdSpace::DEFAULT);
    let ids: Vec<u32> = (0..4).map(|_| insert(&mut slots)).collect();
    for &id in [ids[2], ids[0], ids[3], ids[1]].iter() {
        slots.remove(id);
    }
    let again: Vec<u32> = (0..4).map(|_| insert(&mut slots) & 0xffff).collect();
    assert_eq!(again, [2, 0, 3, 1]);
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let mut slots = Slots::new(IdSpace::DEFAULT);
    let id = insert(&mut slots);
    for other in [0, 1, id + 1, id | 1 << 30, u32::MAX] {
        assert!(matches!(slots.remove(other), Entry::Free));
    }
    assert_eq!(slots.live(), 1);
    slots.remove(id);
    assert!(matches!(slots.remove(id), Entry::Free));
    assert_eq!(slots.live(), 0);
}

#[test]
fn the_queue_grants_in_order_and_skips_who_left() {
    let mut queue = Queue::default();
    let wakers: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
    let places: Vec<Place> = wakers
        .iter()
        .map(|count| queue.join(&Waker::from(Arc::clone(count)), 100))
        .collect();
    assert!(!queue.give_up(places[1]), "it had not been granted");
    let mut wakes = Wakes::default();
    assert!(queue.grant(&mut wakes) && queue.grant(&mut wakes));
    wakes.wake();
    let woken: Vec<usize> = wakers
        .iter()
        .map(|count| count.0.load(Ordering::Relaxed))
        .collect();
    assert_eq!(woken, [1, 0, 1, 0]);
    assert_eq!(queue.look(places[0], Waker::noop()), Standing::Granted);
    assert_eq!(queue.look(places[3], Waker::noop()), Standing::Waiting);
    assert!(queue.give_up(places[2]), "it had been granted");
    assert!(!queue.give_up(places[3]));
    assert!(queue.is_empty() && !queue.grant(&mut wakes));
}

#[test]
fn places_in_the_middle_that_were_given_up_do_not_pile_up() {
    let mut queue = Queue::default();
    let first = queue.join(Waker::noop(), 100);
    for _ in 0..10_000 {
        let place = queue.join(Waker::noop(), 100);
        queue.give_up(place);
    }
    assert_eq!(queue.waiting(), 1);
    let last = queue.join(Waker::noop(), 100);
    queue.give_up(first);
    let mut wakes = Wakes::default();
    assert!(queue.grant(&mut wakes));
    assert_eq!(queue.look(last, Waker::noop()), Standing::Granted);
}

#[test]
fn a_place_expires_at_its_deadline_and_not_before() {
    let mut queue = Queue::default();
    let mut wakes = Wakes::default();
    let early = queue.join(Waker::noop(), 10);
    let late = queue.join(Waker::noop(), 20);
    assert_eq!(queue.expire(9, &mut wakes), 10);
    assert_eq!(queue.look(early, Waker::noop()), Standing::Waiting);
    assert_eq!(queue.expire(10, &mut wakes), 20);
    assert_eq!(wakes.len(), 1);
    assert_eq!(queue.look(early, Waker::noop()), Standing::Expired);
    assert_eq!(queue.look(late, Waker::noop()), Standing::Waiting);
}
