//! `[limits]`, checked.
//!
//! Owns the numbers that bound a peer and the rules between them. Invariant: all are finite and
//! positive, and a smaller scope never has the larger limit.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::mistake::MistakeKind;
use super::read::Reader;

/// File descriptors that are never given to connections: the store, logs, listeners.
const DESCRIPTORS_RESERVED: usize = 128;

/// Memory of an idle connection's buffers and bookkeeping, for the worst case.
const CONNECTION_BYTES: usize = 32 * 1024;

/// Everything a peer can make grow. The words of each are in `config/server.toml`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each field is the key of the same name, described in the table of keys"
)]
pub struct Limits {
    pub max_connections: NonZeroUsize,
    pub max_waiting_connections: NonZeroUsize,
    pub waiting_timeout: Duration,
    pub max_unauthenticated_connections: NonZeroUsize,
    pub max_unauthenticated_per_ip: NonZeroUsize,
    /// `None` is two per core.
    pub max_concurrent_tls_handshakes: Option<NonZeroUsize>,

    pub authentication_timeout: Duration,
    pub authentication_timeout_tls: Duration,

    pub max_frame_bytes: NonZeroUsize,
    pub max_message_bytes: NonZeroUsize,
    pub frame_timeout: Duration,
    pub min_receive_rate_bytes: NonZeroUsize,
    pub receive_rate_window: Duration,

    pub max_partial_messages: NonZeroUsize,
    pub max_partial_bytes_per_connection: NonZeroUsize,
    pub max_partial_bytes: NonZeroUsize,
    pub min_fragment_bytes: NonZeroUsize,
    pub fragment_charge_bytes: NonZeroUsize,
    pub max_fragments: NonZeroUsize,
    pub partial_progress_timeout: Duration,
    pub partial_timeout: Duration,

    pub max_in_flight_per_connection: NonZeroUsize,
    pub max_streams_per_connection: NonZeroUsize,
    pub cheap_frame_budget: NonZeroUsize,
    pub cheap_frame_cost: NonZeroUsize,

    pub output_soft_bytes: NonZeroUsize,
    pub output_hard_bytes: NonZeroUsize,
    pub output_stall_timeout: Duration,

    pub keep_alive_interval: Duration,
    pub keep_alive_misses: NonZeroUsize,
    pub tcp_keep_alive_idle: Duration,
    pub tcp_keep_alive_interval: Duration,
    pub tcp_keep_alive_probes: NonZeroUsize,
    pub tcp_user_timeout: Duration,

    pub memory_refuse_streams_percent: NonZeroUsize,
    pub memory_refuse_writes_percent: NonZeroUsize,
    pub memory_shed_percent: NonZeroUsize,
}

impl Limits {
    /// Connections that fit under a file descriptor limit, at least one.
    #[must_use]
    pub fn connections_with_descriptors(&self, descriptors: Option<usize>) -> NonZeroUsize {
        let Some(descriptors) = descriptors else {
            return self.max_connections;
        };
        let fitting = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        NonZeroUsize::new(fitting).map_or(self.max_connections, |n| n.min(self.max_connections))
    }

    /// The most memory peers can make the process hold: connections times what each may queue, and
    /// unfinished messages, which have a limit of their own for all.
    #[must_use]
    pub fn worst_case_bytes(&self, connections: NonZeroUsize) -> usize {
        let each = CONNECTION_BYTES
            .saturating_add(self.max_frame_bytes.get())
            .saturating_add(self.output_hard_bytes.get());
        connections
            .get()
            .saturating_mul(each)
            .saturating_add(self.max_partial_bytes.get())
    }

