//! The continuation assembler: joins the fragments of continued messages.
//!
//! It owns the messages under way of one connection and the bounds on them. It knows no connection,
//! reads no clock (`now_ms` is passed in, and never goes back) and believes no declared length: a
//! buffer grows with the bytes that came. It does not parse extensions; whoever does hands it the
//! TOTAL_LEN of a first fragment.
//!
//! Each call validates first and then changes; a fragment that breaks a rule leaves no trace. A
//! message refused for its size only ([`AssemblyScope::Request`]) stays known without its bytes, so
//! that its remaining fragments are swallowed, still counted and still under the time limits.
//!
//! Invariant: `retained_bytes` is the sum over the messages under way, and at most
//! [`AssemblerLimits::retained_bytes_max`] (as far as the allocator gives what it was asked for).

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

mod error;
mod fragment;
mod limits;
mod partial;
mod rate;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::error::{AssemblerError, AssemblyScope, Overdue};
pub use self::fragment::{Assembled, Assembly, Fragment};
pub use self::limits::AssemblerLimits;
use self::partial::Partial;
use self::rate::RateWindow;

/// Joins the continued messages of one connection; see the module's text.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblerLimits,
    partials: BTreeMap<u32, Partial>,
    retained: usize,
    /// Present exactly while a message is under way.
    rate: Option<RateWindow>,
    latest_ms: u64,
}

impl Assembler {
    /// An assembler that holds nothing.
    #[must_use]
    pub const fn new(limits: AssemblerLimits) -> Self {
        Self {
            limits,
            partials: BTreeMap::new(),
            retained: 0,
            rate: None,
            latest_ms: 0,
        }
    }

