//! INFO and CLIENTS: what the server says about itself, as typed values.

use std::time::SystemTime;

use kv_proto::typed::Writer;
use kv_service::{DiskStats, Door, Health};

use crate::shared::Shared;

/// What to tell somebody who asks for a section that does not exist.
pub(crate) const SECTIONS_HINT: &str = "unknown section; there are `server`, `clients`, `memory`, `stats`, `keyspace` and `storage`, empty is all";

/// A section: its name and how many entries its map has, and how it is written.
type Section = (&'static str, fn(&Shared, &mut Writer<'_>));

const SECTIONS: &[Section] = &[
    ("server", server),
    ("clients", clients_section),
    ("memory", memory),
    ("stats", stats),
    ("keyspace", keyspace),
    ("storage", storage),
];

/// The value of INFO; `None` for an unknown section.
pub(crate) fn info(shared: &Shared, section: &[u8]) -> Option<Vec<u8>> {
    let wanted: Vec<&Section> = SECTIONS
        .iter()
        .filter(|(name, _)| section.is_empty() || section == name.as_bytes())
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(512);
    let mut writer = Writer::new(&mut out);
    writer.map(wanted.len());
    for (name, write) in wanted {
        writer.str(name);
        write(shared, &mut writer);
    }
    let done = writer.finish();
    debug_assert!(done.is_ok());
    Some(out)
}

fn server(shared: &Shared, writer: &mut Writer<'_>) {
    writer.map(7);
    writer.str("name").str("kv-server");
    writer.str("version").str(crate::VERSION);
    writer.str("commit").str(crate::COMMIT);
    writer.str("pid").uint(u64::from(std::process::id()));
    writer
        .str("engine")
        .str(shared.config.storage.engine.name());
    writer
        .str("uptime_seconds")
        .uint(shared.started.elapsed().as_secs());
    writer
        .str("started_unix_seconds")
        .uint(unix_seconds(shared.started_wall));
}

fn clients_section(shared: &Shared, writer: &mut Writer<'_>) {
    writer.map(3);
    writer.str("connections").uint(count(shared.registry.len()));
    writer
        .str("connections_max")
        .uint(count(shared.connections_max));
    writer
        .str("in_flight")
        .uint(shared.metrics.in_flight(Door::Native));
}

fn memory(shared: &Shared, writer: &mut Writer<'_>) {
    let stats = shared.service.stats();
    writer.map(3);
    writer.str("store_bytes").uint(stats.memory_bytes);
    writer.str("store_limit_bytes");
    match stats.memory_limit_bytes {
        Some(limit) => writer.uint(limit),
        None => writer.nil(),
    };
    writer
        .str("connections_bytes")
        .uint(shared.connection_bytes());
}

fn stats(shared: &Shared, writer: &mut Writer<'_>) {
    let stats = shared.service.stats();
    let (received, sent) = shared.metrics.network_bytes();
    writer.map(7);
    writer
        .str("requests_total")
        .uint(shared.metrics.requests_total());
    writer.str("received_bytes").uint(received);
    writer.str("sent_bytes").uint(sent);
    writer.str("lookup_hits").uint(stats.hits_total);
    writer.str("lookup_misses").uint(stats.misses_total);
    writer.str("expired").uint(stats.expired_total);
    writer.str("evicted").uint(stats.evicted_total);
}

fn keyspace(shared: &Shared, writer: &mut Writer<'_>) {
    let stats = shared.service.stats();
    writer.map(3);
    writer.str("keys").uint(stats.keys);
    writer.str("keys_expiring").uint(stats.keys_expiring);
    writer.str("version").uint(stats.version);
}

fn storage(shared: &Shared, writer: &mut Writer<'_>) {
    let config = &shared.config.storage;
    let (state, why) = match shared.service.health() {
        Health::Good => ("good", None),
        Health::Degraded(why) => ("degraded", Some(why)),
        Health::Full(why) => ("full", Some(why)),
        Health::Failed(why) => ("failed", Some(why)),
    };
    let figures = shared.service.disk_stats().map(figures);
    let figures = figures.as_ref().map_or(&[][..], |figures| figures);
    writer.map(4 + figures.len());
    writer.str("engine").str(config.engine.name());
    writer.str("durability").str(config.durability_name());
    writer.str("health").str(state);
    writer.str("reason");
    match why {
        Some(why) => writer.str(why),
        None => writer.nil(),
    };
    for (name, value) in figures {
        writer.str(name).uint(*value);
    }
}

fn figures(disk: DiskStats) -> [(&'static str, u64); 16] {
    [
        ("log_bytes", disk.log_bytes),
        ("base_bytes", disk.base_bytes),
        ("dirty_bytes", disk.dirty_bytes),
        ("dirty_entries", disk.dirty_entries),
        ("free_bytes", disk.free_bytes),
        ("appended_bytes", disk.appended_bytes_total),
        ("groups", disk.groups_total),
        ("syncs", disk.syncs_total),
        ("sync_us", disk.sync_us_total),
        ("cold_reads", disk.cold_reads_total),
        ("carry_rounds", disk.rounds_total),
        ("carried_entries", disk.carried_total),
        ("stalls", disk.stalls_total),
        ("errors", disk.errors_total),
        ("recovery_us", disk.recovery_us),
        ("recovered_groups", disk.recovered_groups),
    ]
}

/// The value of CLIENTS: an array of maps.
pub(crate) fn clients(shared: &Shared) -> Vec<u8> {
    let peers = shared.registry.peers();
    let mut out = Vec::with_capacity(peers.len() * 192);
    let mut writer = Writer::new(&mut out);
    writer.array(peers.len());
    for peer in peers {
        let (received, sent) = peer.traffic();
        let (held, in_flight) = peer.holding();
        writer.map(11);
        writer.str("id").uint(peer.id);
        writer.str("peer");
        match peer.address {
            Some(address) => writer.str(&address.to_string()),
            None => writer.nil(),
        };
        writer.str("identity").str(peer.identity.name());
        writer.str("software").str(&peer.software);
        writer.str("protocol").str(peer.protocol);
        writer.str("tls").bool(peer.tls);
        writer
            .str("connected_unix_seconds")
            .uint(unix_seconds(peer.since_wall));
        writer.str("in_flight").uint(in_flight);
        writer.str("held_bytes").uint(held);
        writer.str("received_bytes").uint(received);
        writer.str("sent_bytes").uint(sent);
    }
    let done = writer.finish();
    debug_assert!(done.is_ok());
    out
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
