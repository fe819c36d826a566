//! How the rest of the process reaches a connection's task: finished work and signals, one lock, one
//! waker. Bounded by the connection's in-flight limit: each piece of work in flight posts once.

use std::task::{Context, Waker};

use kv_service::{BatchOutcome, ScannedPage};
use parking_lot::Mutex;

use super::inflight::Token;

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The server drains: GOAWAY, finish, GOODBYE.
    pub(crate) drain: bool,
    /// End now.
    pub(crate) kill: bool,
    /// The keys in force changed: is this session's still among them?
    pub(crate) recheck: bool,
}

/// Work that ended.
pub(super) enum Finished {
    /// Operations handed on; `None`: the engine dropped them without an answer.
    Ops(Token, Option<BatchOutcome>),
    /// A page of a scan.
    Page(Token, Option<ScannedPage>),
}

#[derive(Default)]
struct Inner {
    signals: Signals,
    finished: Vec<Finished>,
    waker: Option<Waker>,
}

/// The mailbox of one connection.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Inner>);

impl Mailbox {
    /// Tells the connection something and wakes it.
    pub(crate) fn signal(&self, set: impl FnOnce(&mut Signals)) {
        let waker = {
            let mut inner = self.0.lock();
            set(&mut inner.signals);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands over finished work and wakes the connection.
    pub(super) fn finished(&self, finished: Finished) {
        let waker = {
            let mut inner = self.0.lock();
            inner.finished.push(finished);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes everything, and asks to be woken for more.
    pub(super) fn take(&self, cx: &Context<'_>, into: &mut Vec<Finished>) -> Signals {
        let mut inner = self.0.lock();
        match &mut inner.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        into.append(&mut inner.finished);
        inner.signals
    }
}
