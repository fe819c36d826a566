//! The configuration as a whole: layers, messages, rules, and the sample file.

use std::collections::BTreeSet;
use std::path::Path;

use super::keys::{self, SECTIONS};
use super::*;

mod edits;
mod rules;
mod storage;

const FILE: &str = "/etc/kv/server.toml";

fn parsed(text: &str) -> Config {
    parse(Path::new(FILE), text)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .config
}

/// The message of a text with mistakes.
#[track_caller]
fn refused(text: &str) -> String {
    parse(Path::new(FILE), text)
        .expect_err("it was accepted")
        .to_string()
}

fn loaded(environment: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Result<Loaded, Mistakes> {
    load(&Sources {
        file: None,
        environment: environment
            .iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect(),
        flags: flags
            .iter()
            .map(|(flag, key, value)| FlagSetting {
                flag: (*flag).to_owned(),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    })
}

#[test]
fn nothing_configured_is_the_documented_default() {
    let config = parsed("");
    assert_eq!(config.native.address.to_string(), "127.0.0.1:7777");
    assert_eq!(config.admin.unwrap().address.to_string(), "127.0.0.1:8777");
    assert_eq!(config.protocol.suites, [Suite::Hmac, Suite::Encrypted]);
    assert_eq!(config.protocol.compression, Compression::Off);
    assert!(
        config.tls.is_none() && config.auth.keys.is_empty() && config.auth.anonymous.is_empty()
    );
    assert!(config.rate_limits.global.is_none());
    let limits = config.limits;
    assert_eq!(limits.max_frame_bytes.get(), 1 << 20);
    assert_eq!(limits.max_unauthenticated_connections.get(), 500);
    assert_eq!(limits.keep_alive_interval, Duration::from_secs(30));
    assert_eq!(config.shutdown.drain_timeout, Duration::from_secs(5));
    assert_eq!(config.shutdown.delay, Duration::ZERO);
}

#[test]
fn the_defaults_agree_with_those_of_the_protocol() {
    let limits = parsed("").limits;
    let wire = kv_proto::limits::SessionLimits::default();
    assert_eq!(limits.max_frame_bytes.get(), wire.frame_bytes_max as usize);
    assert_eq!(
        limits.max_message_bytes.get(),
        wire.message_bytes_max as usize
    );
    assert_eq!(
        limits.max_in_flight_per_connection.get(),
        wire.in_flight_max as usize
    );
    assert_eq!(
        limits.max_streams_per_connection.get(),
        wire.streams_max as usize
    );
    assert_eq!(
        limits.keep_alive_interval.as_millis(),
        u128::from(wire.ping_after_ms)
    );
}

#[test]
fn every_key_of_the_table_is_read_and_every_key_that_is_read_is_in_the_table() {
    let text = "[[auth.keys]]\n[[auth.certificates]]\n";
    let mut mistakes = Mistakes::default();
    let mut raw = raw::Raw::default();
    raw.add_file(Path::new(FILE), text, &mut mistakes);
    let mut reader = read::Reader::new(&raw, &mut mistakes);
    check::check(&mut reader, &mut Vec::new());
    let known: BTreeSet<String> = SECTIONS
        .iter()
        .flat_map(|section| {
            let table = if section.repeated {
                format!("{}.0", section.name)
            } else {
                section.name.to_owned()
            };
            section
                .keys
                .iter()
                .map(move |key| format!("{table}.{}", key.name))
        })
        .collect();
    assert_eq!(reader.asked, known);
}

#[test]
fn the_sample_file_is_current_equals_the_defaults_and_has_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/server.toml");
    let committed = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        committed,
        default_file(),
        "write it with `kv-server --print-default-config`"
    );
    assert_eq!(
        format!("{:?}", parsed(&committed)),
        format!("{:?}", parsed(""))
    );
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        let plain = format!("{} = ", key.name);
        let present = committed
            .lines()
            .any(|line| line.strip_prefix("# ").unwrap_or(line).starts_with(&plain));
        assert!(present, "{}", key.name);
    }
}

#[test]
fn the_examples_of_absent_keys_are_valid() {
    for section in SECTIONS.iter().filter(|section| !section.repeated) {
        for key in section.keys.iter().filter(|key| key.default.is_absent()) {
            let (name, value) = (section.name, key.default.toml());
            let mut text = format!("[{name}]\n{} = {value}\n", key.name);
            if let Some(rate) = key.name.strip_suffix("_burst") {
                text.push_str(&format!("{rate} = \"1/s\"\n"));
            }
            match key.name {
                "v1_key" => text.push_str("v1 = false\n"),
                "client_auth" => text.push_str("client_ca_file = \"ca.crt\"\n"),
                _ => {}
            }
            parsed(&text);
        }
    }
}

