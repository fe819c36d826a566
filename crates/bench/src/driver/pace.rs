//! When requests are sent: as replies come (closed loop), as a clock says (open loop), or each key
//! once (filling).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Data, Request, Rng, Verb, nanoseconds};

/// How the next request comes about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// A reply makes room for a request.
    Closed,
    /// Requests are due at this rate per second, evenly, whatever the server does.
    Open(f64),
    /// Each key is written once, in order; ends when all are.
    Fill,
}

/// When a closed loop sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refill {
    /// When all requests of the connection are answered: batches, as `redis-benchmark -P` sends them.
    Batch,
    /// As soon as there is room.
    Each,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Requests in flight per connection.
    pub in_flight: u16,
    /// When requests are sent.
    pub load: Load,
    /// When a closed loop sends again.
    pub refill: Refill,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
    /// Share of reads, 0 to 1; the rest are writes.
    pub gets: f64,
    /// Operations per request.
    pub batch: u32,
    /// Where the choice of keys begins.
    pub seed: u64,
}

/// What the loop has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    End,
    Go,
}

/// Whether any connection can take a request of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counting,
    Draining,
}

/// The state of a run's schedule. Times are nanoseconds of the driver's clock.
pub(super) struct Pace {
    load: Load,
    pub(super) refill: Refill,
    gets: f64,
    batch: u32,
    phase: Phase,
    start: u64,
    begin: u64,
    end: u64,
    give_up: u64,
    sent: u64,
    keys: u64,
}

impl Pace {
    pub(super) fn new(plan: &Plan, data: &Data, start: u64) -> Self {
        let begin = start.saturating_add(nanoseconds(plan.warm_up));
        let end = if plan.load == Load::Fill {
            u64::MAX
        } else {
            begin.saturating_add(nanoseconds(plan.duration))
        };
        let patience = plan.duration.max(Duration::from_secs(5));
        Self {
            load: plan.load,
            refill: plan.refill,
            gets: plan.gets,
            batch: plan.batch.max(1),
            phase: Phase::WarmUp,
            start,
            begin,
            end,
            give_up: end.saturating_add(nanoseconds(patience)),
            sent: 0,
            keys: data.key_count(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.load, Load::Open(_))
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Moves on with the time.
    pub(super) const fn step(&mut self, now: u64) -> Step {
        match self.phase {
            Phase::WarmUp if now >= self.begin => {
                self.phase = Phase::Counting;
                Step::Begin
            }
            Phase::Counting if now >= self.end || self.is_filled() => {
                self.phase = Phase::Draining;
                Step::End
            }
            _ => Step::Go,
        }
    }

    const fn is_filled(&self) -> bool {
        matches!(self.load, Load::Fill) && self.sent >= self.keys
    }

    /// When the `nth` request of an open loop is due.
    pub(super) fn due_ns(&self, nth: u64) -> u64 {
        let Load::Open(per_second) = self.load else {
            return u64::MAX;
        };
        let after = nth as f64 / per_second * 1e9;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "float casts saturate, and a run is far shorter"
        )]
        let after = after as u64;
        self.start.saturating_add(after)
    }