    /// Takes any fragment: [`append`](Self::append) when its message is under way,
    /// [`begin`](Self::begin) otherwise.
    ///
    /// # Errors
    /// As those two.
    pub fn accept(
        &mut self,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<Assembly, AssemblerError> {
        if self.contains(fragment.request_id) {
            self.append(now_ms, fragment)
        } else {
            self.begin(now_ms, fragment).map(|()| Assembly::Pending)
        }
    }

    /// Takes the first fragment of a message.
    ///
    /// # Errors
    /// [`AssemblerError`]. After one of request scope the message is under way, without its bytes:
    /// answer ERR and go on feeding its fragments. After one of connection scope nothing has changed
    /// and the connection is over.
    pub fn begin(&mut self, now_ms: u64, fragment: &Fragment<'_>) -> Result<(), AssemblerError> {
        let now_ms = self.clock(now_ms);
        let request_id = fragment.request_id;
        if self.contains(request_id) {
            return Err(AssemblerError::AlreadyBegun { request_id });
        }
        if !fragment.more {
            return Err(AssemblerError::NotContinued { request_id });
        }
        let total = fragment
            .total_len
            .ok_or(AssemblerError::NoTotalLength { request_id })?;
        if self.partials.len() >= self.limits.messages_max {
            return Err(AssemblerError::TooManyMessages {
                max: self.limits.messages_max,
            });
        }
        // Where a usize cannot hold the length, it exceeds any limit as well.
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let mut partial = Partial::new(now_ms, total, fragment);
        partial.check(fragment, &self.limits)?;
        let rate = self.rate_at(now_ms)?;

        let max = self.limits.message_bytes_max;
        let refused = if total > max {
            partial.swallow();
            Err(AssemblerError::MessageTooLong {
                declared: total,
                max,
            })
        } else {
            Ok(())
        };
        let kept = self.keep(now_ms, &mut partial, fragment);
        self.rate = Some(rate.with(fragment.value.len()));
        self.retained = self.retained.saturating_add(partial.retained());
        self.partials.insert(request_id, partial);
        self.debug_check();
        refused.and(kept)
    }

    /// Takes a further fragment of a message that is under way.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn append(
        &mut self,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<Assembly, AssemblerError> {
        let now_ms = self.clock(now_ms);
        let request_id = fragment.request_id;
        let partial = self
            .partials
            .get(&request_id)
            .ok_or(AssemblerError::NotBegun { request_id })?;
        partial.check(fragment, &self.limits)?;
        self.overdue(now_ms, request_id, partial)?;
        let rate = self.rate_at(now_ms)?;

        let Some(mut partial) = self.take(request_id) else {
            return Err(AssemblerError::NotBegun { request_id });
        };
        self.rate = Some(rate.with(fragment.value.len()));
        let kept = self.keep(now_ms, &mut partial, fragment);
        if !fragment.more {
            self.close_idle_window();
            self.debug_check();
            return kept.map(|()| {
                partial
                    .finish(request_id)
                    .map_or(Assembly::Swallowed, Assembly::Complete)
            });
        }
        self.retained = self.retained.saturating_add(partial.retained());
        self.partials.insert(request_id, partial);
        self.debug_check();
        kept.map(|()| Assembly::Pending)
    }

    /// Lets the bytes of a message go and swallows what still comes of it: for a caller that has
    /// refused the request (no permission, no memory in the process). Whether it was under way.
    pub fn refuse(&mut self, request_id: u32) -> bool {
        let Some(partial) = self.partials.get_mut(&request_id) else {
            return false;
        };
        self.retained = self.retained.saturating_sub(partial.retained());
        partial.swallow();
        self.debug_check();
        true
    }

    /// Forgets a message: after CANCEL, when its sender sends no more of it. Whether it was under
    /// way.
    pub fn abort(&mut self, request_id: u32) -> bool {
        let known = self.take(request_id).is_some();
        self.close_idle_window();
        self.debug_check();
        known
    }

    /// The first time limit that has passed at `now_ms`, if any. What is overdue is given up:
    /// the message, or every message when the rate was too low. Call it until `None`, or close the
    /// connection at the first, as a server does.
    pub fn expire(&mut self, now_ms: u64) -> Option<Overdue> {
        let now_ms = self.clock(now_ms);
        let overdue = self
            .partials
            .iter()
            .find_map(|(&request_id, partial)| self.overdue(now_ms, request_id, partial).err());
        match (overdue, self.rate_at(now_ms)) {
            (Some(overdue), _) => {
                let (Overdue::NoProgress { request_id } | Overdue::TooLong { request_id }) =
                    overdue
                else {
                    return None;
                };
                self.abort(request_id);
                Some(overdue)
            }
            (None, Ok(rate)) => {
                self.rate = self.rate.map(|_| rate);
                None
            }
            (None, Err(overdue)) => {
                self.clear();
                Some(overdue)
            }
        }
    }

    /// When [`expire`](Self::expire) has to be called next; `None` while nothing is under way.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let rate = self.rate.map(|rate| rate.deadline(&self.limits))?;
        let deadline = |partial: &Partial| {
            let progress = partial
                .progress_ms
                .saturating_add(self.limits.progress_timeout_ms);
            progress.min(
                partial
                    .begun_ms
                    .saturating_add(self.limits.message_timeout_ms),
            )
        };
        Some(self.partials.values().map(deadline).fold(rate, u64::min))
    }

    /// Gives every message `ms` more time: the local side did not read for so long, so that the
    /// peer could not send.
    pub fn postpone(&mut self, ms: u64) {
        for partial in self.partials.values_mut() {
            partial.begun_ms = partial.begun_ms.saturating_add(ms);
            partial.progress_ms = partial.progress_ms.saturating_add(ms);
        }
        self.rate = self.rate.map(|rate| rate.postponed(ms));
    }

    /// Bytes held for messages under way. The difference of two readings is what a process-wide
    /// accountant has to be told.
    #[must_use]
    pub const fn retained_bytes(&self) -> usize {
        self.retained
    }

