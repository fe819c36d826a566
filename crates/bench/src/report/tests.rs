//! Reports say what the results say, losses included.

use super::*;
use crate::results::{Figure, Run, Shape};

fn record(system: &str, name: &str, rate: f64, load: Load) -> Record {
    Record {
        system: system.into(),
        name: name.into(),
        shape: Shape {
            load,
            ..Shape::default()
        },
        runs: vec![Run::default(); 5],
        median: Run {
            rate,
            seconds: 2.0,
            latency: crate::latency::Percentiles {
                p50: Some(10.0),
                p99: Some(20.0),
                ..Default::default()
            },
            distribution: vec![(0.0, 1.0), (0.5, 10.0), (0.9, 15.0), (0.99, 20.0)],
            ..Run::default()
        },
    }
}

fn report(results: &Results) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("in.json");
    std::fs::write(&file, serde_json::to_string(results).unwrap()).unwrap();
    let out = directory.path().join("out");
    write(&[file], &out).unwrap();
    let mut plots: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".svg"))
        .collect();
    plots.sort();
    for plot in &plots {
        let svg = std::fs::read_to_string(out.join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
    (
        std::fs::read_to_string(out.join("report.md")).unwrap(),
        plots,
    )
}

#[test]
fn wins_and_losses_stand_in_one_table() {
    let results = Results {
        kind: "compare".into(),
        records: vec![
            record("kv", "get 50x64", 2e6, Load::Closed),
            record("redis", "get 50x64", 1e6, Load::Closed),
            record("kv", "get 1x1", 17_000.0, Load::Closed),
            record("redis", "get 1x1", 18_000.0, Load::Closed),
        ],
        figures: vec![Figure::new("kv", "idle RSS", vec![5.0, 7.0, 6.0], "MB")],
        ..Results::default()
    };
    let (text, plots) = report(&results);
    assert!(
        text.contains("| get 50x64 | 2.00 M | 1.00 M | 2.00 |"),
        "{text}"
    );
    assert!(
        text.contains("| get 1x1 | 17.0 k | 18.0 k | **0.94 (behind)** |"),
        "{text}"
    );
    assert!(
        text.contains("| idle RSS | kv | 6.00 MB | 5.00, 7.00, 6.00 |"),
        "{text}"
    );
    assert!(
        text.contains("n/a"),
        "what could not be told is not left out"
    );
    assert_eq!(plots, ["compare-latency.svg", "compare-throughput.svg"]);
    assert!(text.contains("](compare-throughput.svg)"));
}

#[test]
fn a_sweep_has_a_plot_by_load_and_the_floor_a_share() {
    let sweep = Results {
        kind: "sweep".into(),
        records: vec![
            record("kv", "open 10 %", 10.0, Load::Open(10_000.0)),
            record("kv", "open 50 %", 50.0, Load::Open(50_000.0)),
        ],
        ..Results::default()
    };
    let (text, plots) = report(&sweep);
    assert_eq!(plots, ["sweep-load.svg"]);
    assert!(text.contains("when a request was due"));
    let floor = Results {
        kind: "floor".into(),
        records: vec![
            record("kv", "get 1x1", 15.0, Load::Closed),
            record("floor", "get 1x1", 20.0, Load::Closed),
        ],
        ..Results::default()
    };
    assert!(report(&floor).0.contains("| 75 % |"));
}

#[test]
fn two_files_of_one_kind_have_plots_of_their_own() {
    let results = Results {
        kind: "durable".into(),
        records: vec![record("kv", "set 1x1", 10.0, Load::Closed)],
        ..Results::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("in.json");
    std::fs::write(&file, serde_json::to_string(&results).unwrap()).unwrap();
    write(&[&file, &file], directory.path()).unwrap();
    for name in ["durable-throughput.svg", "durable-2-throughput.svg"] {
        assert!(directory.path().join(name).exists(), "{name}");
    }
}

#[test]
fn what_is_no_result_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.json");
    std::fs::write(&file, "{}").unwrap();
    assert!(write(&[file], directory.path()).is_err());
    assert!(write(&[directory.path().join("absent")], directory.path()).is_err());
    assert!(write(&[] as &[&Path], directory.path()).is_err());
}