#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, generated) = page.split_once("<!-- generated -->\n\n").unwrap();
    assert_eq!(
        generated,
        reference(),
        "everything below the mark is `config::reference()`"
    );
}

#[test]
fn the_page_about_limits_says_what_happens_at_each() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/operating/limits.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    for section in SECTIONS.iter().filter(|section| section.name == "limits") {
        for key in section.keys {
            assert!(page.contains(&format!("`{}`", key.name)), "{}", key.name);
        }
    }
}

#[test]
fn an_unknown_table_is_shown_with_its_place_and_a_suggestion() {
    let text = "# kv\n\n[listners.native]\naddress = \"127.0.0.1:1\"\n";
    let expected = "\
error: unknown key `listners` in /etc/kv/server.toml:3:2
  3 | [listners.native]
    |  ^^^^^^^^ did you mean `listeners`?
the configuration is not used: 1 mistake";
    assert_eq!(refused(text), expected);
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let text = "\
[limits]
max_frame_bytes = 1048576
max_conections = 5
frame_timeout = \"5 sec\"
[storage]
engine = \"postgres\"
[log]
\tformat = \"jsn\"
[nonsense]
";
    let expected = "\
error: `limits.max_frame_bytes` must be a size with its unit, found a bare number in /etc/kv/server.toml:2:19
  2 | max_frame_bytes = 1048576
    |                   ^^^^^^^ write \"64KiB\", \"1MiB\" or \"2GiB\"
error: unknown key `max_conections` in /etc/kv/server.toml:3:1
  3 | max_conections = 5
    | ^^^^^^^^^^^^^^ did you mean `max_connections`?
error: `limits.frame_timeout` must be a duration with its unit in /etc/kv/server.toml:4:17
  4 | frame_timeout = \"5 sec\"
    |                 ^^^^^^^ write \"250ms\", \"5s\" or \"1h\"
error: `storage.engine` cannot be \"postgres\": that is not yet available in this version in /etc/kv/server.toml:6:10
  6 | engine = \"postgres\"
    |          ^^^^^^^^^^ use \"disk\", whose entries outlive the process
error: `log.format` cannot be `jsn` in /etc/kv/server.toml:8:11
  8 | \tformat = \"jsn\"
    | \t         ^^^^^ did you mean `json`?
error: unknown key `nonsense` in /etc/kv/server.toml:9:2
  9 | [nonsense]
    |  ^^^^^^^^ 
the configuration is not used: 6 mistakes";
    assert_eq!(
        refused(text).replace("^ \n", "^\n"),
        expected.replace("^ \n", "^\n")
    );
}

#[test]
fn a_broken_file_still_shows_what_is_wrong_elsewhere() {
    let message = refused("[limits\nmax_connections = \"x\"\n[log]\nformat = = 3\nlevel = 5\n");
    assert!(message.contains("server.toml:1:8"), "{message}");
    assert!(
        message.contains("`log.level` must be a text in quotes"),
        "{message}"
    );
}

#[test]
fn a_key_of_another_section_is_pointed_to() {
    let message = refused("[listeners.native]\ncert_file = \"a.crt\"\n");
    assert!(
        message.contains("did you mean `tls.cert_file`?"),
        "{message}"
    );
}

#[test]
fn zero_is_refused_wherever_it_could_mean_unlimited() {
    for section in SECTIONS.iter().filter(|section| section.name == "limits") {
        for key in section.keys {
            let zero = match key.kind {
                keys::Kind::Size { .. } => "\"0B\"",
                keys::Kind::Time { .. } => "\"0s\"",
                _ => "0",
            };
            let message = refused(&format!("[limits]\n{} = {zero}\n", key.name));
            assert!(
                message.contains("must be between"),
                "{}: {message}",
                key.name
            );
            assert!(message.contains("1 mistake"), "{message}");
        }
    }
}

