//! Operation numbers: what lets a write be repeated without being applied twice (IDEMPOTENCY).
//!
//! Numbers come from one counter per client, under one random client id. The server remembers the
//! answers of a window of numbers, so the numbers under way must not lie further apart than that: a
//! call whose number would be too far ahead of the oldest one under way waits for it.

use std::collections::VecDeque;

use kv_proto::Idempotency;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Retry};

/// How far apart the numbers under way may lie: a little less than the 1,024 that a server remembers,
/// because it may have seen later ones when the oldest is repeated.
const SPAN: usize = 1_000;

/// The numbers of one client.
pub(crate) struct Numbers {
    client: [u8; 16],
    window: Mutex<Window>,
    /// A number may have become free.
    freed: Notify,
}

#[derive(Debug)]
struct Window {
    /// The oldest number under way, or the next one.
    oldest: u64,
    /// From `oldest` on: whether the number is under way.
    under_way: VecDeque<bool>,
    /// Calls that wait for a number.
    waiting: usize,
}

impl Window {
    fn take(&mut self) -> Option<u64> {
        let ahead = self.under_way.len();
        if ahead >= SPAN {
            return None;
        }
        self.under_way.push_back(true);
        self.oldest.checked_add(u64::try_from(ahead).ok()?)
    }

    fn give_back(&mut self, number: u64) {
        let at = usize::try_from(number.saturating_sub(self.oldest)).unwrap_or(usize::MAX);
        if let Some(under_way) = self.under_way.get_mut(at) {
            *under_way = false;
        }
        while self.under_way.front() == Some(&false) {
            self.under_way.pop_front();
            self.oldest = self.oldest.saturating_add(1);
        }
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < SPAN
    }
}

impl Numbers {
    /// Of a client with this id, which must be random and its own.
    pub(crate) const fn new(client: [u8; 16]) -> Self {
        Self {
            client,
            window: Mutex::new(Window {
                oldest: 1,
                under_way: VecDeque::new(),
                waiting: 0,
            }),
            freed: Notify::const_new(),
        }
    }

    /// The next number, unless it would be too far ahead or others wait for it.
    pub(crate) fn take(&self) -> Option<Operation<'_>> {
        let mut window = self.window.lock();
        if window.waiting > 0 {
            return None;
        }
        let number = window.take()?;
        Some(Operation {
            numbers: self,
            number,
        })
    }

    /// The next number, as soon as it is not too far ahead; first come, first served.
    ///
    /// # Errors
    /// `Timeout` at the deadline: nothing was sent.
    pub(crate) async fn wait(&self, deadline: Instant) -> Result<Operation<'_>, Error> {
        self.window.lock().waiting += 1;
        let _waiting = Waiting(self);
        let mut woken = false;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut window = self.window.lock();
                let turn = woken || window.waiting == 1;
                if let Some(number) = turn.then(|| window.take()).flatten() {
                    // One word of mouth wakes one: pass it on while there is room.
                    if window.has_room() && window.waiting > 1 {
                        self.freed.notify_one();
                    }
                    return Ok(Operation {
                        numbers: self,
                        number,
                    });
                }
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Err(Error::new(ErrorKind::Timeout, Retry::Safe));
            }
            woken = true;
        }
    }
}

struct Waiting<'n>(&'n Numbers);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut window = self.0.window.lock();
        window.waiting = window.waiting.saturating_sub(1);
    }
}

/// A number under way. Dropped, it is never used again.
pub(crate) struct Operation<'n> {
    numbers: &'n Numbers,
    number: u64,
}

impl Operation<'_> {
    /// As the extension carries it.
    pub(crate) const fn name(&self) -> Idempotency {
        Idempotency {
            client: self.numbers.client,
            operation: self.number,
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let mut window = self.numbers.window.lock();
        window.give_back(self.number);
        if window.waiting > 0 && window.has_room() {
            self.numbers.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_ascend_and_never_lie_further_apart_than_the_window() {
        let numbers = Numbers::new([7; 16]);
        let mut held: Vec<_> = (0..SPAN).map(|_| numbers.take().unwrap()).collect();
        assert_eq!(held[0].name().operation, 1);
        assert_eq!(held[SPAN - 1].name().operation, 1_000);
        assert!(numbers.take().is_none());
        // All but the oldest end: it still holds the others back.
        let oldest = held.remove(0);
        held.clear();
        assert!(numbers.take().is_none());
        drop(oldest);
        assert_eq!(numbers.take().unwrap().name().operation, 1_001);
        assert_eq!(numbers.window.lock().under_way.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_come_in_order_and_are_all_served() {
        let numbers = Numbers::new([7; 16]);
        let held: Vec<_> = (0..SPAN).map(|_| numbers.take().unwrap()).collect();
        let soon = Instant::now() + Duration::from_secs(1);
        let (a, b, c, ()) = tokio::join!(
            biased;
            numbers.wait(soon),
            numbers.wait(soon),
            numbers.wait(soon),
            async {
                tokio::task::yield_now().await;
                drop(held);
            }
        );
        let taken = [a, b, c].map(|operation| operation.unwrap().name().operation);
        assert_eq!(taken, [1_001, 1_002, 1_003]);
        assert_eq!(numbers.window.lock().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_gives_its_place_up() {
        let numbers = Numbers::new([7; 16]);
        let held: Vec<_> = (0..SPAN).map(|_| numbers.take().unwrap()).collect();
        let soon = Instant::now() + Duration::from_secs(1);
        let late = numbers.wait(soon).await.err().unwrap();
        assert_eq!(late.retry(), Retry::Safe);
        drop(held);
        assert!(numbers.take().is_some());
    }
}
