//! Rules between keys: each with a text that keeps it and one that breaks it.

use std::path::Path;

use kv_service::{Permission, Role};

use super::super::*;
use super::{FILE, parsed, refused};

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for text in [
        "output_soft_bytes = \"16MiB\"",
        "max_frame_bytes = \"2MiB\"\nmax_message_bytes = \"1MiB\"",
        "max_message_bytes = \"64MiB\"",
        "max_partial_bytes_per_connection = \"1GiB\"",
        "partial_progress_timeout = \"2m\"",
        "memory_refuse_writes_percent = 50",
        "max_unauthenticated_connections = 20000",
        "max_fragments = 2",
        "cheap_frame_cost = 30000",
    ] {
        assert!(
            refused(&format!("[limits]\n{text}\n")).contains("contradicts"),
            "{text}"
        );
    }
    let few = parsed("[limits]\nmax_connections = 10\n");
    assert_eq!(
        few.limits.max_unauthenticated_connections.get(),
        10,
        "the derived value follows"
    );
}

#[test]
fn the_admin_port_follows_the_native_one() {
    let admin = |text| parsed(text).admin.map(|admin| admin.address.to_string());
    assert_eq!(
        admin("[listeners.native]\naddress = \"127.0.0.1:9000\"\n").unwrap(),
        "127.0.0.1:10000"
    );
    assert_eq!(
        admin("[listeners.native]\naddress = \"127.0.0.1:0\"\n").unwrap(),
        "127.0.0.1:0"
    );
    assert_eq!(admin("[listeners.admin]\nenabled = false\n"), None);
    assert!(
        refused("[listeners.native]\naddress = \"127.0.0.1:65000\"\n").contains("admin.address")
    );
    assert!(refused("[listeners.admin]\naddress = \"127.0.0.1:7777\"\n").contains("two ports"));
}

/// A directory with a key file, and the text of a key entry that names it.
fn key_entry(id: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.key");
    std::fs::write(&file, "ab".repeat(32)).unwrap();
    let text = format!(
        "[[auth.keys]]\nid = \"{id}\"\nsecret_file = \"{}\"\nroles = [\"writer\"]\n",
        file.display()
    );
    (dir, text)
}

#[test]
fn an_open_door_is_refused_with_the_settings_to_change() {
    let open = "[listeners.native]\naddress = \"0.0.0.0:7777\"\n";
    let message = refused(open);
    for setting in [
        "listeners.native.address",
        "[[auth.keys]]",
        "tls.client_ca_file",
    ] {
        assert!(message.contains(setting), "{message}");
    }
    let (_dir, keys) = key_entry("app");
    parsed(&format!("{open}{keys}"));
    let tls = "[tls]\ncert_file = \"a\"\nkey_file = \"b\"\n";
    assert!(refused(&format!("{open}tls = true\n{tls}")).contains("nothing says who may connect"));
    parsed(&format!("{open}tls = true\n{tls}client_ca_file = \"c\"\n"));
}

#[test]
fn the_checksum_suite_stays_on_loopback_or_under_tls() {
    let (_dir, keys) = key_entry("app");
    let suite = "[protocol]\nsuites = [\"checksum\"]\n";
    parsed(suite);
    let open = "[listeners.native]\naddress = \"0.0.0.0:7777\"\n";
    assert!(refused(&format!("{open}{suite}{keys}")).contains("`checksum` is allowed on loopback"));
    let tls = "tls = true\n[tls]\ncert_file = \"a\"\nkey_file = \"b\"\n";
    parsed(&format!("{open}{tls}{suite}{keys}"));
    assert!(refused("[protocol]\nsuites = []\n").contains("at least one suite"));
    assert!(refused("[protocol]\nsuites = [\"checksum\", \"checksum\"]\n").contains("second time"));
}

#[test]
fn version_1_needs_a_key_that_exists() {
    assert!(refused("[protocol]\nv1 = true\n").contains("`protocol.v1_key` is missing"));
    let v1 = "[protocol]\nv1 = true\nv1_key = \"app\"\n";
    assert!(refused(v1).contains("no [[auth.keys]] entry has the id `app`"));
    let (_dir, keys) = key_entry("app");
    let loaded = parse(Path::new(FILE), &format!("{v1}{keys}")).unwrap();
    assert_eq!(loaded.config.protocol.v1_key.as_deref(), Some("app"));
    assert!(loaded.warnings.contains(&Warning::Version1));
    parsed("[protocol]\nv1 = true\nv1_key = \"dev\"\n");
}

#[test]
fn keys_are_checked_one_by_one_and_against_each_other() {
    let (_dir, one) = key_entry("app");
    let config = parsed(&format!(
        "{one}permissions = [\"observe\"]\nidentity = \"team\"\n"
    ));
    let key = &config.auth.keys[0];
    assert_eq!((&*key.id, key.identity.name()), ("app", "team"));
    assert!(key.permissions.allows(Permission::Observe));
    assert!(key.permissions.contains(Role::Writer.permissions()));

    assert!(refused(&format!("{one}{one}")).contains("names `app` a second time"));
    let five: String = (0..5)
        .map(|i| one.replace("\"app\"", &format!("\"k{i}\"\nidentity = \"app\"")))
        .collect();
    assert!(refused(&five).contains("more than 4 keys"));
    assert!(refused("[[auth.keys]]\n").contains("auth.keys.0.id` is missing"));
    assert!(refused(&one.replace("writer", "wrter")).contains("did you mean `writer`?"));
    assert!(refused(&one.replace("roles = [\"writer\"]", "")).contains("allow anything"));
    assert!(refused("[auth]\nkeys = 3\n").contains("a list of tables"));
}