    #[rustfmt::skip]
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let max_connections = r.size("limits.max_connections");
        let derived = NonZeroUsize::MIN.saturating_add((max_connections.get() / 20).max(64) - 1).min(max_connections);
        let limits = Self {
            max_connections,
            max_waiting_connections: r.size("limits.max_waiting_connections"),
            waiting_timeout: r.time("limits.waiting_timeout"),
            max_unauthenticated_connections: r.size_if_set("limits.max_unauthenticated_connections").unwrap_or(derived),
            max_unauthenticated_per_ip: r.size("limits.max_unauthenticated_per_ip"),
            max_concurrent_tls_handshakes: r.size_if_set("limits.max_concurrent_tls_handshakes"),
            authentication_timeout: r.time("limits.authentication_timeout"),
            authentication_timeout_tls: r.time("limits.authentication_timeout_tls"),
            max_frame_bytes: r.size("limits.max_frame_bytes"),
            max_message_bytes: r.size("limits.max_message_bytes"),
            frame_timeout: r.time("limits.frame_timeout"),
            min_receive_rate_bytes: r.size("limits.min_receive_rate_bytes"),
            receive_rate_window: r.time("limits.receive_rate_window"),
            max_partial_messages: r.size("limits.max_partial_messages"),
            max_partial_bytes_per_connection: r.size("limits.max_partial_bytes_per_connection"),
            max_partial_bytes: r.size("limits.max_partial_bytes"),
            min_fragment_bytes: r.size("limits.min_fragment_bytes"),
            fragment_charge_bytes: r.size("limits.fragment_charge_bytes"),
            max_fragments: r.size("limits.max_fragments"),
            partial_progress_timeout: r.time("limits.partial_progress_timeout"),
            partial_timeout: r.time("limits.partial_timeout"),
            max_in_flight_per_connection: r.size("limits.max_in_flight_per_connection"),
            max_streams_per_connection: r.size("limits.max_streams_per_connection"),
            cheap_frame_budget: r.size("limits.cheap_frame_budget"),
            cheap_frame_cost: r.size("limits.cheap_frame_cost"),
            output_soft_bytes: r.size("limits.output_soft_bytes"),
            output_hard_bytes: r.size("limits.output_hard_bytes"),
            output_stall_timeout: r.time("limits.output_stall_timeout"),
            keep_alive_interval: r.time("limits.keep_alive_interval"),
            keep_alive_misses: r.size("limits.keep_alive_misses"),
            tcp_keep_alive_idle: r.time("limits.tcp_keep_alive_idle"),
            tcp_keep_alive_interval: r.time("limits.tcp_keep_alive_interval"),
            tcp_keep_alive_probes: r.size("limits.tcp_keep_alive_probes"),
            tcp_user_timeout: r.time("limits.tcp_user_timeout"),
            memory_refuse_streams_percent: r.size("limits.memory_refuse_streams_percent"),
            memory_refuse_writes_percent: r.size("limits.memory_refuse_writes_percent"),
            memory_shed_percent: r.size("limits.memory_shed_percent"),
        };
        limits.check_rules(r);
        limits
    }

    /// Pairs of keys of which the first must not be the larger.
    fn ordered(&self) -> [(&'static str, NonZeroUsize, &'static str, NonZeroUsize); 9] {
        [
            (
                "limits.max_unauthenticated_connections",
                self.max_unauthenticated_connections,
                "limits.max_connections",
                self.max_connections,
            ),
            (
                "limits.max_frame_bytes",
                self.max_frame_bytes,
                "limits.max_message_bytes",
                self.max_message_bytes,
            ),
            (
                "limits.max_message_bytes",
                self.max_message_bytes,
                "limits.max_partial_bytes_per_connection",
                self.max_partial_bytes_per_connection,
            ),
            (
                "limits.max_partial_bytes_per_connection",
                self.max_partial_bytes_per_connection,
                "limits.max_partial_bytes",
                self.max_partial_bytes,
            ),
            (
                "limits.min_fragment_bytes",
                self.min_fragment_bytes,
                "limits.max_frame_bytes",
                self.max_frame_bytes,
            ),
            (
                "limits.output_soft_bytes",
                self.output_soft_bytes,
                "limits.output_hard_bytes",
                self.output_hard_bytes,
            ),
            (
                "limits.cheap_frame_cost",
                self.cheap_frame_cost,
                "limits.cheap_frame_budget",
                self.cheap_frame_budget,
            ),
            (
                "limits.memory_refuse_streams_percent",
                self.memory_refuse_streams_percent,
                "limits.memory_refuse_writes_percent",
                self.memory_refuse_writes_percent,
            ),
            (
                "limits.memory_refuse_writes_percent",
                self.memory_refuse_writes_percent,
                "limits.memory_shed_percent",
                self.memory_shed_percent,
            ),
        ]
    }

    /// Rules between limits. A key that was unreadable has its own mistake already; rules that look
    /// at it could only repeat that one in other words.
    fn check_rules(&self, r: &mut Reader<'_>) {
        if r.mistakes
            .0
            .iter()
            .any(|mistake| mistake.key.starts_with("limits."))
        {
            return;
        }
        for (key, smaller, other, larger) in self.ordered() {
            if smaller > larger {
                r.contradiction(key, other, "it must not be larger");
            }
        }
        if self.partial_progress_timeout > self.partial_timeout {
            let (key, other) = ("limits.partial_progress_timeout", "limits.partial_timeout");
            r.contradiction(key, other, "it must not be longer");
        }
        let coverable = self
            .max_fragments
            .get()
            .saturating_mul(self.max_frame_bytes.get());
        if coverable < self.max_message_bytes.get() {
            let rule = "that many frames of limits.max_frame_bytes must hold a whole message";
            r.contradiction("limits.max_fragments", "limits.max_message_bytes", rule);
        }
    }
}

impl Reader<'_> {
    /// Notes that two keys contradict each other, at the one of them that somebody set.
    pub(super) fn contradiction(&mut self, key: &str, other: &'static str, rule: &'static str) {
        let place = match self.raw.explicit(key).or_else(|| self.raw.explicit(other)) {
            Some(setting) => setting.place.clone(),
            None => super::mistake::Place::Default,
        };
        let kind = MistakeKind::Contradiction { other, rule };
        self.mistakes.0.push(super::mistake::Mistake {
            key: key.to_owned(),
            kind,
            place,
        });
    }
}
