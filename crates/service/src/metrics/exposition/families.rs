//! Every family: its name, its help, its samples.
//!
//! Invariant: names and labels are those of the documentation; a family appears once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::writer::{Labels, Writer, pairs, singles};
use super::{BuildInfo, CertificateTimes, Scrape};
use crate::metrics::histogram::Durations;
use crate::metrics::labels::{
    AuthResult, Certificate, Closure, Code, Door, FrameRejection, Listener, Mechanism, Operation,
    RateScope, Rejection, Success, TlsResult,
};
use crate::metrics::{Metrics, read};

/// One scrape.
#[derive(Debug)]
pub(super) struct View {
    pub(super) metrics: Arc<Metrics>,
    pub(super) scrape: Scrape,
}

impl Collector for View {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer { encoder };
        self.process(&mut out)?;
        self.connections(&mut out)?;
        self.requests(&mut out)?;
        self.traffic(&mut out)?;
        self.store(&mut out)?;
        self.storage(&mut out)?;
        self.tls(&mut out)
    }
}

impl View {
    fn process(&self, out: &mut Writer<'_>) -> fmt::Result {
        let BuildInfo {
            version,
            commit,
            rustc,
        } = self.scrape.build;
        let labels = [("version", version), ("commit", commit), ("rustc", rustc)];
        out.encoder
            .encode_descriptor("kv_build", "What was built.", None, MetricType::Info)?
            .encode_info(&labels)?;
        let start = self.scrape.start_time_seconds;
        out.gauge(
            "kv_start_time_seconds",
            "When the server started, since 1970.",
            start,
        )?;
        let process = self.scrape.process;
        if let Some(seconds) = process.cpu_seconds {
            out.counter(
                "process_cpu_seconds",
                "User and system time of the process.",
                seconds,
            )?;
        }
        if let Some(bytes) = process.resident_bytes {
            out.gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                bytes,
            )?;
        }
        if let Some(open) = process.open_descriptors {
            out.gauge(
                "process_open_fds",
                "Open file descriptors of the process.",
                open,
            )?;
        }
        if let Some(max) = process.max_descriptors {
            out.gauge(
                "process_max_fds",
                "File descriptors the process may open.",
                max,
            )?;
        }
        out.counter(
            "kv_panics",
            "Tasks that ended by a mistake of the server.",
            self.metrics.panics.load(Ordering::Relaxed),
        )
    }

    fn connections(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.metrics;
        let listeners = Listener::ALL.iter().copied();
        out.gauges(
            "kv_connections",
            "Open connections.",
            listeners
                .clone()
                .map(|l| (vec![("listener", l.name())], metrics.open_connections(l))),
        )?;
        out.counters(
            "kv_connections_accepted",
            "Connections accepted.",
            listeners.clone().map(|l| {
                (
                    vec![("listener", l.name())],
                    read(&metrics.accepted, l.index()),
                )
            }),
        )?;
        out.counters(
            "kv_connections_rejected",
            "Connections refused at once, by reason.",
            pairs(
                ("listener", Listener::ALL, Listener::name),
                ("reason", Rejection::ALL, Rejection::name),
                |l, r| {
                    metrics
                        .rejected
                        .get(l.index())
                        .map_or(0, |row| read(row, r.index()))
                },
            ),
        )?;
        out.counters(
            "kv_connections_closed",
            "Accepted connections that ended, by reason.",
            pairs(
                ("listener", Listener::ALL, Listener::name),
                ("reason", Closure::ALL, Closure::name),
                |l, c| {
                    metrics
                        .closed
                        .get(l.index())
                        .map_or(0, |row| read(row, c.index()))
                },
            ),
        )?;
        let libraries = metrics.libraries.snapshot();
        out.gauges(
            "kv_client_connections",
            "Sessions by client library and version.",
            libraries.iter().map(|((library, version), count)| {
                (
                    vec![("lib", library.as_str()), ("version", version.as_str())],
                    *count,
                )
            }),
        )
    }

    fn requests(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.metrics;
        let mut samples = Vec::new();
        let mut rows = Vec::new();
        for door in Door::ALL.iter().copied() {
            for operation in Operation::ALL.iter().copied() {
                for code in Code::ALL.iter().copied() {
                    let count = metrics.requests(door, operation, code);
                    // Success is always there, so that a rate exists from the first scrape on.
                    if count > 0 || code == Code::Ok {
                        let labels = vec![
                            ("protocol", door.name()),
                            ("op", operation.name()),
                            ("code", code.name()),
                        ];
                        samples.push((labels, count));
                    }
                }
                let durations = metrics.durations(door, operation);
                if durations.count() > 0 {
                    rows.push((
                        [("protocol", door.name()), ("op", operation.name())],
                        durations,
                    ));
                }
            }
        }
        out.counters(
            "kv_requests",
            "Requests answered, by operation and code.",
            samples,
        )?;
        let rows: Vec<(Labels<'_>, Durations)> = rows
            .iter()
            .map(|(labels, durations)| (labels.as_slice(), durations.clone()))
            .collect();
        out.durations(
            "kv_request_duration",
            "From the arrival of a request to its answer in the output buffer.",
            &rows,
        )?;
        out.gauges(
            "kv_requests_in_flight",
            "Requests without an answer.",
            Door::ALL
                .iter()
                .map(|d| (vec![("protocol", d.name())], metrics.in_flight(*d))),
        )?;
        out.counter(
            "kv_requests_cancelled",
            "Requests their client gave up.",
            metrics.sum(|shard| &shard.cancelled),
        )?;
        out.counter(
            "kv_requests_expired",
            "Requests whose deadline passed.",
            metrics.sum(|shard| &shard.expired),
        )
    }

    fn traffic(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.metrics;
        let (received, sent) = metrics.network_bytes();
        let native = || vec![("listener", Listener::Native.name())];
        let name = "kv_network_receive_bytes";
        out.counters(name, "Bytes received from clients.", [(native(), received)])?;
        out.counters(
            "kv_network_transmit_bytes",
            "Bytes sent to clients.",
            [(native(), sent)],
        )?;
        out.counters(
            "kv_frames_rejected",
            "Frames refused, by reason.",
            singles(
                "reason",
                FrameRejection::ALL,
                FrameRejection::name,
                |reason| read(&metrics.frames_rejected, reason.index()),
            ),
        )?;
        out.counter(
            "kv_flow_control_stalls",
            "Times a peer was not read from because it did not take its output.",
            metrics.sum(|shard| &shard.stalls),
        )?;
        out.counters(
            "kv_auth_attempts",
            "Attempts to prove an identity, by mechanism and result.",
            pairs(
                ("mechanism", Mechanism::ALL, Mechanism::name),
                ("result", AuthResult::ALL, AuthResult::name),
                |m, r| {
                    metrics
                        .auth
                        .get(m.index())
                        .map_or(0, |row| read(row, r.index()))
                },
            ),
        )?;
        out.counters(
            "kv_rate_limited",
            "Requests refused for coming too soon, by whose limit it was.",
            singles("scope", RateScope::ALL, RateScope::name, |scope| {
                read(&metrics.rate_limited, scope.index())
            }),
        )
    }

    fn store(&self, out: &mut Writer<'_>) -> fmt::Result {
        let store = self.scrape.store;
        out.gauge("kv_keys", "Entries stored.", store.keys)?;
        out.gauge(
            "kv_memory_used_bytes",
            "Memory in use, as accounted.",
            store.memory_used_bytes,
        )?;
        out.gauge(
            "kv_memory_limit_bytes",
            "Memory that may be used.",
            store.memory_limit_bytes,
        )?;
        out.counter("kv_keys_expired", "Entries that expired.", store.expired)?;
        out.counter(
            "kv_keys_evicted",
            "Entries removed for room.",
            store.evicted,
        )?;
        out.counter(
            "kv_lookup_hits",
            "Look-ups that found an entry.",
            store.hits,
        )?;
        out.counter(
            "kv_lookup_misses",
            "Look-ups that found none.",
            store.misses,
        )
    }

    fn tls(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = &*self.metrics;
        out.counters(
            "kv_tls_handshakes",
            "TLS handshakes, by result.",
            singles("result", TlsResult::ALL, TlsResult::name, |result| {
                read(&metrics.tls_handshakes, result.index())
            }),
        )?;
        let mut durations = Durations::empty();
        durations.add(&metrics.tls_durations);
        out.durations(
            "kv_tls_handshake_duration",
            "How long handshakes took.",
            &[(&[], durations)],
        )?;
        let CertificateTimes { server, client_ca } = self.scrape.certificates;
        let times = [
            (Certificate::Server, server),
            (Certificate::ClientCa, client_ca),
        ];
        out.gauges(
            "kv_tls_certificate_not_after_timestamp_seconds",
            "When certificates end, since 1970.",
            times.into_iter().filter_map(|(kind, time)| {
                Some((
                    vec![("kind", kind.name())],
                    u64::try_from(time?).unwrap_or(0),
                ))
            }),
        )?;
        out.counters(
            "kv_tls_reloads",
            "Times certificates were read again, by result.",
            singles("result", Success::ALL, Success::name, |result| {
                read(&metrics.tls_reloads, result.index())
            }),
        )
    }
}
