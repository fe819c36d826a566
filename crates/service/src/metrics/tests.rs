//! The exposition as a scraper sees it, and the counters behind it.

use std::collections::{BTreeMap, BTreeSet};

use kv_store::{DiskStats, Health};

use super::*;

fn scrape() -> Scrape {
    Scrape {
        build: BuildInfo {
            version: "0.1.0",
            commit: "abc",
            rustc: "1.88",
        },
        start_time_seconds: 1.5,
        process: ProcessSample {
            cpu_seconds: Some(0.25),
            resident_bytes: Some(1024),
            open_descriptors: Some(7),
            max_descriptors: Some(1024),
        },
        store: StoreSample {
            keys: 3,
            memory_limit_bytes: 10,
            ..StoreSample::default()
        },
        health: Health::Degraded("slow"),
        disk: Some(DiskStats {
            appended_bytes_total: 4096,
            syncs_total: 3,
            sync_us_total: 1_500_000,
            sync_buckets: [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            recovery_us: 250_000,
            ..DiskStats::default()
        }),
        certificates: CertificateTimes {
            server: Some(99),
            client_ca: None,
        },
    }
}

fn busy() -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new(4, 50));
    for _ in 0..9 {
        let recorder = metrics.recorder(Door::Native);
        recorder.requests(Operation::Get, Code::Ok, 2);
        recorder.requests(Operation::Get, Code::NotFound, 1);
        recorder.durations(Operation::Get, 30_000, 3);
        recorder.in_flight(2);
        recorder.in_flight(-1);
        recorder.received(100);
        recorder.sent(50);
    }
    metrics.accepted(Listener::Native);
    metrics.accepted(Listener::Native);
    metrics.closed(Listener::Native, Closure::Client);
    metrics.rejected(Listener::Native, Rejection::Limit);
    metrics.frame_rejected(FrameRejection::BadMac);
    metrics.auth_attempt(Mechanism::Key, AuthResult::Ok);
    metrics.rate_limited(RateScope::Client);
    metrics.tls_handshake(TlsResult::Ok, 2_000_000);
    metrics.tls_reload(Success::Error);
    metrics
}

#[test]
fn what_is_counted_over_all_shards_is_found_again() {
    let metrics = busy();
    let _library = metrics.library("kv-client", "0.1.0");
    assert_eq!(metrics.requests(Door::Native, Operation::Get, Code::Ok), 18);
    assert_eq!(metrics.requests_total(), 27);
    assert_eq!(metrics.in_flight(Door::Native), 9);
    assert_eq!(metrics.network_bytes(), (900, 450));
    assert_eq!(metrics.open_connections(Listener::Native), 1);
    assert_eq!(metrics.durations(Door::Native, Operation::Get).count(), 27);

    let text = metrics.expose(Exposition::Text, scrape()).unwrap();
    for line in [
        "kv_build_info{version=\"0.1.0\",commit=\"abc\",rustc=\"1.88\"} 1",
        "kv_start_time_seconds 1.5",
        "process_cpu_seconds_total 0.25",
        "kv_connections{listener=\"native\"} 1",
        "kv_connections_rejected_total{listener=\"native\",reason=\"limit\"} 1",
        "kv_connections_closed_total{listener=\"native\",reason=\"client\"} 1",
        "kv_requests_total{protocol=\"native\",op=\"get\",code=\"OK\"} 18",
        "kv_requests_total{protocol=\"native\",op=\"get\",code=\"NOT_FOUND\"} 9",
        "kv_requests_total{protocol=\"native\",op=\"set\",code=\"OK\"} 0",
        "kv_request_duration_seconds_count{protocol=\"native\",op=\"get\"} 27",
        "kv_request_duration_seconds_bucket{le=\"0.00005\",protocol=\"native\",op=\"get\"} 27",
        "kv_requests_in_flight{protocol=\"native\"} 9",
        "kv_network_receive_bytes_total{listener=\"native\"} 900",
        "kv_frames_rejected_total{reason=\"bad_mac\"} 1",
        "kv_auth_attempts_total{mechanism=\"key\",result=\"ok\"} 1",
        "kv_rate_limited_total{scope=\"client\"} 1",
        "kv_keys 3",
        "kv_wal_appended_bytes_total 4096",
        "kv_wal_fsync_duration_seconds_bucket{le=\"0.0001\"} 0",
        "kv_wal_fsync_duration_seconds_bucket{le=\"0.0002\"} 2",
        "kv_wal_fsync_duration_seconds_bucket{le=\"5.0\"} 3",
        "kv_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 3",
        "kv_wal_fsync_duration_seconds_sum 1.5",
        "kv_wal_fsync_duration_seconds_count 3",
        "kv_storage_recovery_seconds 0.25",
        "kv_storage_health{state=\"degraded\"} 1",
        "kv_storage_health{state=\"good\"} 0",
        "kv_tls_certificate_not_after_timestamp_seconds{kind=\"server\"} 99",
        "kv_tls_reloads_total{result=\"error\"} 1",
        "kv_client_connections{lib=\"kv-client\",version=\"0.1.0\"} 1",
    ] {
        let wanted = line.replace("le=\"5e-5\"", "le=\"0.00005\"");
        assert!(
            text.lines().any(|l| l == line || l == wanted),
            "{line}\n{text}"
        );
    }
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    let open = metrics.expose(Exposition::OpenMetrics, scrape()).unwrap();
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE kv_requests counter\n"));
}

