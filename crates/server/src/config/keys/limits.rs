//! The section `[limits]`: everything a peer can make grow, and how far.

use super::Default::{Absent, Count, Text};
use super::{Kind, Section, key};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn count(max: u64) -> Kind {
    Kind::Count { min: 1, max }
}

/// Up to an hour, never nothing.
const TIME: Kind = Kind::Time {
    min_ms: 1,
    max_ms: 3_600_000,
};
const PERCENT: Kind = count(100);

#[rustfmt::skip]
pub(super) const LIMITS: Section = Section {
    name: "limits",
    repeated: false,
    doc: "Everything a peer can make grow. All are finite; zero is refused, it never means unlimited.",
    keys: &[
        // Connections.
        key("max_connections", count(1_000_000), Count(10_000), "Connections served at one time. Lowered at start to the file descriptor limit - 128."),
        key("max_waiting_connections", count(65_536), Count(128), "Connections that may wait for a place when all are taken; further ones are refused with OVERLOADED."),
        key("waiting_timeout", TIME, Text("5s"), "How long a connection may wait for a place."),
        key("max_unauthenticated_connections", count(1_000_000), Absent("500"), "Connections that have not authenticated yet. Absent: 5 % of max_connections, at least 64."),
        key("max_unauthenticated_per_ip", count(1_000_000), Count(32), "The same, of one source address."),
        key("max_concurrent_tls_handshakes", count(65_536), Absent("8"), "TLS handshakes computed at one time. Absent: two per core."),
        // Before authentication.
        key("authentication_timeout", TIME, Text("5s"), "From accepting a connection to a session, whatever of the handshake is missing."),
        key("authentication_timeout_tls", TIME, Text("10s"), "The same on listeners with TLS."),
        // Frames and messages.
        key("max_frame_bytes", Kind::Size { min: 16 * KIB, max: 16 * MIB }, Text("1MiB"), "The largest frame body; larger values travel in several frames."),
        key("max_message_bytes", Kind::Size { min: 16 * KIB, max: GIB }, Text("16MiB"), "The largest value, put together."),
        key("frame_timeout", TIME, Text("30s"), "From the first byte of a frame to its last, unless it arrives at min_receive_rate_bytes."),
        key("min_receive_rate_bytes", Kind::Size { min: 1, max: GIB }, Text("16KiB"), "Bytes per second below which an unfinished frame or message counts as stalled."),
        key("receive_rate_window", TIME, Text("5s"), "Over which time that rate is taken."),
        // Messages that arrive in several frames.
        key("max_partial_messages", count(65_536), Count(64), "Unfinished messages of one connection."),
        key("max_partial_bytes_per_connection", Kind::Size { min: 64 * KIB, max: 64 * GIB }, Text("32MiB"), "Memory they may hold."),
        key("max_partial_bytes", Kind::Size { min: 64 * KIB, max: 1 << 42 }, Text("256MiB"), "Memory they may hold in all connections together."),
        key("min_fragment_bytes", Kind::Size { min: 1, max: MIB }, Text("4KiB"), "The smallest piece of a message, but for the last one."),
        key("fragment_charge_bytes", Kind::Size { min: 1, max: MIB }, Text("512B"), "What a piece is charged at least."),
        key("max_fragments", count(1_000_000), Count(4096), "Pieces of one message."),
        key("partial_progress_timeout", TIME, Text("10s"), "How long an unfinished message may stand still."),
        key("partial_timeout", TIME, Text("60s"), "How long it may take in all."),
        // Requests.
        key("max_in_flight_per_connection", count(65_536), Count(1024), "Requests without an answer on one connection."),
        key("max_streams_per_connection", count(65_536), Count(64), "Streams (SCAN) open on one connection."),
        key("cheap_frame_budget", count(1 << 32), Count(25_600), "Points a connection may spend on frames that carry nothing; useful bytes earn them back."),
        key("cheap_frame_cost", count(65_536), Count(256), "Points of one empty, tiny, PING, CANCEL or failed frame."),
        // Output.
        key("output_soft_bytes", Kind::Size { min: 4 * KIB, max: GIB }, Text("4MiB"), "Output waiting for a peer from which on nothing more is read from it."),
        key("output_hard_bytes", Kind::Size { min: 4 * KIB, max: 4 * GIB }, Text("8MiB"), "Output waiting for a peer at which its connection ends."),
        key("output_stall_timeout", TIME, Text("10s"), "How long a peer may take none of its output."),
        // Silence.
        key("keep_alive_interval", TIME, Text("30s"), "Silence after which the server asks whether the peer is there."),
        key("keep_alive_misses", count(100), Count(2), "Intervals of silence after which the connection ends."),
        key("tcp_keep_alive_idle", Kind::Time { min_ms: 1000, max_ms: 3_600_000 }, Text("60s"), "TCP's own probes: silence before the first."),
        key("tcp_keep_alive_interval", Kind::Time { min_ms: 1000, max_ms: 3_600_000 }, Text("15s"), "Time between two of them."),
        key("tcp_keep_alive_probes", count(100), Count(4), "Unanswered probes after which TCP gives up."),
        key("tcp_user_timeout", TIME, Text("30s"), "How long sent bytes may stay unacknowledged."),
        // Memory of the whole process, in percent of storage.memory_limit_bytes.
        key("memory_refuse_streams_percent", PERCENT, Count(80), "Share of storage.memory_limit_bytes in use from which on new streams are refused."),
        key("memory_refuse_writes_percent", PERCENT, Count(90), "Share from which on writes are refused."),
        key("memory_shed_percent", PERCENT, Count(95), "Share from which on the largest connections end."),
    ],
};
