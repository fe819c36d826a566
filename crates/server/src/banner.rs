//! What a server says about itself when it is ready: where it listens, what it opened, how it is set
//! up.
//!
//! One line for each thing that somebody looks for. Owns the words only.

use std::time::Instant;

use crate::engine::Opened;
use crate::server::Server;
use crate::version;

/// Says it.
pub(crate) fn tell(server: &Server, began: Instant) {
    listeners(server);
    if let Some(opened) = server.opened() {
        store(opened);
    }
    memory(server);
    ready(server, began);
}

fn listeners(server: &Server) {
    if let Ok(address) = server.native_address() {
        let tls = server.config().native.tls;
        tracing::info!(listener = "native", %address, tls, "listening");
    }
    if let Some(address) = server.admin_address() {
        tracing::info!(listener = "admin", %address, "listening");
    }
    if let Some((path, made)) = server.dev_key() {
        let path = path.display();
        if made {
            tracing::info!(%path, "made the key `dev` for clients on this account");
        } else {
            tracing::info!(%path, "clients on this account use the key `dev`");
        }
    }
}

/// The data directory, and what a person should know about it.
fn store(opened: &Opened) {
    let data_dir = opened.directory.display();
    let recovery = &opened.recovery;
    if recovery.new {
        tracing::info!(%data_dir, "made a store in the data directory");
    } else {
        tracing::info!(
            %data_dir,
            keys = recovery.keys,
            log_groups = recovery.log_groups,
            recovery_us = micros(recovery.took),
            "opened the data directory"
        );
    }
    if let Some(behind) = recovery.lost_behind {
        tracing::warn!(
            position = behind,
            "acknowledged writes behind this position are missing; the store goes on without them, as \
             storage.accept_data_loss says"
        );
    }
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            torn_bytes = recovery.torn_bytes,
            "the log ends in writes that a crash left unfinished; they are dropped. With \
             storage.durability = \"always\" none of them was acknowledged"
        );
    }
    if let Some(mode) = opened.loose_mode {
        tracing::warn!(
            %data_dir,
            mode = format_args!("{mode:04o}"),
            "the data directory is open to others than its owner"
        );
    }
}

fn memory(server: &Server) {
    let (worst_case, memory_limit) = server.memory_plan();
    if worst_case > memory_limit {
        tracing::warn!(
            worst_case_bytes = worst_case,
            memory_limit_bytes = memory_limit,
            connections_max = server.connections_max(),
            "peers at all their limits would hold more than the server plans to: connections x (32 KiB + \
             limits.max_frame_bytes + limits.output_hard_bytes) + limits.max_partial_bytes; it refuses \
             work and sheds connections before that (docs/operating/limits.md)"
        );
    }
}

fn ready(server: &Server, began: Instant) {
    let storage = &server.config().storage;
    let opened = server.opened();
    let data_dir = opened.map(|opened| opened.directory.display().to_string());
    let (worst_case, memory_limit) = server.memory_plan();
    tracing::info!(
        version = version::VERSION,
        commit = version::COMMIT,
        engine = storage.engine.name(),
        durability = storage.durability_name(),
        data_dir = data_dir.as_deref(),
        keys = server.keys_stored(),
        recovery_us = opened.map(|opened| micros(opened.recovery.took)),
        cache_bytes = opened.map(|_| storage.cache_bytes()),
        start_us = micros(began.elapsed()),
        connections_max = server.connections_max(),
        worst_case_bytes = worst_case,
        memory_limit_bytes = memory_limit,
        "ready"
    );
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