#[test]
fn a_store_without_a_disk_has_no_figures_of_one() {
    let metrics = busy();
    let scrape = Scrape {
        disk: None,
        health: Health::Good,
        ..scrape()
    };
    let text = metrics.expose(Exposition::Text, scrape).unwrap();
    assert!(text.contains("kv_storage_health{state=\"good\"} 1"));
    assert!(!text.contains("kv_wal_") && !text.contains("kv_storage_log"));
}

#[test]
fn the_format_follows_the_accept_header() {
    for (accept, expected) in [
        ("", Exposition::Text),
        ("*/*", Exposition::Text),
        ("text/plain;version=0.0.4", Exposition::Text),
        ("application/openmetrics-text", Exposition::OpenMetrics),
        (
            "application/openmetrics-text; version=1.0.0;q=0.9,text/plain;q=0.5",
            Exposition::OpenMetrics,
        ),
        (
            "application/openmetrics-text;q=0, text/plain",
            Exposition::Text,
        ),
    ] {
        assert_eq!(Exposition::from_accept(accept), expected, "{accept}");
    }
}

/// One family of a text exposition.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Full sample name, labels, value.
    samples: Vec<(String, String, f64)>,
}

/// Reads the text format, as strictly as a linter: help, then type, then samples, each family once.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help has a text");
            current = name.to_owned();
            let family = Family {
                help: help.to_owned(),
                ..Family::default()
            };
            assert!(
                families.insert(current.clone(), family).is_none(),
                "{name} appears twice"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "type follows help");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').expect("labels are closed");
            let family = families
                .get_mut(&current)
                .expect("samples follow their family");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            family
                .samples
                .push((name.to_owned(), labels.to_owned(), value));
        }
    }
    families
}

/// The problems that `promtool check metrics` would report.
fn problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, family) in families(text) {
        let mut problem = |what: &str| problems.push(format!("{name}: {what}"));
        if family.help.trim().is_empty() {
            problem("no help text");
        }
        let kind = family.kind.as_str();
        if !["counter", "gauge", "histogram"].contains(&kind) {
            problem("unknown type");
        }
        if kind == "counter" && !name.ends_with("_total") {
            problem("counter without _total");
        }
        if kind != "counter" && name.ends_with("_total") {
            problem("_total and no counter");
        }
        for reserved in ["_bucket", "_count", "_sum"] {
            if name.ends_with(reserved) {
                problem("reserved suffix");
            }
        }
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(valid) || name.starts_with(|c: char| c.is_ascii_digit()) {
            problem("name is not in snake case");
        }
        if !name.starts_with("kv_") && !name.starts_with("process_") {
            problem("foreign prefix");
        }
        for unit in ["milliseconds", "_ms", "_kib", "_mb", "percent", "_minutes"] {
            if name.contains(unit) {
                problem("not a base unit");
            }
        }
        for kind_word in ["counter", "gauge", "histogram"] {
            if name.split('_').any(|word| word == kind_word) {
                problem("type in the name");
            }
        }
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &family.samples {
            if !seen.insert((sample, labels)) {
                problem("a series appears twice");
            }
            let suffix = sample.strip_prefix(&name);
            let fits = match kind {
                "histogram" => matches!(suffix, Some("_bucket" | "_count" | "_sum")),
                _ => suffix == Some(""),
            };
            if !fits {
                problem("a sample of another name");
            }
            if value.is_nan() || (kind == "counter" && *value < 0.0) {
                problem("impossible value");
            }
            if kind != "histogram" && labels.contains("le=") {
                problem("reserved label");
            }
        }
        if kind == "histogram" {
            histogram_problems(&family, &mut problem);
        }
    }
    problems
}

