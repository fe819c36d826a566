//! Work that has to wait for the disk: bounded, and executed by the readers.

use crate::{
    Batch, BatchOutcome, Completion, Now, OwnedRange, Page, PageLimits, ScanDone, ScannedPage,
    StoreError,
};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// Pieces of work that may wait.
const JOBS_MAX: usize = 64 * 1024;

/// What a piece of work asks.
pub(super) enum Job {
    Ops {
        now: Now,
        batch: Batch,
        done: Completion,
    },
    Scan {
        now: Now,
        range: OwnedRange,
        limits: PageLimits,
        done: ScanDone,
    },
}

impl Job {
    /// Answers that it was not done.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Ops { done, .. } => done(BatchOutcome::Failed(error)),
            Self::Scan { done, .. } => done(ScannedPage {
                items: Vec::new(),
                end: Page::Failed(error),
            }),
        }
    }
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    closing: bool,
}

/// Jobs in the order they came.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
}

impl Queue {
    /// Takes a job, or refuses it: too many wait, or nobody will come any more.
    pub(super) fn push(&self, job: Job) {
        let mut inner = self.inner.lock();
        if inner.closing || inner.jobs.len() >= JOBS_MAX {
            drop(inner);
            return job.refuse(StoreError::Unavailable);
        }
        inner.jobs.push_back(job);
        drop(inner);
        self.work.notify_one();
    }

    /// The next job; `None` when the queue is closed.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut inner = self.inner.lock();
        loop {
            if inner.closing {
                return None;
            }
            match inner.jobs.pop_front() {
                Some(job) => return Some(job),
                None => self.work.wait(&mut inner),
            }
        }
    }

    /// Refuses what waits and what comes.
    pub(super) fn close(&self) {
        let jobs = {
            let mut inner = self.inner.lock();
            inner.closing = true;
            std::mem::take(&mut inner.jobs)
        };
        self.work.notify_all();
        for job in jobs {
            job.refuse(StoreError::Unavailable);
        }
    }
}
