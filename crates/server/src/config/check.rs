//! From the layers to a [`Config`]: every key read, every rule between keys checked.
//!
//! Owns the rules. Invariant: the checks go on after a mistake, so that one run shows all of them.

mod auth;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use kv_proto::Suite;

use super::mistake::{MistakeKind, Warning};
use super::read::Reader;
use super::secret_file::loose_mode;
use super::{
    AdminListener, Auth, ClientAuth, Compression, Config, IdentityFrom, Limits, Log, LogFormat,
    MetricsConfig, NativeListener, Protocol, RateLimit, RateLimits, Shutdown, Storage, Tls,
};

/// How far the admin port is from the native one when nobody chose it.
const ADMIN_PORT_OFFSET: u16 = 1000;

/// Reads everything; `None` when a value without which nothing can be built is unusable, in which
/// case at least one mistake was noted.
pub(super) fn check(r: &mut Reader<'_>, warnings: &mut Vec<Warning>) -> Option<Config> {
    let native = native(r);
    let admin = admin(r, native.as_ref(), warnings);
    let auth = auth::auth(r, warnings);
    let protocol = protocol(r, native.as_ref(), &auth, warnings);
    let tls = tls(r, native.as_ref(), warnings);
    let limits = Limits::read(r);
    let rate_limits = RateLimits {
        per_client: rate_limit(r, "rate_limits.per_client", "rate_limits.per_client_burst"),
        global: rate_limit(r, "rate_limits.global", "rate_limits.global_burst"),
        per_ip: rate_limit(r, "rate_limits.per_ip", "rate_limits.per_ip_burst"),
    };
    let storage = Storage::read(r, &limits, warnings);
    let shutdown = Shutdown {
        drain_timeout: r.time("shutdown.drain_timeout"),
        delay: r.time("shutdown.delay"),
    };
    let log = log(r);
    let worker_threads = r.size_if_set("runtime.worker_threads");
    let metrics = MetricsConfig {
        enabled: r.bool("metrics.enabled"),
        max_client_libraries: r.size("metrics.max_client_libraries"),
    };
    let native = native?;
    exposure(r, &native, &auth, tls.as_ref(), warnings);
    Some(Config {
        native,
        admin,
        protocol,
        tls,
        auth,
        limits,
        rate_limits,
        storage,
        shutdown,
        log,
        worker_threads,
        metrics,
        values: BTreeMap::new(),
    })
}

fn native(r: &mut Reader<'_>) -> Option<NativeListener> {
    if !r.bool("listeners.native.enabled") {
        let because = "at least one listener must serve data, and this version has no other";
        if r.raw
            .explicit("listeners.native.enabled")
            .is_some_and(|s| s.is_false())
        {
            r.mistake("listeners.native.enabled", MistakeKind::Missing { because });
        }
    }
    let address = r.address("listeners.native.address");
    let tls = r.bool("listeners.native.tls");
    let backlog = r.size("listeners.native.backlog");
    Some(NativeListener {
        address: address?,
        tls,
        backlog,
    })
}

fn admin(
    r: &mut Reader<'_>,
    native: Option<&NativeListener>,
    warnings: &mut Vec<Warning>,
) -> Option<AdminListener> {
    let enabled = r.bool("listeners.admin.enabled");
    let listener = AdminListener {
        address: admin_address(r, native),
        allowed_hosts: allowed_hosts(r),
        max_connections: r.size("admin.max_connections"),
        header_timeout: r.time("admin.header_timeout"),
        idle_timeout: r.time("admin.idle_timeout"),
    };
    if enabled && !listener.address.ip().is_loopback() {
        warnings.push(Warning::AdminOnNetwork);
    }
    enabled.then_some(listener)
}

