//! The seam between the service and whatever keeps the entries.

use crate::{
    Batch, Completion, DiskStats, Durable, Entry, Health, Now, Op, OwnedEntry, OwnedRange,
    Position, Sink, StoreError, Wake,
};
use bytes::Bytes;

/// Keeps entries.
///
/// Every engine promises: each key is linearizable; versions come from one strictly increasing
/// counter over the whole store; an entry that has expired is never returned again, also after
/// the caller's clock goes back; an atomic batch is applied whole or not at all; a page is
/// consistent.
///
/// An outcome may come before what it depends on is durable: it carries a [`Position`], and nobody
/// may be shown it before [`Engine::durable`] has passed that. What comes through a completion is
/// durable already.
///
/// Times passed in may go back; an engine works with the latest it has seen.
pub trait Engine: Send + Sync + 'static {
    /// Executes `ops` strictly in order and gives each outcome to `sink` while the entry is
    /// borrowed. What can be looked up ahead for the whole run is.
    ///
    /// Stops in front of the first operation that cannot be answered at once, and returns how
    /// many were executed: the rest goes through [`Engine::submit`].
    fn run(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> usize;

    /// Executes all of `ops`, or none when a condition fails or a value is of the wrong kind.
    /// Later operations see the effects of earlier ones. `sink` is called only when the batch is
    /// applied. The position is that of the whole, also of a refusal.
    fn run_atomic(&self, now: Now, ops: &[Op<'_>], sink: &mut dyn Sink) -> (Atomic, Position);

    /// Executes owned operations; `done` is called exactly once, from any thread, possibly
    /// before this returns.
    fn submit(&self, now: Now, batch: Batch, done: Completion);

    /// Shows one consistent page of entries to `visit`, in key order or descending.
    ///
    /// The cursor is the last key seen and stays with the caller. `visit` must not call the
    /// engine.
    fn scan(
        &self,
        now: Now,
        range: ScanRange<'_>,
        limits: PageLimits,
        visit: &mut dyn FnMut(&[u8], Entry<'_>),
    ) -> Page;

    /// The owned twin of [`Engine::scan`]; `done` is called exactly once, from any thread,
    /// possibly before this returns.
    fn submit_scan(&self, now: Now, range: OwnedRange, limits: PageLimits, done: ScanDone);

    /// Removes expired entries, looking at about `budget` at most; returns how many it removed.
    fn sweep(&self, now: Now, budget: usize) -> usize;

    /// Figures about the store. Cheap enough to be asked once a second.
    fn stats(&self) -> Stats;

    /// How much of what was answered may be shown. Cheap: one or two loads.
    fn durable(&self) -> Durable {
        Durable {
            through: Position::END,
            failed: false,
        }
    }

    /// Begins to make durable what was executed. Whoever shows outcomes calls this when it has no
    /// more to execute for the moment: until then the engine may gather.
    fn flush(&self) {}

    /// Has `wake` called from now on whenever [`Engine::durable`] changes.
    fn on_durable(&self, wake: Wake) {
        drop(wake);
    }

    /// How the engine is.
    fn health(&self) -> Health {
        Health::Good
    }

    /// What went wrong since this was asked last, in words for the operator; the first sixteen.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Figures that only an engine with a disk has.
    fn disk_stats(&self) -> Option<DiskStats> {
        None
    }

    /// All entries as they are at this moment, for a backup.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] when the engine cannot; what hinders it otherwise.
    fn capture(&self, now: Now) -> Result<Box<dyn Capture>, StoreError> {
        let _ = now;
        Err(StoreError::Unsupported)
    }

    /// Makes everything durable and ends. Blocks. What is called later fails; the disk is free for
    /// another engine when this one is dropped.
    fn close(&self) {}
}

/// A store as it was at one moment, read page by page in ascending key order. Reading may block:
/// keep it off threads that serve connections.
pub trait Capture: Send {
    /// Shows the next entries; [`Page::Done`] when there are no more behind them.
    fn page(&mut self, limits: PageLimits, visit: &mut dyn FnMut(&[u8], Entry<'_>)) -> Page;

    /// About how many entries there are in all.
    fn len_hint(&self) -> u64;
}

/// What became of [`Engine::run_atomic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomic {
    /// Every operation was applied, every outcome given to the sink.
    Applied,
    /// A condition failed; nothing was applied.
    Conflict {
        /// Which operation's.
        index: usize,
        /// The version its entry would have had then, 0 when there would be none.
        version: u64,
    },
    /// An Incr met something that is not a number; nothing was applied.
    WrongType {
        /// Which operation.
        index: usize,
    },
    /// The engine could not; nothing was applied, unless the error says otherwise.
    Failed {
        /// Which operation.
        index: usize,
        /// Why.
        error: StoreError,
    },
    /// Cannot be answered at once; use [`Engine::submit`]. Nothing was applied.
    NotNow,
}

/// Which keys a page is taken from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanRange<'a> {
    /// Only keys that begin with this.
    pub prefix: &'a [u8],
    /// Only keys behind this one in the direction of the scan: the last key seen.
    pub after: Option<&'a [u8]>,
    /// Descending instead of ascending.
    pub reverse: bool,
}

/// How large a page may become. An engine may stop earlier.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// At most this many entries; 0 is taken as 1, so that a scan always advances.
    pub items: usize,
    /// No further entry once keys and values together reach this; the first always fits.
    pub bytes: usize,
}

/// How a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Nothing lies behind it.
    Done,
    /// Ask again with the last key shown. A page may show nothing and still end this way (the
    /// work of one call is bounded, and building an index is work): ask again with the same
    /// cursor, after giving others a turn. Each call advances, so this ends.
    More,
    /// Cannot be answered at once; use [`Engine::submit_scan`]. Nothing was shown.
    NotNow,
    /// The engine could not; what was shown is right, but not all.
    Failed(StoreError),
}

/// A page with its bytes.
#[derive(Clone, Debug)]
pub struct ScannedPage {
    /// Keys and entries in the order of the scan.
    pub items: Vec<(Bytes, OwnedEntry)>,
    /// How it ended; never [`Page::NotNow`].
    pub end: Page,
}

/// Called exactly once with the page [`Engine::submit_scan`] was asked for.
pub type ScanDone = Box<dyn FnOnce(ScannedPage) + Send>;

/// Figures about a store. Totals count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries, those included that have expired and were not yet removed.
    pub keys: u64,
    /// Of these, entries with an expiry.
    pub keys_expiring: u64,
    /// Bytes of entries, tables and indexes.
    pub memory_bytes: u64,
    /// What `memory_bytes` may not exceed.
    pub memory_limit_bytes: Option<u64>,
    /// Look-ups that found an entry.
    pub hits_total: u64,
    /// Look-ups that found none.
    pub misses_total: u64,
    /// Entries removed because they had expired.
    pub expired_total: u64,
    /// Entries removed to make room.
    pub evicted_total: u64,
    /// The latest version given to an entry.
    pub version: u64,
}
