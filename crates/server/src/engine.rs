//! Makes the engine the configuration asks for.
//!
//! The one place that knows which engines there are. Does not own what the settings mean (the store's)
//! or whether they fit together (the configuration's).

use std::num::NonZeroU64;
use std::sync::Arc;

use kv_service::Engine;
use kv_store::{MemoryConfig, MemoryEngine};

use crate::config::{self, Config, EngineChoice};

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine exists in the configuration only.
    #[error("storage.engine = \"disk\" is not yet available in this version; use \"memory\"")]
    NotYet,
}

/// Makes it.
///
/// # Errors
/// [`EngineError`]; nothing stays open.
pub(crate) fn make(config: &Config) -> Result<Arc<dyn Engine>, EngineError> {
    match config.storage.engine {
        EngineChoice::Memory => Ok(Arc::new(memory(config))),
        EngineChoice::Disk => Err(EngineError::NotYet),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// R7: without a limit in the configuration the engine has the account's.
    #[test]
    fn the_memory_engine_is_always_bounded() {
        let memory_of = |text: &str| {
            let text = format!("[storage]\nengine = \"memory\"\n{text}");
            let config = config::parse("kv.toml".as_ref(), &text).unwrap().config;
            make(&config).unwrap().stats().memory_limit_bytes
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
}
