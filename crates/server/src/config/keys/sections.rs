//! The sections other than `[limits]` and `[storage]`.

use super::Default::{Absent, Bool, Count, Text, Words};
use super::{Key, Kind, Section, key};

/// A minute and an hour in milliseconds, for bounds.
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

pub(super) const PERMISSIONS: &[&str] = &[
    "read",
    "write",
    "scan",
    "observe",
    "admin",
    "publish",
    "subscribe",
    "queue",
];

pub(super) const ROLES: &[&str] = &["reader", "writer", "observer", "admin"];

/// Preferred first, as in the default.
pub(super) const SUITES: &[&str] = &["hmac-sha256", "x25519-aes256ctr-hmac-sha256", "checksum"];

pub(super) const NATIVE: Section = Section {
    name: "listeners.native",
    repeated: false,
    doc: "The native protocol: kv-cli, the client libraries.",
    keys: &[
        key("enabled", Kind::Bool, Bool(true), "Whether to serve it."),
        key(
            "address",
            Kind::Address,
            Text("127.0.0.1:7777"),
            "Where to listen. An address that is not a loopback one is refused while nothing says\n\
             who may connect: configure [[auth.keys]] or TLS client certificates first.",
        ),
        key(
            "tls",
            Kind::Bool,
            Bool(false),
            "TLS 1.3 on this listener; needs [tls]. Plain connections are then refused.",
        ),
        key(
            "backlog",
            Kind::Count {
                min: 1,
                max: 65_535,
            },
            Count(1024),
            "Connections the kernel keeps waiting to be accepted.",
        ),
    ],
};

pub(super) const ADMIN_LISTENER: Section = Section {
    name: "listeners.admin",
    repeated: false,
    doc: "HTTP for operators: /metrics, /livez, /readyz, /healthz. It has no authentication.",
    keys: &[
        key("enabled", Kind::Bool, Bool(true), "Whether to serve it."),
        key(
            "address",
            Kind::Address,
            Absent("\"127.0.0.1:8777\""),
            "Where to listen. Absent: 127.0.0.1, the native port + 1000.",
        ),
    ],
};

pub(super) const ADMIN: Section = Section {
    name: "admin",
    repeated: false,
    doc: "What the admin listener accepts.",
    keys: &[
        key(
            "allowed_hosts",
            Kind::Texts,
            Words(&[]),
            "Host names under which it may be reached, besides localhost and IP addresses.\n\
             Every other Host header gets 421, which stops DNS rebinding.",
        ),
        key(
            "max_connections",
            Kind::Count {
                min: 1,
                max: 10_000,
            },
            Count(64),
            "Connections served at one time.",
        ),
        key(
            "header_timeout",
            Kind::Time {
                min_ms: 100,
                max_ms: 10 * MINUTE,
            },
            Text("5s"),
            "How long a client may take to send the header of a request.",
        ),
        key(
            "idle_timeout",
            Kind::Time {
                min_ms: 100,
                max_ms: HOUR,
            },
            Text("75s"),
            "How long a connection may live without finishing a request.",
        ),
    ],
};

pub(super) const PROTOCOL: Section = Section {
    name: "protocol",
    repeated: false,
    doc: "Which dialects of the native protocol are spoken.",
    keys: &[
        key(
            "v1",
            Kind::Bool,
            Bool(false),
            "Version 1 (GET, SET, DEL with one static key). Its frames can be replayed on a new\n\
             connection; leave it off unless a client knows nothing else.",
        ),
        key(
            "v1_key",
            Kind::Text,
            Absent("\"app1\""),
            "The id of the key that verifies version 1 frames. Needed with v1.",
        ),
        key(
            "suites",
            Kind::Words(SUITES),
            Words(&["hmac-sha256", "x25519-aes256ctr-hmac-sha256"]),
            "Suites a session may use; the client's order of preference decides. `hmac-sha256` signs\n\
             every frame, `x25519-aes256ctr-hmac-sha256` encrypts too, `checksum` does neither and is\n\
             allowed on loopback or under TLS only.",
        ),
        key(
            "compression",
            Kind::Word(&["off", "lz4"]),
            Text("off"),
            "Compression of values that a client asks for. Off by default: a compressed size tells\n\
             something about the contents.",
        ),
    ],
};