#[test]
fn a_key_file_that_cannot_be_used_is_a_mistake_at_its_line() {
    let (dir, text) = key_entry("app");
    let file = dir.path().join("app.key");
    for (contents, expected) in [
        ("", "is empty"),
        ("abcd", "holds 4 hex digits"),
        ("zz", "is damaged"),
    ] {
        std::fs::write(&file, contents).unwrap();
        let message = refused(&text);
        assert!(
            message.contains(expected) && message.contains("server.toml:3:15"),
            "{message}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    assert!(refused(&text).contains("cannot read the key file"));
}

#[test]
fn certificates_grant_by_name_or_to_all() {
    let text = "\
[[auth.certificates]]
identity = \"*\"
roles = [\"reader\"]
[[auth.certificates]]
identity = \"ops\"
roles = [\"admin\"]
";
    let auth = parsed(text).auth;
    let of = |name| auth.certificate_permissions(&Identity::new(name).unwrap());
    assert_eq!(of("ops"), Role::Admin.permissions());
    assert_eq!(of("someone"), Role::Reader.permissions());
}

#[test]
fn client_certificates_are_required_when_an_authority_is_given() {
    let text = "[listeners.native]\ntls = true\n[tls]\ncert_file = \"a\"\nkey_file = \"/b\"\n";
    assert_eq!(parsed(text).tls.unwrap().client_auth, ClientAuth::Off);
    let with = parsed(&format!("{text}client_ca_file = \"ca\"\n"))
        .tls
        .unwrap();
    assert_eq!(
        with.client_auth,
        ClientAuth::Required {
            ca_file: "/etc/kv/ca".into()
        }
    );
    assert_eq!(
        (with.cert_file, with.key_file),
        ("/etc/kv/a".into(), "/b".into())
    );
    let optional = format!("{text}client_ca_file = \"ca\"\nclient_auth = \"optional\"\n");
    assert!(matches!(
        parsed(&optional).tls.unwrap().client_auth,
        ClientAuth::Optional { .. }
    ));
    assert!(refused(&format!("{text}client_auth = \"required\"\n")).contains("client_ca_file"));
    assert!(refused(&format!("{text}identity_from = \"cn\"\n")).contains("contradicts"));
    let no_files = refused("[listeners.native]\ntls = true\n");
    assert!(no_files.contains("tls.cert_file` is missing") && no_files.contains("tls.key_file"));
}

#[test]
fn rates_have_a_burst_of_one_period_unless_told() {
    let rates = parsed("[rate_limits]\nglobal = \"600/m\"\nper_ip = \"5/s\"\nper_ip_burst = 9\n");
    let rates = rates.rate_limits;
    assert_eq!(rates.global.unwrap().burst.get(), 600);
    assert_eq!(rates.per_ip.unwrap().burst.get(), 9);
    assert!(rates.per_client.is_none());
    assert!(refused("[rate_limits]\nglobal_burst = 5\n").contains("needs the rate"));
    assert!(refused("[rate_limits]\nglobal = \"0/s\"\n").contains("must be a rate"));
}

#[test]
fn the_only_listener_cannot_be_switched_off() {
    assert!(refused("[listeners.native]\nenabled = false\n").contains("must serve data"));
}

#[test]
fn descriptors_lower_the_number_of_connections() {
    let limits = parsed("").limits;
    let connections = |n| limits.connections_with_descriptors(n).get();
    assert_eq!(connections(None), 10_000);
    assert_eq!(connections(Some(1024)), 896);
    assert_eq!(connections(Some(50)), 1);
    assert!(limits.worst_case_bytes(limits.max_connections) > 10_000 * (9 << 20));
}

#[test]
fn a_key_with_an_unusable_id_is_a_mistake_and_never_dropped() {
    let (_dir, one) = key_entry("app");
    for (id, rule) in [
        ("x".repeat(65), "at most 64 bytes"),
        ("a\\u0007b".to_owned(), "control characters"),
    ] {
        for identity in ["", "identity = \"team\"\n"] {
            let text = one.replace("\"app\"", &format!("\"{id}\"")) + identity;
            let message = refused(&text);
            assert!(
                message.contains(rule) && message.contains("1 mistake"),
                "{message}"
            );
        }
    }
    let long_identity = format!("{one}identity = \"{}\"\n", "x".repeat(255));
    parsed(&long_identity);
    assert!(refused(&long_identity.replace("xxx", "xxxx")).contains("at most 255 bytes"));
}

#[test]
fn entries_of_lists_come_from_the_environment_too_without_gaps() {
    let (dir, _) = key_entry("app");
    let file = dir.path().join("app.key");
    let file = file.to_str().unwrap();
    let entry = |index: usize| {
        [
            ("ID", format!("k{index}")),
            ("SECRET_FILE", file.to_owned()),
            ("ROLES", "reader,writer".to_owned()),
        ]
        .map(|(key, value)| {
            let name = format!("KVCFG__AUTH__KEYS__{index}__{key}");
            (name.into(), value.into())
        })
    };
    let with = |indices: &mut dyn Iterator<Item = usize>| {
        load(&Sources {
            environment: indices.flat_map(entry).collect(),
            ..Sources::default()
        })
    };
    let keys = with(&mut (0..11).rev()).unwrap().config.auth.keys;
    assert_eq!((keys.len(), &*keys[10].id), (11, "k10"));
    let message = with(&mut [0, 40_000].into_iter()).unwrap_err().to_string();
    assert!(message.contains("next entry of [[auth.keys]] is number 1"));
    assert!(message.contains("3 mistakes"), "{message}");
}