/// Buckets grow, end at infinity, and agree with the count.
fn histogram_problems(family: &Family, problem: &mut impl FnMut(&str)) {
    let mut rows: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        if sample.ends_with("_bucket") {
            let (les, others): (Vec<&str>, Vec<&str>) = labels
                .split(',')
                .partition(|label| label.starts_with("le="));
            let le = les.first().expect("a bucket has a bound");
            let le = le.trim_start_matches("le=").trim_matches('"');
            let le = if le == "+Inf" {
                f64::INFINITY
            } else {
                le.parse().unwrap()
            };
            rows.entry(others.join(",")).or_default().push((le, *value));
        } else if sample.ends_with("_count") {
            counts.insert(labels.clone(), *value);
        }
    }
    for (labels, row) in rows {
        if row
            .windows(2)
            .any(|pair| pair[0].0 >= pair[1].0 || pair[0].1 > pair[1].1)
        {
            problem("buckets do not grow");
        }
        let last = row.last().copied().unwrap_or_default();
        if last.0 != f64::INFINITY || Some(&last.1) != counts.get(&labels) {
            problem("no +Inf bucket equal to the count");
        }
    }
}

#[test]
fn a_linter_finds_nothing() {
    let metrics = busy();
    let _library = metrics.library("a\"b\\c\n", "{}");
    let text = metrics.expose(Exposition::Text, scrape()).unwrap();
    assert_eq!(problems(&text), Vec::<String>::new());
    let names: Vec<_> = families(&text).into_keys().collect();
    assert!(names.len() > 30, "{names:?}");
}

#[test]
fn the_linter_finds_planted_problems() {
    for (text, expected) in [
        (
            "# HELP kv_x X\n# TYPE kv_x counter\nkv_x 1\n",
            "counter without _total",
        ),
        (
            "# HELP kv_x_total X\n# TYPE kv_x_total gauge\nkv_x_total 1\n",
            "_total and no counter",
        ),
        (
            "# HELP kv_x_ms X\n# TYPE kv_x_ms gauge\nkv_x_ms 1\n",
            "not a base unit",
        ),
        ("# HELP kv_x  \n# TYPE kv_x gauge\nkv_x 1\n", "no help text"),
        (
            "# HELP kv_x X\n# TYPE kv_x gauge\nkv_x 1\nkv_x 2\n",
            "appears twice",
        ),
        (
            "# HELP kv_x X\n# TYPE kv_x histogram\nkv_x_bucket{le=\"1\"} 2\nkv_x_bucket{le=\"+Inf\"} 1\nkv_x_sum 1\nkv_x_count 1\n",
            "do not grow",
        ),
    ] {
        let found = problems(text);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

/// One row per family: name, type, labels, help.
fn reference(text: &str) -> String {
    let mut page = String::from("| metric | type | labels | what it is |\n|---|---|---|---|\n");
    for (name, family) in families(text) {
        let labels = family.samples.first().map_or("", |(_, labels, _)| labels);
        let labels: Vec<String> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .filter(|(label, _)| *label != "le")
            .map(|(label, _)| format!("`{label}`"))
            .collect();
        let (kind, help, labels) = (family.kind, family.help, labels.join(", "));
        page.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    page
}

#[test]
fn the_page_about_metrics_is_current() {
    let metrics = busy();
    let _library = metrics.library("kv-client", "0.1.0");
    let text = metrics.expose(Exposition::Text, scrape()).unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/operating/metrics.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let (_, generated) = page.split_once("<!-- generated -->\n\n").unwrap();
    let expected = reference(&text);
    assert_eq!(
        generated, expected,
        "below the mark stands this:\n{expected}"
    );
}