pub(super) const TLS: Section = Section {
    name: "tls",
    repeated: false,
    doc: "Certificates for listeners with `tls = true`. Files are PEM. They are read again on SIGHUP and\n\
          when their contents change; the old ones stay in force while the new ones are bad.",
    keys: &[
        key(
            "cert_file",
            Kind::Path,
            Absent("\"/etc/kv/server.crt\""),
            "The server's certificate, then its intermediates.",
        ),
        key(
            "key_file",
            Kind::Path,
            Absent("\"/etc/kv/server.key\""),
            "The private key of the certificate.",
        ),
        key(
            "client_ca_file",
            Kind::Path,
            Absent("\"/etc/kv/ca.crt\""),
            "Authorities whose client certificates are accepted.",
        ),
        key(
            "client_auth",
            Kind::Word(&["off", "optional", "required"]),
            Absent("\"required\""),
            "Whether clients show a certificate: off, optional or required. Absent: required when\n\
             client_ca_file is set, else off.",
        ),
        key(
            "identity_from",
            Kind::Word(&["off", "cn", "san_uri"]),
            Text("off"),
            "Where a client certificate names its identity: off, cn (subject common name) or san_uri\n\
             (first URI of the subject alternative names).",
        ),
        key(
            "reload_interval",
            Kind::Time {
                min_ms: 1000,
                max_ms: 24 * HOUR,
            },
            Text("60s"),
            "How often the files are compared with what is in force.",
        ),
        key(
            "allow_expired",
            Kind::Bool,
            Bool(false),
            "Whether to start with a certificate that is expired or not valid yet.",
        ),
    ],
};

pub(super) const AUTH: Section = Section {
    name: "auth",
    repeated: false,
    doc: "Who may do what.",
    keys: &[key(
        "anonymous",
        Kind::Words(PERMISSIONS),
        Words(&[]),
        "What a peer may do that proves no identity: a list of read, write, scan, observe, admin,\n\
         publish, subscribe, queue. Empty: such peers are refused.",
    )],
};

const ROLES_KEY: Key = key(
    "roles",
    Kind::Words(ROLES),
    Absent("[\"writer\"]"),
    "Named sets of permissions: reader (read, scan, subscribe), writer (reader, and write,\n\
     publish, queue), observer (observe), admin (everything).",
);

const PERMISSIONS_KEY: Key = key(
    "permissions",
    Kind::Words(PERMISSIONS),
    Absent("[\"read\", \"scan\"]"),
    "Single permissions, added to those of the roles. One of the two lists must name something.",
);

pub(super) const AUTH_KEYS: Section = Section {
    name: "auth.keys",
    repeated: true,
    doc: "One pre-shared key. Without any, a key named `dev` is made at the first start, for loopback use.\n\
          To rotate, add a second key with the same identity, move the clients, remove the first: up to\n\
          four keys of one identity are in force at a time, and removing one ends its sessions.",
    keys: &[
        key(
            "id",
            Kind::Text,
            Absent("\"app1\""),
            "The name clients send. Needed.",
        ),
        key(
            "secret_file",
            Kind::Path,
            Absent("\"/run/secrets/app1.key\""),
            "A file with one line: the key in hex, at least 64 digits. Needed. `kv-cli keygen` makes one.",
        ),
        key(
            "identity",
            Kind::Text,
            Absent("\"app1\""),
            "Whom the client acts as. Absent: the id.",
        ),
        ROLES_KEY,
        PERMISSIONS_KEY,
    ],
};

