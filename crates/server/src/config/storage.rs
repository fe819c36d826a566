//! `[storage]`, checked.
//!
//! Owns what can be said about the store and the rules between its keys. Does not make an engine of
//! it. Invariant: a table of hot entries that the account of memory would never let fill is refused.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::Limits;
use super::mistake::{MistakeKind, Warning};
use super::read::Reader;

/// Memory for blocks of files when nobody chose and there is enough: most reads end in front of it.
const BASE_CACHE_BYTES: usize = 32 << 20;

/// How far below the first mark of the account an engine stays that evicts, in per cent: room for what
/// connections hold.
const EVICTION_PERCENT_BELOW: usize = 10;

/// `[storage]`.
#[derive(Clone, Debug)]
pub struct Storage {
    /// What keeps entries.
    pub engine: EngineChoice,
    /// The directory of the disk engine; `None` is a place of the account's own.
    pub data_dir: Option<PathBuf>,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Memory of the disk engine for entries; `None` is half of the memory the process plans with.
    pub cache_bytes: Option<NonZeroUsize>,
    /// Memory of the disk engine for blocks of its files; `None` is a little.
    pub base_cache_bytes: Option<NonZeroUsize>,
    /// How long the write-ahead log may become.
    pub log_bytes: NonZeroUsize,
    /// Free space below which writes are refused.
    pub min_free_bytes: NonZeroUsize,
    /// Threads that load entries.
    pub readers: NonZeroUsize,
    /// Whether to open what has lost acknowledged writes.
    pub accept_data_loss: bool,
    /// The memory the process plans with; `None` is half of what the machine has.
    pub memory_limit_bytes: Option<NonZeroUsize>,
    /// What a full memory engine does.
    pub eviction: Eviction,
}

/// What keeps entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineChoice {
    /// Tables in memory; nothing outlives the process.
    Memory,
    /// A log, a table of hot entries and ordered files.
    Disk,
}

impl EngineChoice {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk.
    Always,
    /// With the system, and on the disk so much later at most.
    Interval(Duration),
    /// With the system.
    Os,
}

impl Durability {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval(_) => "interval",
            Self::Os => "os",
        }
    }
}

/// What a full memory engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// Refuses writes.
    None,
    /// Removes what was not used for long.
    Lru,
    /// Removes what expires soonest.
    Ttl,
}

impl Storage {
    /// Memory of the disk engine for entries.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        let half = || (self.memory_limit().get() / 2).max(1);
        self.cache_bytes.map_or_else(half, NonZeroUsize::get)
    }

    /// Memory of the disk engine for blocks of its files.
    #[must_use]
    pub fn base_cache_bytes(&self) -> usize {
        let little = || (self.memory_limit().get() / 8).clamp(1, BASE_CACHE_BYTES);
        self.base_cache_bytes.map_or_else(little, NonZeroUsize::get)
    }

    /// The memory the process plans with.
    #[must_use]
    pub fn memory_limit(&self) -> NonZeroUsize {
        self.memory_limit_bytes
            .unwrap_or_else(crate::process::default_memory_limit)
    }

    /// What entries may take in the memory engine. One that evicts stays below the mark from which on
    /// the account refuses, which would otherwise refuse before anything is evicted.
    #[must_use]
    pub fn memory_engine_bytes(&self, limits: &Limits) -> usize {
        let limit = self.memory_limit().get();
        match self.eviction {
            Eviction::None => limit,
            Eviction::Lru | Eviction::Ttl => {
                let percent = limits.memory_refuse_streams_percent.get();
                let percent = percent.saturating_sub(EVICTION_PERCENT_BELOW).max(1);
                (limit / 100).saturating_mul(percent).max(1)
            }
        }
    }

    /// The durability that holds: the memory engine has none.
    #[must_use]
    pub const fn durability_name(&self) -> &'static str {
        match self.engine {
            EngineChoice::Memory => "none",
            EngineChoice::Disk => self.durability.name(),
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, limits: &Limits, warnings: &mut Vec<Warning>) -> Self {
        let storage = Self {
            engine: engine(r),
            data_dir: r.path("storage.data_dir"),
            durability: durability(r),
            cache_bytes: r.size_if_set("storage.cache_bytes"),
            base_cache_bytes: r.size_if_set("storage.base_cache_bytes"),
            log_bytes: r.size("storage.log_bytes"),
            min_free_bytes: r.size("storage.min_free_bytes"),
            readers: r.size("storage.readers"),
            accept_data_loss: r.bool("storage.accept_data_loss"),
            memory_limit_bytes: r.size_if_set("storage.memory_limit_bytes"),
            eviction: eviction(r),
        };
        match storage.engine {
            EngineChoice::Memory => storage.check_memory(r, warnings),
            EngineChoice::Disk => storage.check_disk(r, limits, warnings),
        }
        storage
    }

    fn check_memory(&self, r: &mut Reader<'_>, warnings: &mut Vec<Warning>) {
        for key in [
            "storage.data_dir",
            "storage.cache_bytes",
            "storage.base_cache_bytes",
        ] {
            if r.raw.explicit(key).is_some() {
                warnings.push(Warning::UnusedWithMemory { key });
            }
        }
    }

    fn check_disk(&self, r: &mut Reader<'_>, limits: &Limits, warnings: &mut Vec<Warning>) {
        match self.durability {
            Durability::Always => {}
            Durability::Interval(every) => warnings.push(Warning::DurabilityInterval { every }),
            Durability::Os => warnings.push(Warning::DurabilityOs),
        }
        if self.accept_data_loss {
            warnings.push(Warning::AcceptsDataLoss);
        }
        if self.eviction != Eviction::None {
            let rule = "the disk engine removes nothing for room: what leaves its memory stays on the disk";
            r.contradiction("storage.eviction", "storage.engine", rule);
        }
        let unreadable = |mistake: &super::Mistake| {
            mistake.key.starts_with("storage.") || mistake.key.starts_with("limits.memory_")
        };
        if r.mistakes.0.iter().any(unreadable) {
            return;
        }
        let percent = limits.memory_refuse_streams_percent.get();
        let room = self.memory_limit().get() / 100 * percent;
        let wanted = self.cache_bytes().saturating_add(self.base_cache_bytes());
        if wanted > room {
            let key = if self.base_cache_bytes.is_some() && self.cache_bytes.is_none() {
                "storage.base_cache_bytes"
            } else {
                "storage.cache_bytes"
            };
            let rule = "with storage.base_cache_bytes and storage.cache_bytes full, more than \
                        limits.memory_refuse_streams_percent of it would be in use and the server would \
                        refuse work for ever";
            r.contradiction(key, "storage.memory_limit_bytes", rule);
        }
    }
}

fn engine(r: &mut Reader<'_>) -> EngineChoice {
    match r.word("storage.engine") {
        Some("disk") => EngineChoice::Disk,
        Some("postgres") => {
            let kind = MistakeKind::NotYet {
                value: "postgres".to_owned(),
                instead: "\"disk\", whose entries outlive the process",
            };
            r.mistake("storage.engine", kind);
            EngineChoice::Disk
        }
        _ => EngineChoice::Memory,
    }
}

fn durability(r: &mut Reader<'_>) -> Durability {
    let every = r.time("storage.sync_interval");
    match r.word("storage.durability") {
        Some("interval") => Durability::Interval(every),
        Some("os") => Durability::Os,
        _ => Durability::Always,
    }
}

fn eviction(r: &mut Reader<'_>) -> Eviction {
    match r.word("storage.eviction") {
        Some("lru") => Eviction::Lru,
        Some("ttl") => Eviction::Ttl,
        _ => Eviction::None,
    }
}
