//! From the configuration's types to those of the crates below: one place, no decisions.

use std::num::NonZeroU32;

use kv_proto::{AssemblerLimits, Capabilities, ServerSettings, SuiteList, limits::SessionLimits};
use kv_service::{Quota, QuotaConfig, Thresholds};

use crate::config::{self, Compression, Config, RateLimit, RateLimits};

/// What the process may hold in all: the store's limit, or a share of the machine's memory.
pub(crate) fn memory_bytes(config: &Config) -> usize {
    config.storage.memory_limit().get()
}

/// From which share of it on what is refused.
pub(crate) fn thresholds(limits: &config::Limits) -> Thresholds {
    let percent = |n: std::num::NonZeroUsize| u8::try_from(n.get()).unwrap_or(100);
    Thresholds {
        refuse_streams: percent(limits.memory_refuse_streams_percent),
        refuse_writes: percent(limits.memory_refuse_writes_percent),
        shed: percent(limits.memory_shed_percent),
    }
}

/// The rate limits.
pub(crate) fn quotas(limits: &RateLimits) -> QuotaConfig {
    QuotaConfig {
        per_client: limits.per_client.map(quota),
        global: limits.global.map(quota),
        per_ip: limits.per_ip.map(quota),
    }
}

fn quota(limit: RateLimit) -> Quota {
    let burst = NonZeroU32::try_from(limit.burst).unwrap_or(NonZeroU32::MAX);
    Quota::new(limit.rate.events, limit.rate.per, burst)
}

/// What the assembler of a connection may hold.
pub(crate) fn assembler_limits(limits: &config::Limits) -> AssemblerLimits {
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let fragment_bytes_min = limits.min_fragment_bytes.get();
    AssemblerLimits {
        message_bytes_max: limits.max_message_bytes.get(),
        messages_max: limits.max_partial_messages.get(),
        retained_bytes_max: limits.max_partial_bytes_per_connection.get(),
        fragment_charge_min: limits.fragment_charge_bytes.get(),
        fragment_bytes_min,
        fragments_max: limits.max_fragments.get(),
        progress_timeout_ms: ms(limits.partial_progress_timeout),
        message_timeout_ms: ms(limits.partial_timeout),
        rate_bytes_per_second_min: u64::try_from(limits.min_receive_rate_bytes.get())
            .unwrap_or(u64::MAX),
        rate_window_ms: ms(limits.receive_rate_window),
    }
}

/// What the native handshake offers, without the key of version 1.
pub(crate) fn handshake_settings(config: &Config) -> ServerSettings {
    let limits = &config.limits;
    let number = |n: std::num::NonZeroUsize| u32::try_from(n.get()).unwrap_or(u32::MAX);
    let capabilities = match config.protocol.compression {
        Compression::Off => Capabilities::NONE,
        Compression::Lz4 => Capabilities::LZ4,
    };
    ServerSettings {
        suites: SuiteList::new(&config.protocol.suites),
        capabilities,
        limits: SessionLimits {
            frame_bytes_max: number(limits.max_frame_bytes),
            message_bytes_max: number(limits.max_message_bytes),
            in_flight_max: number(limits.max_in_flight_per_connection),
            streams_max: number(limits.max_streams_per_connection),
            ping_after_ms: u32::try_from(limits.keep_alive_interval.as_millis())
                .unwrap_or(u32::MAX),
        },
        software: concat!("kv-server/", env!("CARGO_PKG_VERSION")).into(),
        version_1: None,
    }
}
