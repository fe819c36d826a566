//! An engine that can be backed up, around one that cannot.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kv_store::{
    Atomic, Batch, Capture, Completion, Engine, Entry, Now, Op, OwnedEntry, OwnedRange, Page,
    PageLimits, Position, ScanDone, ScanRange, Sink, Stats, StoreError,
};

/// Copies everything at the moment of the capture, and can be told to break a capture off.
pub struct CaptureEngine {
    inner: Arc<dyn Engine>,
    /// How many entries a capture shows before it fails; `None`: all.
    fails_after: Option<usize>,
}

impl CaptureEngine {
    /// Around `inner`, which nobody else may write to during a capture.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        let fails_after = None;
        Arc::new(Self { inner, fails_after })
    }

    /// As [`CaptureEngine::new`]; its captures end as corrupt after so many entries.
    #[must_use]
    pub fn failing(inner: Arc<dyn Engine>, after: usize) -> Arc<Self> {
        let fails_after = Some(after);
        Arc::new(Self { inner, fails_after })
    }
}

struct Copied {
    items: VecDeque<(Bytes, OwnedEntry)>,
    len: u64,
    left: Option<usize>,
}

impl Capture for Copied {
    fn page(&mut self, limits: PageLimits, visit: &mut dyn FnMut(&[u8], Entry<'_>)) -> Page {
        let mut bytes = 0_usize;
        for _ in 0..limits.items.max(1) {
            if self.left == Some(0) {
                return Page::Failed(StoreError::Corrupt);
            }
            let Some((key, entry)) = self.items.pop_front() else {
                return Page::Done;
            };
            self.left = self.left.map(|left| left.saturating_sub(1));
            visit(&key, entry.as_entry());
            bytes = bytes
                .saturating_add(key.len())
                .saturating_add(entry.value.len());
            if bytes >= limits.bytes {
                break;
            }
        }
        Page::More
    }

    fn len_hint(&self) -> u64 {
        self.len
    }
}

impl Engine for CaptureEngine {
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize {
        self.inner.run(now, ops, sink)
    }

    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position) {
        self.inner.run_atomic(now, ops, sink)
    }

    fn submit(&self, now: Now, batch: Batch, done: Completion) {
        self.inner.submit(now, batch, done);
    }

    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page {
        self.inner.scan(now, range, limits, visit)
    }

    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone) {
        self.inner.submit_scan(now, range, limits, done);
    }

    fn sweep(&self, now: Now, budget: usize) -> usize {
        self.inner.sweep(now, budget)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn capture(&self, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        let mut items = VecDeque::new();
        let mut last: Option<Bytes> = None;
        loop {
            let range = ScanRange {
                after: last.as_deref(),
                ..ScanRange::default()
            };
            let limits = PageLimits {
                items: 1_000,
                bytes: usize::MAX,
            };
            let page = self.inner.scan(now, range, limits, &mut |key, entry| {
                items.push_back((Bytes::copy_from_slice(key), entry.to_owned_entry()));
            });
            last = items.back().map(|(key, _)| key.clone());
            match page {
                Page::Done => break,
                Page::More => {}
                Page::NotNow => return Err(StoreError::Unavailable),
                Page::Failed(error) => return Err(error),
            }
        }
        let len = u64::try_from(items.len()).unwrap_or(u64::MAX);
        Ok(Box::new(Copied {
            items,
            len,
            left: self.fails_after,
        }))
    }
}