#[test]
fn every_number_is_accepted_at_its_bounds_and_refused_beyond() {
    let mut looked_at = 0;
    for section in SECTIONS.iter().filter(|section| !section.repeated) {
        for key in section.keys {
            let (min, max, unit) = match key.kind {
                keys::Kind::Count { min, max } => (min, max, ""),
                keys::Kind::Size { min, max } => (min, max, "B"),
                keys::Kind::Time { min_ms, max_ms } => (min_ms, max_ms, "ms"),
                _ => continue,
            };
            looked_at += 1;
            let message = |number: u64| {
                let value = if unit.is_empty() {
                    number.to_string()
                } else {
                    format!("\"{number}{unit}\"")
                };
                let text = format!("[{}]\n{} = {value}\n", section.name, key.name);
                parse(Path::new(FILE), &text).map_or_else(|m| m.to_string(), |_| String::new())
            };
            for allowed in [min, max] {
                assert!(
                    !message(allowed).contains("must be between"),
                    "{} {allowed}",
                    key.name
                );
            }
            assert!(message(max + 1).contains("must be between"), "{}", key.name);
            if min > 0 {
                assert!(message(min - 1).contains("must be between"), "{}", key.name);
            }
        }
    }
    assert!(looked_at > 40);
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kv.toml");
    std::fs::write(
        &file,
        "[limits]\nmax_connections = 1000\n[log]\nlevel = \"warn\"\n",
    )
    .unwrap();
    let sources = Sources {
        file: Some(file.clone()),
        environment: vec![
            ("KVCFG__LIMITS__MAX_CONNECTIONS".into(), "2000".into()),
            (
                "KVCFG__LISTENERS__NATIVE__ADDRESS".into(),
                "127.0.0.1:1".into(),
            ),
            (
                "KVCFG__PROTOCOL__SUITES".into(),
                "hmac-sha256, checksum".into(),
            ),
            ("OTHER".into(), "x".into()),
        ],
        flags: vec![FlagSetting {
            flag: "--address".to_owned(),
            key: "listeners.native.address".to_owned(),
            value: "127.0.0.1:2".to_owned(),
        }],
    };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.limits.max_connections.get(), 2000);
    assert_eq!(loaded.config.native.address.port(), 2);
    assert_eq!(
        loaded.config.protocol.suites,
        [Suite::Hmac, Suite::Checksum]
    );
    let printed = loaded.print(PrintSources::Shown);
    assert!(printed.contains("max_connections = 2000  # $KVCFG__LIMITS__MAX_CONNECTIONS"));
    assert!(printed.contains("address = \"127.0.0.1:2\"  # --address"));
    let at = format!("level = \"warn\"  # {}:4:9", file.display());
    assert!(printed.contains(&at), "{printed}");
    assert!(printed.contains("backlog = 1024  # default"));
    assert!(!loaded.print(PrintSources::Hidden).contains("  # "));
}

#[test]
fn what_is_printed_parses_to_what_is_in_force() {
    let text =
        "[log]\nlevel = \"info,kv=\\u0022x\\u0022\"\n[admin]\nallowed_hosts = [\"a.b\", \"c\"]\n";
    let text = text.replace("info,kv=\\u0022x\\u0022", "info,kv_server=debug");
    let loaded = parse(Path::new(FILE), &text).unwrap();
    let printed = loaded.print(PrintSources::Shown);
    assert_eq!(
        format!("{:?}", parsed(&printed)),
        format!("{:?}", loaded.config)
    );
}

#[test]
fn mistakes_in_the_environment_and_in_flags_name_them() {
    let message = loaded(
        &[
            ("KVCFG__LIMITS__MAX_CONECTIONS", "1"),
            ("KVCFG__LIMITS__MAX_FRAME_BYTES", "5"),
        ],
        &[("--address", "listeners.native.address", "localhost")],
    )
    .unwrap_err()
    .to_string();
    let expected = "\
error: unknown key `limits.max_conections` in the environment variable KVCFG__LIMITS__MAX_CONECTIONS
  = did you mean `limits.max_connections`?
error: `limits.max_frame_bytes` must be a size with its unit in the environment variable KVCFG__LIMITS__MAX_FRAME_BYTES
  = write \"64KiB\", \"1MiB\" or \"2GiB\"
error: `listeners.native.address` must be an IP address with a port in the flag --address
  = write \"127.0.0.1:7777\" or \"[::1]:7777\"
the configuration is not used: 3 mistakes";
    let mut got: Vec<_> = message.lines().collect();
    let mut expected: Vec<_> = expected.lines().collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn a_missing_file_is_one_mistake() {
    let sources = Sources {
        file: Some("/nowhere/kv.toml".into()),
        ..Sources::default()
    };
    let mistakes = load(&sources).unwrap_err();
    assert!(matches!(
        mistakes.all(),
        [Mistake {
            kind: MistakeKind::Unreadable { .. },
            ..
        }]
    ));
}