/// As configured, or beside the native port; port 0 stays 0, so that the kernel chooses both.
fn admin_address(r: &mut Reader<'_>, native: Option<&NativeListener>) -> SocketAddr {
    let chosen = r.address("listeners.admin.address");
    if let (Some(chosen), Some(native)) = (chosen, native)
        && chosen == native.address
        && chosen.port() != 0
    {
        let other = "listeners.native.address";
        r.contradiction(
            "listeners.admin.address",
            other,
            "two listeners need two ports",
        );
    }
    let port = native.map_or(0, |native| native.address.port());
    let derived = if port == 0 {
        Some(0)
    } else {
        port.checked_add(ADMIN_PORT_OFFSET)
    };
    match (chosen, derived) {
        (Some(address), _) => address,
        (None, Some(port)) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        (None, None) => {
            let because = "listeners.native.address has a port above 64535, so that its own port + \
                           1000 does not exist";
            r.mistake("listeners.admin.address", MistakeKind::Missing { because });
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
        }
    }
}

fn allowed_hosts(r: &mut Reader<'_>) -> Vec<String> {
    let hosts = r.texts("admin.allowed_hosts");
    let usable = |host: &String| {
        !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    if !hosts.iter().all(usable) {
        let kind = MistakeKind::Malformed {
            expected: "a list of host names without ports",
            example: "[\"kv.example.org\"]".to_owned(),
        };
        r.mistake("admin.allowed_hosts", kind);
    }
    hosts
        .into_iter()
        .map(|host| host.trim_end_matches('.').to_ascii_lowercase())
        .collect()
}

fn protocol(
    r: &mut Reader<'_>,
    native: Option<&NativeListener>,
    auth: &Auth,
    warnings: &mut Vec<Warning>,
) -> Protocol {
    let v1 = r.bool("protocol.v1");
    let v1_key = r.text("protocol.v1_key").map(Arc::<str>::from);
    match (&v1_key, v1) {
        (None, true) => {
            let because = "protocol.v1 is true, and version 1 frames name no key";
            r.mistake("protocol.v1_key", MistakeKind::Missing { because });
        }
        // Without any key in the configuration the one of the first start counts.
        (Some(id), true)
            if !(auth.keys.iter().any(|key| key.id == *id)
                || auth.keys.is_empty() && **id == *crate::devkey::DEV_KEY_ID) =>
        {
            r.mistake(
                "protocol.v1_key",
                MistakeKind::NoSuchKey { id: id.to_string() },
            );
        }
        (_, true) => warnings.push(Warning::Version1),
        (_, false) => {}
    }
    let mut suites: Vec<Suite> = Vec::new();
    let words = r.words("protocol.suites");
    for suite in words
        .iter()
        .filter_map(|word| Suite::ALL.into_iter().find(|s| s.name() == *word))
    {
        if suites.contains(&suite) {
            let name = suite.name().to_owned();
            r.mistake("protocol.suites", MistakeKind::Duplicate { name });
        } else {
            suites.push(suite);
        }
    }
    if words.is_empty() {
        let because = "a session needs at least one suite";
        r.mistake("protocol.suites", MistakeKind::Missing { because });
    }
    if suites.contains(&Suite::Checksum) {
        warnings.push(Warning::ChecksumOffered);
        if native.is_some_and(|native| !native.address.ip().is_loopback() && !native.tls) {
            let rule = "the suite `checksum` is allowed on loopback or under TLS only";
            r.contradiction("protocol.suites", "listeners.native.address", rule);
        }
    }
    let compression = match r.word("protocol.compression") {
        Some("lz4") => Compression::Lz4,
        _ => Compression::Off,
    };
    Protocol {
        v1_key: v1_key.filter(|_| v1),
        suites,
        compression,
    }
}

fn tls(
    r: &mut Reader<'_>,
    native: Option<&NativeListener>,
    warnings: &mut Vec<Warning>,
) -> Option<Tls> {
    let needed = native.is_some_and(|native| native.tls);
    let cert_file = r.path("tls.cert_file");
    let key_file = r.path("tls.key_file");
    let ca_file = r.path("tls.client_ca_file");
    let client_auth = client_auth(r, ca_file);
    let identity_from = match r.word("tls.identity_from") {
        Some("cn") => IdentityFrom::CommonName,
        Some("san_uri") => IdentityFrom::SanUri,
        _ => IdentityFrom::Off,
    };
    if identity_from != IdentityFrom::Off && client_auth == ClientAuth::Off {
        let rule = "an identity can only be read from a certificate that clients show";
        r.contradiction("tls.identity_from", "tls.client_auth", rule);
    }
    let reload_interval = r.time("tls.reload_interval");
    let allow_expired = r.bool("tls.allow_expired");
    if !needed {
        if cert_file.is_some() {
            warnings.push(Warning::UnusedTls);
        }
        return None;
    }
    for (key, file) in [("tls.cert_file", &cert_file), ("tls.key_file", &key_file)] {
        if file.is_none() && r.raw.explicit(key).is_none() {
            let because = "listeners.native.tls is true";
            r.mistake(key, MistakeKind::Missing { because });
        }
    }
    let (cert_file, key_file) = (cert_file?, key_file?);
    // Whether the file is there and good is found out when certificates are loaded.
    let loose = std::fs::metadata(&key_file)
        .ok()
        .and_then(|metadata| loose_mode(&metadata));
    warnings.extend(loose.map(|mode| Warning::LooseKeyFile {
        path: key_file.clone(),
        mode,
    }));
    Some(Tls {
        cert_file,
        key_file,
        client_auth,
        identity_from,
        reload_interval,
        allow_expired,
    })
}

fn client_auth(r: &mut Reader<'_>, ca_file: Option<PathBuf>) -> ClientAuth {
    match (r.word("tls.client_auth"), ca_file) {
        (Some("optional"), Some(ca_file)) => ClientAuth::Optional { ca_file },
        (Some("required") | None, Some(ca_file)) => ClientAuth::Required { ca_file },
        (Some("optional" | "required"), None) => {
            let because = "tls.client_auth asks for client certificates, and nothing says who vouches \
                           for them";
            r.mistake("tls.client_ca_file", MistakeKind::Missing { because });
            ClientAuth::Off
        }
        (_, _) => ClientAuth::Off,
    }
}

fn rate_limit(r: &mut Reader<'_>, key: &'static str, burst_key: &'static str) -> Option<RateLimit> {
    let rate = r.rate(key);
    let burst = r.size_if_set(burst_key);
    if rate.is_none() && burst.is_some() && r.raw.explicit(key).is_none() {
        r.contradiction(burst_key, key, "a burst needs the rate it belongs to");
    }
    let rate = rate?;
    let one_period = std::num::NonZeroUsize::try_from(rate.events);
    Some(RateLimit {
        rate,
        burst: burst.or(one_period.ok())?,
    })
}

fn log(r: &mut Reader<'_>) -> Log {
    let format = match r.word("log.format") {
        Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        _ => LogFormat::Auto,
    };
    let level = r.text("log.level").unwrap_or_else(|| "info".to_owned());
    if level.parse::<tracing_subscriber::EnvFilter>().is_err() {
        let kind = MistakeKind::Malformed {
            expected: "a level or a filter",
            example: "\"info\", \"debug\" or \"info,kv_server=debug\"".to_owned(),
        };
        r.mistake("log.level", kind);
    }
    Log { format, level }
}

/// Refuses an open door, and warns of one that is ajar.
fn exposure(
    r: &mut Reader<'_>,
    native: &NativeListener,
    auth: &Auth,
    tls: Option<&Tls>,
    warnings: &mut Vec<Warning>,
) {
    if native.address.ip().is_loopback() {
        return;
    }
    let certificates = tls.is_some_and(|tls| tls.client_auth != ClientAuth::Off);
    if auth.keys.is_empty() && !certificates {
        r.mistake("listeners.native.address", MistakeKind::Exposed);
    }
    if !native.tls {
        warnings.push(Warning::PlainOnNetwork);
    }
}
