//! Where a measured server keeps what is written, and how each system is told so.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use rustix::fs::statfs;

use super::Kind;

/// What the magic number of a file system in memory is.
const TMPFS: u64 = 0x0102_1994;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// When it is on the disk.
    Always,
    /// When the system has it; it is synced once a second.
    Interval,
    /// When the system has it.
    Os,
}

impl Durability {
    /// The name in shapes and in kv's configuration.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::Os => "os",
        }
    }

    const fn of_redis(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "everysec",
            Self::Os => "no",
        }
    }
}

/// Where entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In memory only.
    Memory,
    /// On disk, in the server's own directory.
    Disk {
        /// When a write is acknowledged.
        durability: Durability,
        /// kv's table of entries in use, in MiB; its default when absent.
        cache_mib: Option<u64>,
    },
}

impl Storage {
    /// The part of kv's configuration.
    #[must_use]
    pub(super) fn of_kv(self, directory: &Path) -> String {
        match self {
            Self::Memory => "[storage]\nengine = \"memory\"\n".to_owned(),
            Self::Disk {
                durability,
                cache_mib,
            } => {
                let cache = cache_mib
                    .map(|mib| format!("cache_bytes = \"{mib}MiB\"\n"))
                    .unwrap_or_default();
                format!(
                    "[storage]\nengine = \"disk\"\ndata_dir = {:?}\ndurability = \"{}\"\n{cache}",
                    directory.join("entries").display().to_string(),
                    durability.name()
                )
            }
        }
    }

    /// The arguments of Redis and Valkey.
    #[must_use]
    pub(super) fn of_redis(self) -> Vec<&'static str> {
        match self {
            Self::Memory => vec!["--save", "", "--appendonly", "no"],
            Self::Disk { durability, .. } => vec![
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                durability.of_redis(),
            ],
        }
    }

    /// For the record: how a system is told.
    #[must_use]
    pub(super) fn describe(self, kind: Kind) -> String {
        match (kind, self) {
            (Kind::Kv, Self::Memory) => "engine memory".to_owned(),
            (
                Kind::Kv,
                Self::Disk {
                    durability,
                    cache_mib,
                },
            ) => {
                let cache = cache_mib.map(|mib| format!(", table of {mib} MiB"));
                format!(
                    "engine disk, durability {}{}",
                    durability.name(),
                    cache.unwrap_or_default()
                )
            }
            (_, Self::Memory) => "--save '' --appendonly no".to_owned(),
            (_, Self::Disk { durability, .. }) => format!(
                "--save '' --appendonly yes --appendfsync {}",
                durability.of_redis()
            ),
        }
    }
}

/// Fails where a sync costs nothing, because what is synced is in memory anyway.
///
/// # Errors
/// When the directory is in memory, or cannot be looked at.
pub(crate) fn ensure_on_disk(directory: &Path) -> Result<()> {
    let system = statfs(directory)?;
    ensure!(
        u64::try_from(system.f_type) != Ok(TMPFS),
        "{} is in memory, where a sync costs nothing; --directory names one on a disk",
        directory.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Storage = Storage::Disk {
        durability: Durability::Interval,
        cache_mib: Some(64),
    };

    #[test]
    fn both_are_told_the_same_in_their_own_words() {
        let kv = DISK.of_kv(Path::new("/a\"b"));
        assert!(kv.contains("data_dir = \"/a\\\"b/entries\""), "{kv}");
        assert!(kv.contains("durability = \"interval\""), "{kv}");
        assert!(kv.contains("cache_bytes = \"64MiB\""), "{kv}");
        assert_eq!(DISK.of_redis().last(), Some(&"everysec"));
        assert!(Storage::Memory.of_kv(Path::new("/x")).contains("memory"));
        assert_eq!(Storage::Memory.of_redis().last(), Some(&"no"));
    }

    #[test]
    fn what_is_told_of_a_system_names_when_it_acknowledges() {
        assert!(DISK.describe(Kind::Kv).contains("durability interval"));
        assert!(DISK.describe(Kind::Redis).contains("everysec"));
        assert!(Storage::Memory.describe(Kind::Kv).contains("memory"));
    }

    #[test]
    fn a_directory_in_memory_is_no_place_for_what_is_to_last() {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            let error = ensure_on_disk(memory).unwrap_err().to_string();
            assert!(error.contains("--directory"), "{error}");
        }
        assert!(ensure_on_disk(Path::new("/no/such/directory")).is_err());
    }
}
