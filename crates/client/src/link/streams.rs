//! An open stream: the items that came and were not taken yet, and the credit the server has left.
//!
//! Bound: at most the stream's window of items is held, since the server sends none without credit.

use std::collections::VecDeque;
use std::task::Waker;

use kv_proto::{CloseReason, ProtocolViolation};

use crate::error::Error;
use crate::reply::Item;

/// How a stream ended.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// END while the connection took new requests: the stream is complete.
    Complete,
    /// ERR.
    Failed(Error),
    /// The connection was lost, or drains: the rest is to be fetched from another one.
    Lost,
    /// Nothing came for the request timeout.
    TimedOut,
}

#[derive(Debug)]
pub(crate) struct StreamState {
    items: VecDeque<Item>,
    waker: Option<Waker>,
    /// Items that the server may still send.
    credit: u32,
    /// Items that were taken and whose credit was not given back yet.
    taken: u32,
    window: u32,
    end: Option<StreamEnd>,
}

/// What [`StreamState::take`] found.
pub(crate) enum Taken {
    /// An item, and the credit to send back with CREDIT, 0 for none yet.
    Item(Item, u32),
    End(StreamEnd),
    Nothing,
}

impl StreamState {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            items: VecDeque::new(),
            waker: None,
            credit: window,
            taken: 0,
            window,
            end: None,
        }
    }

    /// Keeps an item that arrived.
    pub(crate) fn accept(&mut self, item: Item) -> Result<Option<Waker>, CloseReason> {
        self.credit = self
            .credit
            .checked_sub(1)
            .ok_or(CloseReason::Violation(ProtocolViolation::CreditOverflow))?;
        self.items.push_back(item);
        Ok(self.waker.take())
    }

    /// Ends it. A timeout is not final: the server's word, when it comes, replaces it.
    pub(crate) fn finish(&mut self, end: StreamEnd) -> Option<Waker> {
        if !self.is_final() {
            self.end = Some(end);
        }
        self.waker.take()
    }

    /// Whether nothing more comes from the server.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(
            self.end,
            Some(StreamEnd::Complete | StreamEnd::Failed(_) | StreamEnd::Lost)
        )
    }

    /// Whether its consumer waits for an item.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.waker.is_some()
    }

    /// The next item; credit goes back when half of the window was taken.
    pub(crate) fn take(&mut self, waker: &Waker) -> Taken {
        if let Some(item) = self.items.pop_front() {
            self.taken = self.taken.saturating_add(1);
            let back = if self.taken.saturating_mul(2) >= self.window && self.end.is_none() {
                std::mem::take(&mut self.taken)
            } else {
                0
            };
            self.credit = self.credit.saturating_add(back);
            return Taken::Item(item, back);
        }
        match self.end.take() {
            Some(end) => Taken::End(end),
            None => {
                self.waker = Some(waker.clone());
                Taken::Nothing
            }
        }
    }
}