    /// Whether an open loop has a request to send now. What was due before the end is sent after it
    /// too, as long as patience lasts.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let due = self.due_ns(self.sent);
        due <= now && due < self.end
    }

    /// Requests that were due and never sent.
    pub(super) fn unsent(&self) -> u64 {
        if !self.is_open() {
            return 0;
        }
        let mut nth = self.sent;
        while self.due_ns(nth) < self.end {
            nth += 1;
        }
        nth - self.sent
    }

    /// Whether the run is over: all is answered that was to be sent, or patience is.
    pub(super) fn is_over(&self, idle: bool, now: u64) -> bool {
        self.phase == Phase::Draining
            && ((idle && self.due_ns(self.sent) >= self.end) || now >= self.give_up)
    }

    /// How long the loop may sleep. A request that is due but found no `room` waits for a reply, not
    /// for the clock.
    pub(super) fn timeout_ns(&self, now: u64, room: Room) -> u64 {
        let next = match self.phase {
            Phase::WarmUp => self.begin,
            Phase::Counting => self.end,
            Phase::Draining => self.give_up,
        };
        let due = self.due_ns(self.sent);
        let due = if room == Room::None || due >= self.end {
            u64::MAX
        } else {
            due
        };
        next.min(due).saturating_sub(now).min(1_000_000_000)
    }

    /// The next request of a closed loop, if there is to be one.
    #[inline]
    pub(super) fn next(&mut self, data: &Data, rng: &mut Rng) -> Option<Request> {
        if self.phase == Phase::Draining || self.is_filled() {
            return None;
        }
        Some(self.make(data, rng))
    }

    /// The next request of an open loop and when it was due.
    pub(super) fn next_due(&mut self, data: &Data, rng: &mut Rng) -> (Request, u64) {
        let due = self.due_ns(self.sent);
        (self.make(data, rng), due)
    }

    #[inline]
    fn make(&mut self, data: &Data, rng: &mut Rng) -> Request {
        let nth = self.sent;
        self.sent += 1;
        if self.load == Load::Fill {
            return Request {
                verb: Verb::Set,
                first: nth,
                count: 1,
            };
        }
        let get = self.gets >= 1.0 || (self.gets > 0.0 && rng.unit() < self.gets);
        Request {
            verb: if get { Verb::Get } else { Verb::Set },
            first: if self.batch == 1 {
                data.choose(rng)
            } else {
                rng.next()
            },
            count: self.batch,
        }
    }

    /// The latency to note for a request that is answered now: those of a closed loop count when they
    /// are answered while counting, those of an open loop when they were due in that time.
    #[inline]
    pub(super) const fn latency(&self, started: u64, now: u64) -> Option<u64> {
        let counts = match self.load {
            Load::Open(_) => started >= self.begin && started < self.end,
            Load::Closed | Load::Fill => matches!(self.phase, Phase::Counting),
        };
        if counts {
            Some(now.saturating_sub(started))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Choice;

    fn plan(load: Load) -> Plan {
        Plan {
            in_flight: 1,
            load,
            refill: Refill::Batch,
            warm_up: Duration::from_millis(100),
            duration: Duration::from_secs(1),
            gets: 1.0,
            batch: 1,
            seed: 1,
        }
    }

    fn data() -> Data {
        Data::new(1_000, Choice::Uniform, 16, 8).unwrap()
    }

    #[test]
    fn an_open_loop_is_due_evenly_and_stops_at_the_end() {
        let mut pace = Pace::new(&plan(Load::Open(1_000.0)), &data(), 5_000);
        assert_eq!(pace.due_ns(0), 5_000);
        assert_eq!(pace.due_ns(1), 1_005_000);
        assert!(!pace.is_due(4_999));
        let mut rng = Rng::new(1);
        let mut sent = 0_u64;
        while pace.is_due(u64::MAX) {
            let (_, due) = pace.next_due(&data(), &mut rng);
            assert!(due.abs_diff(5_000 + sent * 1_000_000) <= 1, "{sent}: {due}");
            sent += 1;
        }
        assert_eq!(sent, 1_100, "warm-up and one second");
        assert_eq!(pace.unsent(), 0);
    }

    #[test]
    fn a_late_request_counts_from_when_it_was_due() {
        let mut pace = Pace::new(&plan(Load::Open(10.0)), &data(), 0);
        assert_eq!(pace.step(150_000_000), Step::Begin);
        let mut rng = Rng::new(1);
        let due: Vec<u64> = (0..5).map(|_| pace.next_due(&data(), &mut rng).1).collect();
        assert_eq!(due, [0, 100_000_000, 200_000_000, 300_000_000, 400_000_000]);
        // The server stood still until 900 ms: the whole wait is in every latency.
        let now = 900_000_000;
        assert_eq!(pace.latency(due[0], now), None, "due in the warm-up");
        assert_eq!(pace.latency(due[1], now), Some(800_000_000));
        assert_eq!(pace.latency(due[4], now), Some(500_000_000));
    }

    #[test]
    fn the_loop_sleeps_until_the_next_request_is_due_and_not_past_it() {
        let mut pace = Pace::new(&plan(Load::Open(1_000.0)), &data(), 0);
        let mut rng = Rng::new(1);
        pace.next_due(&data(), &mut rng);
        assert_eq!(pace.timeout_ns(400_000, Room::Some), 600_000);
        assert_eq!(
            pace.timeout_ns(1_000_001, Room::Some),
            0,
            "it became due meanwhile"
        );
        assert_eq!(
            pace.timeout_ns(1_000_001, Room::None),
            98_999_999,
            "a reply comes first"
        );
    }

    #[test]
    fn requests_that_never_left_are_told() {
        let mut pace = Pace::new(&plan(Load::Open(100.0)), &data(), 0);
        let mut rng = Rng::new(1);
        for _ in 0..60 {
            pace.next_due(&data(), &mut rng);
        }
        assert_eq!(pace.unsent(), 50);
        assert_eq!(pace.step(200_000_000), Step::Begin);
        assert_eq!(pace.step(1_100_000_000), Step::End);
        assert!(!pace.is_over(true, 1_100_000_000), "there is more to send");
        assert!(pace.is_over(false, 6_100_000_000), "patience ends");
    }

    #[test]
    fn filling_writes_every_key_once_and_ends() {
        let mut pace = Pace::new(&plan(Load::Fill), &data(), 0);
        let mut rng = Rng::new(1);
        let mut firsts = Vec::new();
        while let Some(request) = pace.next(&data(), &mut rng) {
            assert_eq!((request.verb, request.count), (Verb::Set, 1));
            firsts.push(request.first);
        }
        assert_eq!(firsts, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_mix_has_its_share_of_reads() {
        let mixed = Plan {
            gets: 0.9,
            ..plan(Load::Closed)
        };
        let mut pace = Pace::new(&mixed, &data(), 0);
        let mut rng = Rng::new(3);
        let gets = (0..10_000)
            .filter_map(|_| pace.next(&data(), &mut rng))
            .filter(|request| request.verb == Verb::Get)
            .count();
        assert!((8_800..9_200).contains(&gets), "{gets}");
    }
}
