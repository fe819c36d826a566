//! Puts answers in and takes them out again, so that the bound holds.

use super::{
    AGED_PER_RECORD, CLIENT_BYTES, CLIENT_KEPT_MS, Client, KEPT_MS, RECORD_BYTES, Record, Windows,
    is_past,
};
use crate::Now;

impl Record {
    const fn bytes(&self) -> usize {
        RECORD_BYTES + self.stored.0.len()
    }
}

impl Windows {
    /// The record of `number`, and its place.
    pub(super) fn find(&self, client: &Client, number: u64) -> Option<(u32, &Record)> {
        let place = client.place(number)?;
        let record = self.records.get(place)?;
        (record.number == number).then_some((place, record))
    }

    /// Puts a record behind all others and into its client's ring, in the place of one of the
    /// same number. One that is forgotten stays so.
    pub(super) fn keep(&mut self, record: Record) {
        let (client, number, bytes) = (record.client, record.number, record.bytes());
        loop {
            let Some(head) = self.heads.get(client) else {
                return;
            };
            if head.has_forgotten(number) {
                return;
            }
            match (self.find(head, number), head.place(number)) {
                (Some((former, _)), _) => self.remove(former),
                (None, None) if head.has_ring() => break,
                // Two numbers of a window never meet in the largest ring, so this ends.
                _ => self.grow_ring(client),
            }
        }
        if bytes > self.share() {
            return self.forget_through(client, number);
        }
        let Some(place) = self.records.push(record) else {
            return self.forget_through(client, number);
        };
        self.bytes += bytes;
        if let Some(head) = self.heads.get_mut(client) {
            head.note(number, place);
            head.bytes += bytes;
        }
    }

    /// Forgets the numbers of a client up to `through`, and their answers.
    pub(super) fn forget_through(&mut self, client: u32, through: u64) {
        let Some(head) = self.heads.get_mut(client) else {
            return;
        };
        if head.has_forgotten(through) {
            return;
        }
        let from = head.forgotten.map_or(0, |former| former.saturating_add(1));
        head.forgotten = Some(through);
        // The records lie within a window, so these are 1,024 numbers at most.
        let last = through.min(head.highest);
        head.highest = head.highest.max(through);
        for number in from..=last {
            let Some(head) = self.heads.get(client).filter(|head| head.live > 0) else {
                break;
            };
            if let Some((place, _)) = self.find(head, number) {
                self.remove(place);
            }
        }
        self.drop_idle_ring(client);
    }

    /// Forgets what is too old, and then what is oldest, until the bound holds.
    pub(super) fn shed(&mut self, now: Now, current: u32) {
        let share = self.share();
        while let Some(head) = self.heads.get(current)
            && head.bytes > share
            && head.live > 1
        {
            let next = head.forgotten.map_or(0, |former| former.saturating_add(1));
            self.forget_through(current, next);
        }
        while self.heads.len() > 1 && self.heads.len() * CLIENT_BYTES > share {
            self.lose_client();
        }
        while self.bytes() > self.bytes_max && self.forget_oldest() {}
        for _ in 0..AGED_PER_RECORD {
            let oldest = self.records.first().and_then(|at| self.records.get(at));
            if oldest.is_none_or(|record| !is_past(record.at, KEPT_MS, now)) {
                break;
            }
            self.forget_oldest();
        }
        let idlest = self.heads.first().and_then(|at| self.heads.get(at));
        if idlest.is_some_and(|head| is_past(head.used_at, CLIENT_KEPT_MS, now)) {
            self.lose_client();
        }
    }

    /// Brings what was loaded into the order of time.
    pub(super) fn restore_order(&mut self) {
        if !self.in_order {
            self.records.sort_by_key(|record| record.at);
            self.heads.sort_by_key(|head| head.used_at);
            self.in_order = true;
        }
    }

    /// Forgets a client whole.
    pub(super) fn forget_client(&mut self, client: u32) {
        let Some(highest) = self.heads.get(client).map(|head| head.highest) else {
            return;
        };
        self.forget_through(client, highest);
        if let Some(head) = self.heads.remove(client) {
            self.clients.remove(&head.id);
            self.mark_changed(head.id);
        }
    }

    pub(super) fn mark_changed(&mut self, client: [u8; 16]) {
        if let Some(changed) = &mut self.changed {
            changed.insert(client);
        }
    }

    /// What one client's answers, or all clients without theirs, may take.
    const fn share(&self) -> usize {
        self.bytes_max / 4
    }

    /// Forgets the oldest answer. Says whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.records.first().and_then(|at| self.records.get(at));
        let Some((client, number)) = oldest.map(|record| (record.client, record.number)) else {
            return false;
        };
        self.forget_through(client, number);
        true
    }

    /// Forgets the client that has recorded nothing for longest.
    fn lose_client(&mut self) {
        if let Some(idlest) = self.heads.first() {
            self.forget_client(idlest);
        }
    }

    /// Removes a record; that its number is forgotten, or has another record soon, is the
    /// caller's.
    fn remove(&mut self, place: u32) {
        let Some(record) = self.records.remove(place) else {
            return;
        };
        self.bytes -= record.bytes();
        if let Some(head) = self.heads.get_mut(record.client) {
            head.bytes -= record.bytes();
            head.clear(record.number);
        }
    }

    fn grow_ring(&mut self, client: u32) {
        let Some(head) = self.heads.get_mut(client) else {
            return;
        };
        let before = head.ring_bytes();
        head.grow(|place| self.records.get(place).map(|record| record.number));
        let more = head.ring_bytes() - before;
        head.bytes += more;
        self.bytes += more;
    }

    /// A client without answers needs no ring, and what was dumped of it holds too much.
    fn drop_idle_ring(&mut self, client: u32) {
        let Some(head) = self.heads.get_mut(client).filter(|head| head.live == 0) else {
            return;
        };
        let (id, bytes) = (head.id, head.ring_bytes());
        head.drop_ring();
        head.bytes -= bytes;
        self.bytes -= bytes;
        self.mark_changed(id);
    }
}
