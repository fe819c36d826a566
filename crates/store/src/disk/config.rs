//! What a disk engine is opened with, and why it may refuse to open.

use crate::Now;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk: it survives a power cut.
    #[default]
    Always,
    /// Handed to the operating system: it survives a kill of the process. On disk within the
    /// interval: a power cut loses what was acknowledged since then.
    Interval(Duration),
    /// Handed to the operating system, which writes it when it sees fit.
    Os,
}

impl Durability {
    /// The word the configuration has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval(_) => "interval",
            Self::Os => "os",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no [`Durability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("durability is one of always, interval, os")]
pub struct UnknownDurability;

impl FromStr for Durability {
    type Err = UnknownDurability;

    /// `interval` is one second.
    fn from_str(word: &str) -> Result<Self, UnknownDurability> {
        match word {
            "always" => Ok(Self::Always),
            "interval" => Ok(Self::Interval(Duration::from_secs(1))),
            "os" => Ok(Self::Os),
            _ => Err(UnknownDurability),
        }
    }
}

/// What a disk engine is opened with.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// The data directory; made if absent.
    pub dir: PathBuf,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// What entries and tables in memory may take. Entries that are not in the base yet stay in
    /// memory, at most half of this for long.
    pub cache_bytes: u64,
    /// How much log is kept before what it holds is carried to the base. More makes carrying
    /// cheaper (a key written often is carried once) and opening after a crash slower.
    pub log_bytes: u64,
    /// What the base may take for its own cache of blocks.
    pub base_cache_bytes: u64,
    /// With less than this free on the file system, writes that need room are refused.
    pub min_free_bytes: u64,
    /// Open although acknowledged writes are missing.
    pub accept_data_loss: bool,
    /// Threads that look up what is not in memory; 0 is taken as 1.
    pub readers: usize,
    /// The time; the engine's clock does not begin before the latest it has seen.
    pub now: Now,
}

impl DiskConfig {
    /// The defaults for a data directory, with 256 MiB of memory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, now: Now) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::Always,
            cache_bytes: 256 << 20,
            log_bytes: 512 << 20,
            base_cache_bytes: 32 << 20,
            min_free_bytes: 256 << 20,
            accept_data_loss: false,
            readers: 2,
            now,
        }
    }
}

/// Why a data directory was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "{dir}: another process has this data directory open; stop it, or use another directory"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// Something in it is damaged.
    #[error("{what}; restore a backup, or look at the directory with `kv-server verify`")]
    Corrupt {
        /// What, and where.
        what: String,
    },
    /// It ends before writes that were acknowledged.
    #[error(
        "{dir}: the store ends at position {recovered}, but writes up to {acknowledged} were acknowledged: \
         a part of it is missing. Restore a backup, or set storage.accept_data_loss = true to go on without \
         those writes"
    )]
    Behind {
        /// The directory.
        dir: PathBuf,
        /// Where it ends.
        recovered: u64,
        /// What was acknowledged.
        acknowledged: u64,
    },
    /// A newer version of the program wrote it.
    #[error("{what}; use the version that wrote it")]
    Newer {
        /// What is newer.
        what: String,
    },
    /// Its parts do not belong together.
    #[error("{what}: a part of another store was copied into this data directory")]
    OtherStore {
        /// Which part.
        what: String,
    },
    /// The disk is full.
    #[error("{dir}: the disk is full; make room and start again")]
    NoSpace {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, and where.
        what: String,
        /// Its answer.
        #[source]
        error: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_durability_has_one_word() {
        for word in ["always", "interval", "os"] {
            assert_eq!(word.parse::<Durability>().unwrap().to_string(), word);
        }
        assert_eq!("never".parse::<Durability>(), Err(UnknownDurability));
    }
}
