//! Fair interleaving: the messages under way send one piece each, in turn.

use std::collections::VecDeque;

use super::{Fragmenter, Piece};

/// Messages that are being sent, each with what its owner needs to write a piece of it.
///
/// Who adds messages bounds them: each is in flight, and what it holds counts as output.
#[derive(Debug)]
pub struct TakeTurns<M> {
    queue: VecDeque<(Fragmenter, M)>,
}

impl<M> TakeTurns<M> {
    /// No message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
        }
    }

    /// Adds a message; its first piece goes after one piece of each that is here.
    pub fn push(&mut self, fragmenter: Fragmenter, message: M) {
        self.queue.push_back((fragmenter, message));
    }

    /// Hands the next piece of the message whose turn it is to `write`, and returns what that
    /// returns; `None` when there is nothing to send. A message is dropped with its last piece.
    pub fn turn<R>(&mut self, write: impl FnOnce(&mut M, Piece) -> R) -> Option<R> {
        while let Some((mut fragmenter, mut message)) = self.queue.pop_front() {
            let Some(piece) = fragmenter.next() else {
                continue;
            };
            let more = piece.more;
            let result = write(&mut message, piece);
            if more {
                self.queue.push_back((fragmenter, message));
            }
            return Some(result);
        }
        None
    }

    /// Drops the messages that `keep` refuses. A receiver waits for the rest of a message that has
    /// begun: only what CANCEL ends may be dropped half way.
    pub fn retain(&mut self, mut keep: impl FnMut(&M) -> bool) {
        self.queue.retain(|(_, message)| keep(message));
    }

    /// Whether one of the messages is what `is` looks for.
    pub fn any(&self, mut is: impl FnMut(&M) -> bool) -> bool {
        self.queue.iter().any(|(_, message)| is(message))
    }

    /// How many messages are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Value bytes still to be sent.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.queue
            .iter()
            .map(|(fragmenter, _)| fragmenter.remaining())
            .fold(0, usize::saturating_add)
    }
}

impl<M> Default for TakeTurns<M> {
    fn default() -> Self {
        Self::new()
    }
}
