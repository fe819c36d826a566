//! Requests whose answer waits: their place in the limit, the order of operations on one key, their
//! deadlines, and what CANCEL does to them.
//!
//! Requests answered at once never come here. One key's operations take effect in the order sent: a
//! request whose key has earlier work waits in that key's queue and starts when it is at the head of
//! the queues of all its keys.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use kv_service::Batch;
use tokio::time::Instant;

use super::batch::BatchPlan;
use super::request::Meta;

/// Names one waiting request of a connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(u64);

/// What a waiting request asks.
pub(super) enum Work {
    /// One operation.
    Single(Batch),
    /// An atomic BATCH: an answer per item.
    Batch(Batch, Vec<Meta>),
    /// A BATCH of which a part is answered already.
    Planned(Batch, Box<BatchPlan>),
}

impl Work {
    fn batch(&self) -> &Batch {
        match self {
            Self::Single(batch) | Self::Batch(batch, _) | Self::Planned(batch, _) => batch,
        }
    }
}

/// How the answer of a waiting request is written.
pub(super) enum Shape {
    /// One reply.
    Single,
    /// Inner replies of an atomic BATCH.
    Batch(Vec<Meta>),
    /// Inner replies, some of them written already.
    Planned(Box<BatchPlan>),
}

/// A waiting request.
pub(super) struct Waiting {
    pub(super) meta: Meta,
    pub(super) shape: Shape,
    /// When it came.
    pub(super) since: Instant,
    pub(super) deadline: Option<Instant>,
    /// Already answered (deadline, cancel): the outcome is dropped when it comes.
    pub(super) answered: bool,
    pub(super) cancelled: bool,
    /// Not started yet.
    parked: Option<Batch>,
    keys: Vec<Bytes>,
    bytes: usize,
    /// In how many of its keys' queues it is not the first.
    behind: usize,
}

/// What to do with a request that was just added.
pub(super) enum Added {
    /// Hand it to the engine.
    Start(Token, Batch),
    /// It waits for earlier work on a key.
    Parked,
}

/// The waiting requests of one connection.
#[derive(Default)]
pub(super) struct InFlight {
    waiting: HashMap<Token, Waiting>,
    by_request: HashMap<u32, Token>,
    order: HashMap<Bytes, VecDeque<Token>>,
    deadlines: BTreeMap<(Instant, Token), ()>,
    /// What the waiting requests hold.
    bytes: usize,
    next: u64,
}

/// What a waiting operation holds besides its key, which is held twice, and its value.
const OP_BYTES: usize = 256;

/// What work holds while it waits.
fn held_by(work: &Work) -> usize {
    let op_bytes = |op: &kv_service::OwnedOp| {
        let op = op.as_op();
        let value = match op {
            kv_service::Op::Set { value, .. } => value.len(),
            _ => 0,
        };
        OP_BYTES + 2 * op.key().len() + value
    };
    let done = match work {
        Work::Planned(_, plan) => plan.held_bytes(),
        Work::Single(_) | Work::Batch(..) => 0,
    };
    work.batch().ops.iter().map(op_bytes).sum::<usize>() + done
}

impl InFlight {
    /// Whether nothing waits: the fast path asks nothing else.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Memory held by what waits.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the request id is taken.
    pub(super) fn contains(&self, request_id: u32) -> bool {
        self.by_request.contains_key(&request_id)
    }

    /// Whether earlier work on this key waits.
    pub(super) fn blocks(&self, key: &[u8]) -> bool {
        self.order.contains_key(key)
    }

    /// A name for work that is not ordered by keys (pages of scans).
    pub(super) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    /// Adds a request that came at `since`.
    pub(super) fn add(
        &mut self,
        meta: Meta,
        work: Work,
        since: Instant,
        deadline: Option<Instant>,
    ) -> Added {
        let token = self.token();
        let bytes = held_by(&work);
        self.bytes += bytes;
        let mut keys: Vec<Bytes> = work
            .batch()
            .ops
            .iter()
            .map(|op| Bytes::copy_from_slice(op.as_op().key()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut behind = 0;
        for key in &keys {
            let queue = self.order.entry(key.clone()).or_default();
            behind += usize::from(!queue.is_empty());
            queue.push_back(token);
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, token), ());
        }
        self.by_request.insert(meta.request_id, token);
        let (batch, shape) = match work {
            Work::Single(batch) => (batch, Shape::Single),
            Work::Batch(batch, items) => (batch, Shape::Batch(items)),
            Work::Planned(batch, plan) => (batch, Shape::Planned(plan)),
        };
        let (parked, added) = if behind == 0 {
            (None, Added::Start(token, batch))
        } else {
            (Some(batch), Added::Parked)
        };
        self.waiting.insert(
            token,
            Waiting {
                meta,
                shape,
                since,
                deadline,
                answered: false,
                cancelled: false,
                parked,
                keys,
                bytes,
                behind,
            },
        );
        added
    }