    /// How much [`retained_bytes`](Self::retained_bytes) would grow if `fragment` were accepted:
    /// what to reserve from a process-wide accountant before feeding it.
    #[must_use]
    pub fn growth(&self, fragment: &Fragment<'_>) -> usize {
        match self.partials.get(&fragment.request_id) {
            Some(partial) => partial
                .retained_with(fragment, &self.limits)
                .saturating_sub(partial.retained()),
            None => {
                let total = fragment.total_len.unwrap_or(0);
                let total = usize::try_from(total).unwrap_or(usize::MAX);
                if total > self.limits.message_bytes_max {
                    return 0;
                }
                Partial::new(0, total, fragment).retained_with(fragment, &self.limits)
            }
        }
    }

    /// Whether a message with this id is under way (kept or swallowed).
    #[must_use]
    pub fn contains(&self, request_id: u32) -> bool {
        self.partials.contains_key(&request_id)
    }

    /// Whether a message with this id is under way and was refused: its bytes are swallowed.
    #[must_use]
    pub fn is_refused(&self, request_id: u32) -> bool {
        self.partials
            .get(&request_id)
            .is_some_and(Partial::is_swallowed)
    }

    /// How many messages are under way, the swallowed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partials.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partials.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.partials.clear();
        self.retained = 0;
        self.rate = None;
    }

    /// Takes the bytes if they fit, and turns the message into a swallowed one if they do not. The
    /// message is out of the map and not counted in `retained` here.
    fn keep(
        &self,
        now_ms: u64,
        partial: &mut Partial,
        fragment: &Fragment<'_>,
    ) -> Result<(), AssemblerError> {
        let max = self.limits.retained_bytes_max;
        let needed = partial.retained_with(fragment, &self.limits);
        let mut result = Ok(());
        if !partial.is_swallowed() && self.retained.saturating_add(needed) > max {
            partial.swallow();
            result = Err(AssemblerError::RetainedTooMuch { max });
        }
        if let Err(error) = partial.append(now_ms, fragment, &self.limits) {
            partial.swallow();
            result = Err(error);
            // A swallowed message only counts, so this cannot fail again.
            let _ = partial.append(now_ms, fragment, &self.limits);
        }
        result
    }

    fn take(&mut self, request_id: u32) -> Option<Partial> {
        let partial = self.partials.remove(&request_id)?;
        self.retained = self.retained.saturating_sub(partial.retained());
        Some(partial)
    }

    fn overdue(&self, now_ms: u64, request_id: u32, partial: &Partial) -> Result<(), Overdue> {
        let silent = now_ms.saturating_sub(partial.progress_ms);
        let old = now_ms.saturating_sub(partial.begun_ms);
        if old >= self.limits.message_timeout_ms {
            return Err(Overdue::TooLong { request_id });
        }
        if silent >= self.limits.progress_timeout_ms {
            return Err(Overdue::NoProgress { request_id });
        }
        Ok(())
    }

    /// The window that `now_ms` falls into: the present one, its successor, or a fresh one.
    fn rate_at(&self, now_ms: u64) -> Result<RateWindow, Overdue> {
        match self.rate {
            Some(rate) => rate.rolled(now_ms, &self.limits).ok_or(Overdue::TooSlow),
            None => Ok(RateWindow::new(now_ms)),
        }
    }

    fn close_idle_window(&mut self) {
        if self.partials.is_empty() {
            self.rate = None;
        }
    }

    /// A reading before the largest one seen counts as that one.
    fn clock(&mut self, now_ms: u64) -> u64 {
        self.latest_ms = self.latest_ms.max(now_ms);
        self.latest_ms
    }

    #[cfg(debug_assertions)]
    fn debug_check(&self) {
        let sum = self
            .partials
            .values()
            .map(Partial::retained)
            .fold(0, usize::saturating_add);
        debug_assert_eq!(sum, self.retained, "retained is the sum over the messages");
        debug_assert!(self.partials.values().all(Partial::is_consistent));
        debug_assert!(self.partials.len() <= self.limits.messages_max);
        debug_assert_eq!(self.rate.is_some(), !self.partials.is_empty());
    }

    #[cfg(not(debug_assertions))]
    fn debug_check(&self) {}
}
