//! `[storage]`: what goes together, and what an operator is warned of.

use super::super::*;
use super::{FILE, parsed, refused};

/// The engine and what `[storage]` says besides.
fn with(engine: &str, text: &str) -> String {
    format!("[storage]\nengine = \"{engine}\"\n{text}\n")
}

fn warnings(engine: &str, text: &str) -> Vec<Warning> {
    parse(std::path::Path::new(FILE), &with(engine, text))
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .warnings
}

#[test]
fn what_the_disk_engine_does_is_typed_and_has_the_documented_defaults() {
    let storage = parsed(&with("disk", "memory_limit_bytes = \"1GiB\"")).storage;
    assert_eq!(storage.engine, EngineChoice::Disk);
    assert_eq!(storage.durability, Durability::Always);
    assert_eq!(storage.data_dir, None);
    assert_eq!(storage.cache_bytes(), 512 << 20, "half of the limit");
    assert_eq!(storage.base_cache_bytes(), 32 << 20);
    assert_eq!(storage.log_bytes.get(), 512 << 20);
    assert_eq!(storage.min_free_bytes.get(), 256 << 20);
    assert!(!storage.accept_data_loss);
    let storage = parsed(&with("disk", "data_dir = \"data\"\nreaders = 9")).storage;
    let beside_the_file = std::path::Path::new("/etc/kv/data");
    assert_eq!(storage.data_dir.as_deref(), Some(beside_the_file));
    assert_eq!(storage.readers.get(), 9);
    let little = parsed(&with("disk", "memory_limit_bytes = \"16MiB\"")).storage;
    let little = (little.cache_bytes(), little.base_cache_bytes());
    assert_eq!(little, (8 << 20, 2 << 20));
}

#[test]
fn a_durability_that_loses_something_is_warned_of_with_its_window() {
    assert_eq!(warnings("disk", ""), []);
    let interval = warnings(
        "disk",
        "durability = \"interval\"\nsync_interval = \"250ms\"",
    );
    let every = Duration::from_millis(250);
    assert_eq!(interval, [Warning::DurabilityInterval { every }]);
    assert!(interval[0].to_string().contains("up to 250ms"));
    assert_eq!(
        warnings("disk", "durability = \"os\""),
        [Warning::DurabilityOs]
    );
    let lossy = warnings("disk", "accept_data_loss = true");
    assert_eq!(lossy, [Warning::AcceptsDataLoss]);
}

#[test]
fn keys_without_effect_on_the_memory_engine_are_warned_of() {
    assert_eq!(warnings("memory", ""), []);
    let key = "storage.data_dir";
    assert_eq!(
        warnings("memory", "data_dir = \"/var/lib/kv\""),
        [Warning::UnusedWithMemory { key }]
    );
    assert_eq!(
        warnings("memory", "durability = \"os\"\naccept_data_loss = true"),
        [],
        "it promises nothing that they could weaken"
    );
}

#[test]
fn the_disk_engine_evicts_nothing() {
    for eviction in ["lru", "ttl"] {
        let message = refused(&with("disk", &format!("eviction = \"{eviction}\"")));
        assert!(
            message.contains("`storage.eviction` contradicts `storage.engine`"),
            "{message}"
        );
    }
    parsed(&with("disk", "eviction = \"none\""));
}

#[test]
fn a_table_that_the_account_of_memory_would_never_let_fill_is_refused() {
    let limit = "memory_limit_bytes = \"1GiB\"";
    parsed(&with("disk", &format!("{limit}\ncache_bytes = \"700MiB\"")));
    let message = refused(&with("disk", &format!("{limit}\ncache_bytes = \"800MiB\"")));
    assert!(
        message.contains("`storage.cache_bytes` contradicts `storage.memory_limit_bytes`"),
        "{message}"
    );
    let message = refused(&with(
        "disk",
        &format!("{limit}\nbase_cache_bytes = \"512MiB\""),
    ));
    assert!(
        message.contains("`storage.base_cache_bytes` contradicts"),
        "{message}"
    );
    // One mistake is one message.
    let message = refused(&with("disk", &format!("{limit}\ncache_bytes = \"much\"")));
    assert!(message.contains("1 mistake"), "{message}");
    parsed(&with("memory", limit));
}

#[test]
fn the_memory_engine_evicts_what_it_is_told_to() {
    for (name, eviction) in [
        ("none", Eviction::None),
        ("lru", Eviction::Lru),
        ("ttl", Eviction::Ttl),
    ] {
        let storage = parsed(&with("memory", &format!("eviction = \"{name}\""))).storage;
        assert_eq!(storage.eviction, eviction);
    }
}

#[test]
fn what_does_not_exist_yet_is_said() {
    assert!(refused(&with("postgres", "")).contains("not yet available"));
}