pub(super) const AUTH_CERTIFICATES: Section = Section {
    name: "auth.certificates",
    repeated: true,
    doc: "What clients may do that prove their identity with a certificate alone (tls.identity_from).",
    keys: &[
        key(
            "identity",
            Kind::Text,
            Absent("\"spiffe://example/app1\""),
            "The name in the certificate, or \"*\" for every certificate without an entry of its own. Needed.",
        ),
        ROLES_KEY,
        PERMISSIONS_KEY,
    ],
};

pub(super) const RATE_LIMITS: Section = Section {
    name: "rate_limits",
    repeated: false,
    doc: "Requests per time, as \"1000/s\", \"600/m\" or \"10/h\". Absent: no such limit. A bucket holds one\n\
          period's worth unless its burst is set. Refused requests are answered RATE_LIMITED with the time\n\
          to wait.",
    keys: &[
        key(
            "per_client",
            Kind::Rate,
            Absent("\"10000/s\""),
            "Requests of one identity, over all its connections.",
        ),
        key(
            "per_client_burst",
            BURST,
            Absent("20000"),
            "How many of them may come at once.",
        ),
        key(
            "global",
            Kind::Rate,
            Absent("\"500000/s\""),
            "Requests of everybody together.",
        ),
        key(
            "global_burst",
            BURST,
            Absent("1000000"),
            "How many of them may come at once.",
        ),
        key(
            "per_ip",
            Kind::Rate,
            Absent("\"50000/s\""),
            "Requests of one /24 (IPv4) or /64 (IPv6) network.",
        ),
        key(
            "per_ip_burst",
            BURST,
            Absent("100000"),
            "How many of them may come at once.",
        ),
    ],
};

const BURST: Kind = Kind::Count {
    min: 1,
    max: 1_000_000_000,
};

pub(super) const SHUTDOWN: Section = Section {
    name: "shutdown",
    repeated: false,
    doc: "What SIGTERM and SIGINT do. A second signal ends the process at once.",
    keys: &[
        key(
            "drain_timeout",
            Kind::Time {
                min_ms: 1,
                max_ms: HOUR,
            },
            Text("5s"),
            "How long requests in flight may take to finish.",
        ),
        key(
            "delay",
            Kind::Time {
                min_ms: 0,
                max_ms: 10 * MINUTE,
            },
            Text("0s"),
            "How long to go on serving after /readyz says no, for load balancers that react late.",
        ),
    ],
};

pub(super) const LOG: Section = Section {
    name: "log",
    repeated: false,
    doc: "Logs go to standard error. Keys and values of entries never appear in them.",
    keys: &[
        key(
            "format",
            Kind::Word(&["auto", "human", "json"]),
            Text("auto"),
            "auto is human with colour on a terminal (NO_COLOR turns it off) and JSON lines elsewhere.",
        ),
        key(
            "level",
            Kind::Text,
            Text("info"),
            "off, error, warn, info, debug, trace, or a filter such as \"info,kv_server=debug\".",
        ),
    ],
};

pub(super) const RUNTIME: Section = Section {
    name: "runtime",
    repeated: false,
    doc: "How the process uses the machine.",
    keys: &[key(
        "worker_threads",
        Kind::Count { min: 1, max: 1024 },
        Absent("4"),
        "Threads that serve connections. Absent: one per core.",
    )],
};

pub(super) const METRICS: Section = Section {
    name: "metrics",
    repeated: false,
    doc: "What /metrics shows.",
    keys: &[
        key(
            "enabled",
            Kind::Bool,
            Bool(true),
            "Whether /metrics is served.",
        ),
        key(
            "max_client_libraries",
            Kind::Count { min: 1, max: 1000 },
            Count(50),
            "Label sets of kv_client_connections; further ones count as `other`.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use kv_proto::Suite;
    use kv_service::{Permission, Role};

    #[test]
    fn the_words_are_those_of_the_types() {
        assert_eq!(PERMISSIONS, Permission::ALL.map(Permission::name));
        assert_eq!(ROLES, Role::ALL.map(Role::name));
        assert_eq!(SUITES.len(), Suite::ALL.len());
        for suite in Suite::ALL {
            assert!(SUITES.contains(&suite.name()));
        }
    }
}
