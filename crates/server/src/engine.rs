//! Makes the engine the configuration asks for.
//!
//! The one place that knows which engines there are, and where entries are kept when nobody says.
//! Does not own what the settings mean (the store's) or whether they fit together (the
//! configuration's).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kv_service::{Clock as _, Engine, SystemClock};
use kv_store::{DiskConfig, DiskEngine, MemoryConfig, MemoryEngine, OpenError, Recovery};

use crate::config::{self, Config, EngineChoice, Storage};
use crate::devkey;
use crate::exit::Exit;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Nothing says where to keep entries.
    #[error(
        "storage.data_dir is not set, and neither XDG_STATE_HOME nor HOME says where to keep entries; \
         set one of them, or use storage.engine = \"memory\", which keeps nothing"
    )]
    NoPlace,
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store in it cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl EngineError {
    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoPlace => Exit::Config,
            Self::Directory { .. } => Exit::Failure,
            Self::Open(error) => exit_of(error),
        }
    }
}

/// Whether a person has to look, or the next try may do better.
pub(crate) fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::NoSpace { .. } | OpenError::Io { .. } => Exit::Failure,
        _ => Exit::Data,
    }
}

/// An engine, and what there is to say about its start.
pub(crate) struct Made {
    pub(crate) engine: Arc<dyn Engine>,
    /// `None` for an engine that had nothing to open.
    pub(crate) opened: Option<Opened>,
}

/// A data directory that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Where it is.
    pub directory: PathBuf,
    /// Its permission bits, when others than its owner may look into it.
    pub loose_mode: Option<u32>,
    /// What was found in it.
    pub recovery: Recovery,
}

/// Makes it. Blocks for as long as recovery takes.
///
/// # Errors
/// [`EngineError`]; nothing stays open.
pub(crate) fn make(config: &Config) -> Result<Made, EngineError> {
    let storage = &config.storage;
    match storage.engine {
        EngineChoice::Memory => Ok(Made {
            engine: Arc::new(memory(config)),
            opened: None,
        }),
        EngineChoice::Disk => disk(storage),
    }
}

/// The memory engine, bounded by what the process plans to hold: what the account refuses above its
/// thresholds is counted now and then, the engine's own bound holds for every write.
fn memory(config: &Config) -> MemoryEngine {
    let limit = config.storage.memory_engine_bytes(&config.limits);
    MemoryEngine::new(MemoryConfig {
        memory_limit_bytes: u64::try_from(limit).ok().and_then(NonZeroU64::new),
        eviction: match config.storage.eviction {
            config::Eviction::None => kv_store::Eviction::None,
            config::Eviction::Lru => kv_store::Eviction::Lru,
            config::Eviction::Ttl => kv_store::Eviction::Ttl,
        },
    })
}

fn disk(storage: &Storage) -> Result<Made, EngineError> {
    let directory = data_dir(storage, |name| std::env::var_os(name)).ok_or(EngineError::NoPlace)?;
    let unmade = |source| EngineError::Directory {
        path: directory.clone(),
        source,
    };
    devkey::private_directory()
        .create(&directory)
        .map_err(unmade)?;
    let metadata = fs::metadata(&directory).map_err(unmade)?;
    let engine = DiskEngine::open(&settings(storage, &directory))?;
    let opened = Opened {
        loose_mode: config::loose_mode(&metadata),
        recovery: engine.recovery().clone(),
        directory,
    };
    Ok(Made {
        engine: Arc::new(engine),
        opened: Some(opened),
    })
}

fn settings(storage: &Storage, directory: &Path) -> DiskConfig {
    let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    DiskConfig {
        dir: directory.to_owned(),
        durability: match storage.durability {
            config::Durability::Always => kv_store::Durability::Always,
            config::Durability::Interval(every) => kv_store::Durability::Interval(every),
            config::Durability::Os => kv_store::Durability::Os,
        },
        cache_bytes: bytes(storage.cache_bytes()),
        log_bytes: bytes(storage.log_bytes.get()),
        base_cache_bytes: bytes(storage.base_cache_bytes()),
        min_free_bytes: bytes(storage.min_free_bytes.get()),
        accept_data_loss: storage.accept_data_loss,
        readers: storage.readers.get(),
        now: SystemClock::default().now(),
    }
}

/// Where entries are: as configured, else `$XDG_STATE_HOME/kv/data`, else `~/.local/state/kv/data`.
#[must_use]
pub(crate) fn data_dir(
    storage: &Storage,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    storage
        .data_dir
        .clone()
        .or_else(|| Some(devkey::state_directory(environment)?.join("data")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> Config {
        let text = format!("[storage]\n{text}\n");
        let loaded = config::parse("/etc/kv.toml".as_ref(), &text);
        loaded
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config
    }

    /// R7: without a limit in the configuration the engine has the account's.
    #[test]
    fn the_memory_engine_is_always_bounded() {
        let memory_of = |text: &str| {
            let made = make(&configured(&format!("engine = \"memory\"\n{text}"))).unwrap();
            assert!(made.opened.is_none());
            made.engine.stats().memory_limit_bytes
        };
        let half = crate::process::default_memory_limit().get();
        assert_eq!(memory_of(""), u64::try_from(half).ok());
        assert_eq!(memory_of("memory_limit_bytes = \"64MiB\""), Some(64 << 20));
        // What evicts must fill before the account refuses.
        for eviction in ["lru", "ttl"] {
            let text = format!("memory_limit_bytes = \"100MiB\"\neviction = \"{eviction}\"");
            assert_eq!(memory_of(&text), Some(70 << 20));
        }
    }

    #[test]
    fn entries_are_kept_where_the_account_keeps_state_unless_told() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".into());
        let found = data_dir(&configured("").storage, home);
        assert_eq!(found, Some("/home/a/.local/state/kv/data".into()));
        let told = configured("data_dir = \"/var/lib/kv\"").storage;
        assert_eq!(data_dir(&told, home), Some("/var/lib/kv".into()));
        assert_eq!(data_dir(&configured("").storage, |_| None), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_data_directory_is_made_for_its_owner_and_opened_by_one_at_a_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/data");
        let config = configured(&format!("engine = \"disk\"\ndata_dir = {directory:?}"));
        let made = make(&config).unwrap();
        let opened = made.opened.unwrap();
        assert_eq!(
            (opened.directory.as_path(), opened.loose_mode),
            (&*directory, None)
        );
        let mode = fs::metadata(&directory).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let second = make(&config).err().map(|error| error.to_string());
        assert!(second.unwrap().contains("data"));
        made.engine.close();
    }
}