    /// Takes a request that ended, and names those that can start now.
    pub(super) fn finish(&mut self, token: Token) -> Option<(Waiting, Vec<(Token, Batch)>)> {
        let waiting = self.waiting.remove(&token)?;
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        self.forget_request(waiting.meta.request_id, token);
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, token));
        }
        let mut started = Vec::new();
        for key in &waiting.keys {
            let Some(queue) = self.order.get_mut(key) else {
                continue;
            };
            let was_first = queue.front() == Some(&token);
            queue.retain(|&other| other != token);
            let Some(&first) = queue.front() else {
                self.order.remove(key);
                continue;
            };
            if !was_first {
                continue;
            }
            if let Some(next) = self.waiting.get_mut(&first) {
                next.behind = next.behind.saturating_sub(1);
                if next.behind == 0 {
                    started.extend(next.parked.take().map(|batch| (first, batch)));
                }
            }
        }
        Some((waiting, started))
    }

    /// Frees the id of a request, unless another one has it by now.
    fn forget_request(&mut self, request_id: u32, token: Token) {
        if self.by_request.get(&request_id) == Some(&token) {
            self.by_request.remove(&request_id);
        }
    }

    /// CANCEL. `Some(true)`: it had not started and is gone; `Some(false)`: it runs, and its place is
    /// free when it ends; `None`: no such request, or it was cancelled before.
    pub(super) fn cancel(&mut self, request_id: u32) -> Option<(Token, bool)> {
        let token = *self.by_request.get(&request_id)?;
        let waiting = self.waiting.get_mut(&token)?;
        if waiting.cancelled || waiting.answered {
            return None;
        }
        waiting.cancelled = true;
        Some((token, waiting.parked.is_some()))
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.keys().next().map(|(at, _)| *at)
    }

    /// The requests whose deadline is over: they are answered now, and keep their place until they
    /// end. Those that had not started end here.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Token, Meta, bool)> {
        let mut over = Vec::new();
        while let Some((&(at, token), ())) = self.deadlines.first_key_value() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(waiting) = self.waiting.get_mut(&token) {
                waiting.deadline = None;
                if !waiting.answered && !waiting.cancelled {
                    waiting.answered = true;
                    let (meta, parked) = (waiting.meta, waiting.parked.is_some());
                    // The answer is final: the client may use the id again, while the work goes on.
                    self.forget_request(meta.request_id, token);
                    over.push((token, meta, parked));
                }
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_service::OwnedOp;
    use std::time::Duration;

    fn single(key: &'static str) -> Work {
        Work::Single(Batch {
            ops: vec![OwnedOp::Get {
                key: Bytes::from_static(key.as_bytes()),
            }],
            atomic: false,
            operation: None,
        })
    }

    fn batch(keys: &[&'static str]) -> Work {
        let ops = keys
            .iter()
            .map(|key| OwnedOp::Get {
                key: Bytes::from_static(key.as_bytes()),
            })
            .collect();
        Work::Batch(
            Batch {
                ops,
                atomic: true,
                operation: None,
            },
            Vec::new(),
        )
    }

    fn start(added: Added) -> Token {
        match added {
            Added::Start(token, _) => token,
            Added::Parked => panic!("it should have started"),
        }
    }

    fn ids(started: Vec<(Token, Batch)>, inflight: &InFlight) -> Vec<u32> {
        started
            .iter()
            .map(|(t, _)| inflight.waiting[t].meta.request_id)
            .collect()
    }

    #[test]
    fn one_keys_requests_start_in_order_and_other_keys_do_not_wait() {
        let mut inflight = InFlight::default();
        let first = start(inflight.add(Meta::get(1), single("a"), Instant::now(), None));
        assert!(matches!(
            inflight.add(Meta::get(2), single("a"), Instant::now(), None),
            Added::Parked
        ));
        assert!(matches!(
            inflight.add(Meta::get(3), single("b"), Instant::now(), None),
            Added::Start(..)
        ));
        assert!(inflight.blocks(b"a") && !inflight.blocks(b"c"));
        let (_, started) = inflight.finish(first).unwrap();
        assert_eq!(ids(started, &inflight), [2]);
        assert_eq!(inflight.len(), 2);
    }

    #[test]
    fn a_batch_waits_for_all_its_keys_and_holds_them_all() {
        let mut inflight = InFlight::default();
        let a = start(inflight.add(Meta::get(1), single("a"), Instant::now(), None));
        let b = start(inflight.add(Meta::get(2), single("b"), Instant::now(), None));
        assert!(matches!(
            inflight.add(Meta::get(3), batch(&["b", "a", "a"]), Instant::now(), None),
            Added::Parked
        ));
        assert!(matches!(
            inflight.add(Meta::get(4), single("b"), Instant::now(), None),
            Added::Parked
        ));
        assert!(inflight.finish(a).unwrap().1.is_empty());
        let started = inflight.finish(b).unwrap().1;
        let token = started[0].0;
        assert_eq!(ids(started, &inflight), [3]);
        let started = inflight.finish(token).unwrap().1;
        assert_eq!(ids(started, &inflight), [4]);
    }

    #[test]
    fn a_cancelled_request_that_never_started_lets_the_next_one_go() {
        let mut inflight = InFlight::default();
        let first = start(inflight.add(Meta::get(1), single("a"), Instant::now(), None));
        inflight.add(Meta::get(2), single("a"), Instant::now(), None);
        inflight.add(Meta::get(3), single("a"), Instant::now(), None);
        let (token, parked) = inflight.cancel(2).unwrap();
        assert!(parked);
        assert!(inflight.finish(token).unwrap().1.is_empty());
        assert!(inflight.cancel(2).is_none());
        let started = inflight.finish(first).unwrap().1;
        assert_eq!(ids(started, &inflight), [3]);
    }

    #[test]
    fn what_waits_is_counted_until_it_ends() {
        let mut inflight = InFlight::default();
        assert_eq!(inflight.bytes(), 0);
        let set = Work::Single(Batch {
            ops: vec![OwnedOp::Set {
                key: Bytes::from_static(b"key"),
                value: Bytes::from(vec![0; 10_000]),
                content_type: 0,
                expiry: kv_service::Expiry::Never,
                condition: kv_service::Condition::Always,
                previous: false,
            }],
            atomic: false,
            operation: None,
        });
        let first = start(inflight.add(Meta::get(1), set, Instant::now(), None));
        inflight.add(Meta::get(2), single("key"), Instant::now(), None);
        let both = inflight.bytes();
        assert!(both > 10_000 + 2 * OP_BYTES);
        inflight.finish(first).unwrap();
        assert!(inflight.bytes() > 0 && inflight.bytes() < both - 10_000);
        let (token, _) = inflight.cancel(2).unwrap();
        inflight.finish(token).unwrap();
        assert_eq!(inflight.bytes(), 0);
    }

    #[test]
    fn deadlines_come_in_order_and_answer_once() {
        let mut inflight = InFlight::default();
        let now = Instant::now();
        inflight.add(
            Meta::get(1),
            single("a"),
            Instant::now(),
            Some(now + Duration::from_millis(20)),
        );
        inflight.add(
            Meta::get(2),
            single("a"),
            Instant::now(),
            Some(now + Duration::from_millis(10)),
        );
        assert_eq!(
            inflight.next_deadline(),
            Some(now + Duration::from_millis(10))
        );
        assert!(inflight.expire(now).is_empty());
        let over = inflight.expire(now + Duration::from_millis(20));
        assert_eq!(
            over.iter()
                .map(|(_, m, parked)| (m.request_id, *parked))
                .collect::<Vec<_>>(),
            [(2, true), (1, false)]
        );
        assert!(inflight.expire(now + Duration::from_secs(1)).is_empty());
        assert_eq!(inflight.next_deadline(), None);
    }
}
